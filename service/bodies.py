"""Read a request's body that is no form: whole, into memory, under a cap, and as a document."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import anyio
from pydantic import ValidationError
from starlette.requests import Request

from dlb_core.contracts import GIVEN, Message
from dlb_core.errors import BadOption, UploadStalled, UploadTooLarge

MAX_DOCUMENT_BYTES = 16 * 1024
LEAST_BYTES_S = 1024
"""A sender who is slower for as long as one may be silent is given up: an upload holds room on the
disk that others then do not get."""

Document = TypeVar("Document", bound=Message)


async def chunks_of(request: Request, idle_s: float) -> AsyncIterator[bytes]:
    """Yield the body's chunks; give up on a sender that falls silent, or nearly so.

    Raises
    ------
    UploadStalled
    """
    stream = request.stream()
    waited_s, came = 0.0, 0
    while True:
        asked = anyio.current_time()
        try:
            with anyio.fail_after(idle_s):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise UploadStalled(f"nothing came for {idle_s:g} s: send it again") from error
        if chunk is None:
            return
        # What is done with a chunk takes time too, which is not the sender's fault.
        waited_s, came = waited_s + anyio.current_time() - asked, came + len(chunk)
        if waited_s >= idle_s:
            if came < LEAST_BYTES_S * waited_s:
                raise UploadStalled(
                    f"fewer than {LEAST_BYTES_S} bytes a second came: send it again"
                )
            waited_s, came = 0.0, 0
        yield chunk


async def read_body(request: Request, *, max_bytes: int, idle_s: float) -> bytes:
    """Read a body.

    Raises
    ------
    UploadTooLarge, UploadStalled
    """
    body = bytearray()
    async for chunk in chunks_of(request, idle_s):
        body += chunk
        if len(body) > max_bytes:
            raise UploadTooLarge(f"the body is larger than the {max_bytes} bytes taken here")
    return bytes(body)


async def read_document(request: Request, kind: type[Document], *, idle_s: float) -> Document:
    """Read a small JSON document; a route's own parameter would be read whole, whatever its size.

    Raises
    ------
    UploadTooLarge, UploadStalled
    BadOption
        The fields at fault are named; what came is not repeated.
    """
    body = await read_body(request, max_bytes=MAX_DOCUMENT_BYTES, idle_s=idle_s)
    try:
        return kind.model_validate_json(body, context=GIVEN)
    except ValidationError as error:
        faults = {".".join(map(str, fault["loc"])): fault["msg"] for fault in error.errors()}
        raise BadOption("the body is not as its schema says", fields=faults) from error


def described(kind: type[Message]) -> dict[str, Any]:
    """OpenAPI's `requestBody` of a route that reads this document by itself."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
    }
