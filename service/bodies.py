"""Read a request's body that is no form: whole, into memory, under a cap."""

from collections.abc import AsyncIterator

import anyio
from starlette.requests import Request

from dlb_core.errors import UploadStalled, UploadTooLarge


async def chunks_of(request: Request, idle_s: float) -> AsyncIterator[bytes]:
    """Yield the body's chunks; give up on a sender that falls silent.

    Raises
    ------
    UploadStalled
    """
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(idle_s):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise UploadStalled(f"nothing came for {idle_s:g} s: send it again") from error
        if chunk is None:
            return
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
