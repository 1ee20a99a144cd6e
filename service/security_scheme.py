"""What the API's description says of keys: the scheme, and the refusals at the door."""

from typing import Any

from dlb_core.documents import API
from dlb_core.errors import Forbidden, RateLimited, Unauthenticated
from service.errors import describe

SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key (`dlb_...`, made with `dlb keys create`), or a token of the "
    "identity provider that the service is set up with. On loopback, before the first key is "
    "made, none is asked for.",
}
RETRY_AFTER = {
    "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}},
}


def secure(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of every operation below /v1 that it takes a key, and how it is refused without."""
    schema["components"]["securitySchemes"] = {"bearer": SCHEME}
    refusals = describe(Unauthenticated, Forbidden, RateLimited)
    refusals[429]["headers"] = RETRY_AFTER
    for path, operations in schema["paths"].items():
        if not path.startswith(f"{API}/"):
            continue
        for operation in operations.values():
            operation["security"] = [{"bearer": []}]
            for status, answer in refusals.items():
                operation["responses"].setdefault(str(status), answer)
    return schema
