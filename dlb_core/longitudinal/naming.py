"""What the two visits of a comparison are called, by every part that speaks of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from dlb_core.errors import InputError, StageFailed

VISITS = ("first", "second")
"""The earlier one first."""


@contextmanager
def naming_visit(name: str) -> Iterator[None]:
    """Let an error that comes of one visit's scans say of which."""
    try:
        yield
    except (InputError, StageFailed) as error:
        error.args = (f"Of the {name} visit: {error}", *error.args[1:])
        raise
