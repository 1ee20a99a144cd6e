"""How a request's method is written in logs and numbers: a stranger may send any word as one."""

KNOWN = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def named(method: str) -> str:
    """Name a method that HTTP has, or the one word that stands for all others."""
    return method if method in KNOWN else "(other)"
