"""Gather DICOM files: out of a zip that may be hostile, or out of a folder.

No name from the archive ever reaches the disk: members land as 000001.dcm, 000002.dcm, ... in the
order they have in the archive, so nothing can lead out of the folder. What they hold is counted
while it is inflated; what the archive says of itself is not believed.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dlb_core.errors import UnreadableArchive, UploadTooLarge

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
MAGIC_AT, MAGIC = 128, b"DICM"
"""Where a DICOM file says that it is one."""
_START = MAGIC_AT + len(MAGIC)
_CHUNK = 1 << 20
_MIB = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that `zipfile` inflates piece by piece; the others it inflates without bound."""
_RECORD_64, _LOCATOR_64 = 56, 20
_TAIL = 22 + 65535
"""The end record of a zip, and the longest comment behind it."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may hold."""

    max_files: int = 20_000
    max_bytes: int = 4096 * _MIB
    """Of all members together, inflated."""
    max_file_bytes: int = 512 * _MIB
    max_directory_bytes: int = 16 * _MIB
    """The list of members is held in memory."""


def is_zip(path: Path) -> bool:
    """Whether a file starts as a zip does."""
    with path.open("rb") as file:
        return file.read(4) in ZIP_MAGICS


def ignore_bytes(count: int) -> None:
    """Take no notice of bytes that are written."""


def unpack(
    archive: Path,
    folder: Path,
    *,
    name: str,
    limits: ArchiveLimits | None = None,
    on_bytes: Callable[[int], None] = ignore_bytes,
) -> list[Path]:
    """Write the DICOM files of a zip into a folder, under names of our own.

    Parameters
    ----------
    archive : Path
    folder : Path
        Existing and empty.
    name : str
        What to call the archive in messages.
    limits : ArchiveLimits, optional
    on_bytes : callable
        Told how many bytes are about to be written; may raise, where there is no room.

    Returns
    -------
    list of Path
        In the archive's order. Members that are no DICOM files are passed over.

    Raises
    ------
    UnreadableArchive
        Not a zip, damaged, encrypted, packed by a rare method, or without a DICOM file.
    UploadTooLarge
        It holds more than `limits` allow.
    """
    limits = limits or ArchiveLimits()
    _require_short_directory(archive, name, limits)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            if len(members) > limits.max_files:
                raise _too_large(name, f"more than {limits.max_files} files")
            files = _Extraction(opened, folder, name, limits, on_bytes).run(members)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        ValueError,
        struct.error,
    ) as error:
        raise UnreadableArchive(
            f"{name}: not a sound zip archive: make it again and re-send."
        ) from error
    return _require_some(files, name)


def gather(folder: Path) -> list[Path]:
    """Every DICOM file below a folder, in the order of their paths.

    Raises
    ------
    UnreadableArchive
        There is none.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_dicom(path)]
    return _require_some(files, "the folder")


class _Extraction:
    """Writes members out, and counts what they come to."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        folder: Path,
        name: str,
        limits: ArchiveLimits,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._archive = archive
        self._folder = folder
        self._name = name
        self._limits = limits
        self._on_bytes = on_bytes
        self._left = limits.max_bytes
        self._files: list[Path] = []

    def run(self, members: list[zipfile.ZipInfo]) -> list[Path]:
        """Write each member that is a DICOM file."""
        for member in members:
            self._extract(member)
        return self._files

    def _extract(self, member: zipfile.ZipInfo) -> None:
        if member.flag_bits & 0x1:
            raise UnreadableArchive(f"{self._name}: the archive is encrypted: send it without.")
        if member.compress_type not in _METHODS:
            raise UnreadableArchive(
                f"{self._name}: the archive is packed by another method than deflate: make it "
                "again as a plain zip."
            )
        with self._archive.open(member) as source:
            start = self._count(source.read(_START))
            if start[MAGIC_AT:] != MAGIC:
                return
            path = self._folder / f"{len(self._files) + 1:06d}.dcm"
            with path.open("xb") as target:
                target.write(start)
                size = len(start)
                while chunk := self._count(source.read(_CHUNK)):
                    size += len(chunk)
                    if size > self._limits.max_file_bytes:
                        raise _too_large(self._name, "a file larger than any scan's")
                    target.write(chunk)
        self._files.append(path)

    def _count(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise _too_large(self._name, f"more than {self._limits.max_bytes // _MIB} MiB")
        self._on_bytes(len(data))
        return data


def _require_short_directory(archive: Path, name: str, limits: ArchiveLimits) -> None:
    """Refuse a list of members that would fill the memory, before anything reads it."""
    with archive.open("rb") as file:
        size = _directory_bytes(file)
    if size is None:
        raise UnreadableArchive(f"{name}: not a zip archive, or one that is cut off.")
    if size > limits.max_directory_bytes:
        raise _too_large(name, f"more than {limits.max_files} files")


def _directory_bytes(file: BinaryIO) -> int | None:
    """Length of a zip's list of members, as its end record tells it.

    Source: PKWARE, APPNOTE 6.3.10, sections 4.3.14 to 4.3.16. `zipfile` looks for the zip64 record
    right before its locator, wherever that points: an archive where these differ is none.
    """
    length = file.seek(0, 2)
    start = max(0, length - _TAIL)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        return None
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    locator = tail[max(0, at - _LOCATOR_64) : at]
    if not locator.startswith(b"PK\x06\x07"):
        return size
    record_at = start + at - _LOCATOR_64 - _RECORD_64
    if record_at < 0 or int.from_bytes(locator[8:16], "little") != record_at:
        return None
    file.seek(record_at)
    record = file.read(_RECORD_64)
    if not record.startswith(b"PK\x06\x06"):
        return None
    return int.from_bytes(record[40:48], "little")


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_START)[MAGIC_AT:] == MAGIC


def _require_some(files: list[Path], name: str) -> list[Path]:
    if not files:
        raise UnreadableArchive(
            f"{name}: no DICOM files in it: send the series' files as the scanner or PACS "
            "exports them."
        )
    return files


def _too_large(name: str, what: str) -> UploadTooLarge:
    return UploadTooLarge(f"{name}: the archive holds {what}: send the T1w and FLAIR series alone.")
