"""Bytes on their way: images that are sent, files that are fetched and may break off."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from dlb_core.artefacts import sync_folder
from dlb_core.documents import ArtefactDocument
from dlb_core.errors import DownloadDamaged, UnreadableImage

ROLES = {"t1w": "T1w", "flair": "FLAIR"}

ByteCallback = Callable[[int, int], None]
"""Called with bytes done and bytes in total."""


def ignore_bytes(done: int, total: int) -> None:
    """Take no notice of bytes passing."""


@contextmanager
def opened_form(
    images: dict[str, Path], texts: dict[str, tuple[str, str]], on_bytes: ByteCallback
) -> Iterator[dict[str, Any]]:
    """Open the images as parts of a form, streamed from disk as they are sent.

    Raises
    ------
    UnreadableImage
        A file does not exist or cannot be read.
    """
    with ExitStack() as stack:
        files = {
            part: stack.enter_context(_opened(path, ROLES.get(part, part)))
            for part, path in images.items()
        }
        meter = _Meter(on_bytes, total=sum(_size(file) for file in files.values()))
        # The names on our disk are nobody's business: they may be a patient's.
        parts: dict[str, Any] = {
            part: (part, _Metered(file, meter), "application/octet-stream")
            for part, file in files.items()
        }
        yield parts | {name: (None, text, kind) for name, (text, kind) in texts.items()}


class _Meter:
    """Adds up the bytes of all files of a form."""

    def __init__(self, on_bytes: ByteCallback, *, total: int) -> None:
        self._on_bytes = on_bytes
        self._total = total
        self._done = 0

    def add(self, count: int) -> None:
        """Note that more bytes were sent."""
        self._done += count
        self._on_bytes(self._done, self._total)


class _Metered:
    """A file that tells how much of it is read; what httpx needs of a file, and no more."""

    def __init__(self, file: BinaryIO, meter: _Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int = -1) -> bytes:
        """Read on, and say so."""
        data = self._file.read(size)
        self._meter.add(len(data))
        return data

    def fileno(self) -> int:
        """Handle by which the file's length is found."""
        return self._file.fileno()


@contextmanager
def _opened(path: Path, role: str) -> Iterator[BinaryIO]:
    """Open an image to send."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableImage(f"{role}: cannot open the file: {error.strerror}") from error
    with file:
        yield file


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


class PartialFile:
    """A file on its way: it lies beside its place until it is whole and its digest is right.

    What came before a connection broke is kept, also when the program ends, and the next attempt
    asks for the rest.

    Parameters
    ----------
    entry : ArtefactDocument
        As announced.
    folder : Path
        Where the file goes.
    on_size : callable
        Told how many bytes are there, each time that more have come.
    """

    def __init__(
        self, entry: ArtefactDocument, folder: Path, *, on_size: Callable[[int], None]
    ) -> None:
        self._entry = entry
        self._on_size = on_size
        # The name comes from the other side: never let it lead out of the folder.
        self.path = folder / Path(entry.name).name
        # Parts of another version of the file have another name.
        self._part = folder / f".{self.path.name}.{entry.sha256[:16]}.part"

    @property
    def is_there(self) -> bool:
        """Whether the whole file lies in its place already."""
        entry, path = self._entry, self.path
        try:
            return path.stat().st_size == entry.size_bytes and _digest(path) == entry.sha256
        except FileNotFoundError:
            return False

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have come; what they are is not looked at."""
        return self.size >= self._entry.size_bytes

    @property
    def size(self) -> int:
        """Bytes that have come."""
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0

    def headers(self) -> dict[str, str]:
        """What to ask for: the rest, if it is still the same file."""
        # What comes must be the file's own bytes, for it is them that are counted.
        headers = {"Accept-Encoding": "identity"}
        if self.size == 0:
            return headers
        rest = {"Range": f"bytes={self.size}-", "If-Range": f'"{self._entry.sha256}"'}
        return headers | rest

    def begin(self, answer: httpx.Response) -> None:
        """Start over where the answer is the file from its beginning."""
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        if not (resumed and answer.headers.get("Content-Range", "").startswith(self._range())):
            self._part.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append.

        Raises
        ------
        DownloadDamaged
            More comes than was announced.
        """
        with self._part.open("ab") as file:
            file.write(data)
        if self.size > self._entry.size_bytes:
            self._part.unlink()
            raise DownloadDamaged(f"{self._entry.name} is longer than announced: ask for it again")
        self._on_size(self.size)

    def finish(self) -> Path:
        """Put the file into its place.

        Raises
        ------
        DownloadDamaged
            It is not what was announced; what came is thrown away.
        """
        self._part.touch()
        if _digest(self._part) != self._entry.sha256:
            self._part.unlink()
            raise DownloadDamaged(
                f"{self._entry.name} did not arrive as it was sent: download it again"
            )
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._part.replace(self.path)
        self._remove_older_parts()
        sync_folder(self.path.parent)
        return self.path

    def _remove_older_parts(self) -> None:
        """Nobody goes on with parts of what this file was once."""
        start = f".{self.path.name}."
        for path in list(self.path.parent.iterdir()):
            if path.name.startswith(start) and path.suffix == ".part":
                path.unlink(missing_ok=True)

    def _range(self) -> str:
        return f"bytes {self.size}-"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
