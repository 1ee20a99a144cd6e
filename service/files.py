"""Hand kept files out, whole or in ranges, from this machine's disk or from a bucket."""

import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from fastapi.responses import FileResponse
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable

from dlb_core.errors import JobNotFound, RangeUnsatisfiable
from dlb_core.jobs.layout import DataFolder, Distant
from service.lanes import Lane

CHUNK_BYTES = 1024 * 1024
"""Read from a bucket at once: each is a request of its own."""
READING = Lane("reading from a bucket", 16)
"""Threads in which a bucket is waited for while files are sent."""
GONE = "there is no such file or version, or it was deleted a moment ago"


class RangedFile(FileResponse):
    """A file, or the ranges of it that were asked for."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """Ignore what is not a range, as RFC 9110 has it; refuse one beyond the end."""
        try:
            return super()._parse_range_header(http_range, file_size)
        except RangeNotSatisfiable as error:
            raise RangeUnsatisfiable(
                f"the range lies beyond the file's {file_size} bytes", size_bytes=file_size
            ) from error
        except MalformedRangeHeader:
            return []


class _Reader:
    """As much of an open file as a response asks for."""

    def __init__(self, distant: Distant) -> None:
        self._distant = distant
        self._position = 0

    async def seek(self, position: int) -> None:
        """Go to a byte."""
        self._position = position

    async def read(self, count: int) -> bytes:
        """Some bytes from here on; fewer at the end."""
        start = self._position
        end = min(start + count, self._distant.size_bytes)
        if start >= end:
            return b""
        self._position = end
        return await run_sync(self._distant.read, start, end, limiter=READING.limiter())


class DistantFile(RangedFile):
    """The same of a file in a bucket: read as it is sent, a chunk at a time."""

    chunk_size = CHUNK_BYTES

    def __init__(self, distant: Distant, **given: Any) -> None:
        # Mode and so on are those of a file; a response looks at size and time.
        modified = int(distant.modified.timestamp())
        facts = os.stat_result(
            (stat.S_IFREG, 0, 0, 1, 0, 0, distant.size_bytes, modified, modified, modified)
        )
        super().__init__("", stat_result=facts, **given)
        self._distant = distant

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:
        yield _Reader(self._distant)


@contextmanager
def vanishing() -> Iterator[None]:
    """Files that were listed a moment ago may be gone."""
    try:
        yield
    except FileNotFoundError as error:
        raise JobNotFound(GONE) from error


def file_response(
    data: DataFolder,
    path: Path,
    *,
    headers: dict[str, str],
    media_type: str,
    filename: str,
    disposition: str,
) -> RangedFile:
    """Answer with a kept file.

    Parameters
    ----------
    data : DataFolder
    path : Path
        Its place.
    headers : dict of str
        Its ETag among them.
    media_type, filename, disposition : str

    Raises
    ------
    JobNotFound
        It is gone.
    BucketUnavailable
    """
    given: dict[str, Any] = {
        "headers": headers,
        "media_type": media_type,
        "filename": filename,
        "content_disposition_type": disposition,
    }
    with vanishing():
        distant = data.distant(path)
        if distant is not None:
            return DistantFile(distant, **given)
        facts = path.lstat()
    if not stat.S_ISREG(facts.st_mode):
        raise JobNotFound(GONE)
    return RangedFile(path, stat_result=facts, **given)
