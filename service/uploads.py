"""Receive a multipart form onto disk, part by part, capped and digested as the bytes arrive.

A framework's `UploadFile` has spooled the whole body before any of our code runs. Here each
chunk goes through a push parser straight into its file, so memory stays flat, and a body that
is too large is refused at the first byte too many. Nothing in this file knows HTTP or NIfTI.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dlb_core.errors import DiskFull, MalformedUpload, UploadTooLarge

MULTIPART = b"multipart/form-data"
OVERHEAD_BYTES = 64 * 1024
"""Room for boundaries and part headers, over what the parts themselves may hold."""


@dataclass(frozen=True, slots=True)
class FormLimits:
    """Which parts a form may have, and how large."""

    choices: tuple[frozenset[str], ...]
    """Sets of parts that go to disk: one set must come, whole and alone."""
    texts: frozenset[str]
    """Names of the parts kept in memory; each may be left out."""
    max_file_bytes: int
    max_text_bytes: int

    @property
    def files(self) -> frozenset[str]:
        """Names of all parts that may go to disk."""
        return frozenset().union(*self.choices)

    @property
    def max_body_bytes(self) -> int:
        """Cap of the request's whole body."""
        most = max(len(choice) for choice in self.choices)
        parts = most * self.max_file_bytes + len(self.texts) * self.max_text_bytes
        return parts + OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A part on disk, whole."""

    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StagedForm:
    """A form whose parts have all come."""

    files: dict[str, StagedFile]
    texts: dict[str, bytes]


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn a full disk into our own error."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull("the service's disk is full: try again later") from error


@contextmanager
def staging_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a folder for an upload; whatever is left there at the end is removed."""
    folder = parent / name
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def boundary_of(content_type: str | None) -> bytes:
    """Boundary of a multipart form.

    Raises
    ------
    MalformedUpload
        The body is something else, or names no boundary.
    """
    kind, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary", b"")
    if kind != MULTIPART or not boundary:
        raise MalformedUpload("the body must be multipart/form-data with a boundary")
    return boundary


class _Sink(Protocol):
    """Takes one part's bytes."""

    def write(self, data: bytes) -> None: ...


class _FileSink:
    """A part that goes to disk."""

    def __init__(self, name: str, path: Path, cap: int) -> None:
        self._name = name
        self._path = path
        self._cap = cap
        self._size = 0
        self._digest = hashlib.sha256()
        self.file: BinaryIO = path.open("xb")

    def write(self, data: bytes) -> None:
        """Append, unless that would pass the cap."""
        self._size += len(data)
        if self._size > self._cap:
            raise UploadTooLarge(f"{self._name}: larger than the {self._cap} bytes taken here")
        self._digest.update(data)
        self.file.write(data)

    def finish(self) -> StagedFile:
        """Make the bytes durable."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return StagedFile(self._path, self._size, self._digest.hexdigest())


class _TextSink:
    """A part that stays in memory."""

    def __init__(self, name: str, cap: int) -> None:
        self._name = name
        self._cap = cap
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        """Append, unless that would pass the cap."""
        if len(self.data) + len(data) > self._cap:
            raise UploadTooLarge(f"{self._name}: larger than the {self._cap} bytes taken here")
        self.data += data


@dataclass(slots=True)
class _PartHeaders:
    """Headers of the part that is being read."""

    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    complete: dict[str, str] = field(default_factory=dict)

    def end_of_one(self) -> None:
        """Keep a header, and make room for the next."""
        self.complete[self.name.decode("latin-1").lower()] = self.value.decode("latin-1")
        self.name.clear()
        self.value.clear()


class FormReceiver:
    """Feed it a body's chunks; close it in any case; ask for the form at the end.

    Parameters
    ----------
    folder : Path
        Where the files go; each takes its part's name.
    boundary : bytes
        From the request's content type.
    limits : FormLimits
    """

    def __init__(self, folder: Path, boundary: bytes, limits: FormLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._received = 0
        self._ended = False
        self._headers = _PartHeaders()
        self._sink: _Sink | None = None
        self._files: dict[str, _FileSink] = {}
        self._texts: dict[str, _TextSink] = {}
        with _form_errors():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": lambda data, start, end: self._header_name(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header_value(data[start:end]),
                    "on_header_end": lambda: self._headers.end_of_one(),
                    "on_headers_finished": self._open_part,
                    "on_part_data": lambda data, start, end: self._part_data(data[start:end]),
                    "on_end": self._end,
                },
            )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises
        ------
        UploadTooLarge
            A part, or the body, passes its cap.
        MalformedUpload
            Not a multipart form, or one with parts that nobody asked for.
        DiskFull
            The disk has no room.
        """
        self._received += len(chunk)
        if self._received > self._limits.max_body_bytes:
            raise UploadTooLarge(
                f"the body is larger than the {self._limits.max_body_bytes} bytes taken here"
            )
        with _form_errors(), disk_errors():
            self._parser.write(chunk)

    def finish(self) -> StagedForm:
        """Make the files durable and hand the form over.

        Raises
        ------
        MalformedUpload
            The body ended too early, or a part is missing or empty.
        DiskFull
            The disk has no room.
        """
        if not self._ended:
            raise MalformedUpload("the form ends before its closing boundary: send it again")
        _require_choice(self._limits.choices, frozenset(self._files))
        with disk_errors():
            files = {name: sink.finish() for name, sink in self._files.items()}
        for name, staged in files.items():
            if staged.size_bytes == 0:
                raise MalformedUpload(f"{name}: this part is empty")
        return StagedForm(files, {name: bytes(sink.data) for name, sink in self._texts.items()})

    def close(self) -> None:
        """Close the files, finished or not."""
        for sink in self._files.values():
            # What was not finished is thrown away: that its last bytes find no room is no news.
            with suppress(OSError):
                sink.file.close()

    def _begin_part(self) -> None:
        self._headers = _PartHeaders()
        self._sink = None

    def _header_name(self, data: bytes) -> None:
        self._headers.name += data

    def _header_value(self, data: bytes) -> None:
        self._headers.value += data

    def _open_part(self) -> None:
        """Choose where the part's bytes go, by its name."""
        name = self._part_name()
        if name in self._files or name in self._texts:
            raise MalformedUpload(f"{name}: this part came twice")
        if name in self._limits.files:
            path = self._folder / name
            self._sink = self._files[name] = _FileSink(name, path, self._limits.max_file_bytes)
        else:
            self._sink = self._texts[name] = _TextSink(name, self._limits.max_text_bytes)

    def _part_name(self) -> str:
        """Name of the part, one of those that were asked for."""
        disposition = self._headers.complete.get("content-disposition")
        kind, parameters = parse_options_header(disposition)
        name = parameters.get(b"name", b"").decode("latin-1")
        known = self._limits.files | self._limits.texts
        if kind != b"form-data" or name not in known:
            expected = ", ".join(sorted(known))
            raise MalformedUpload(f"a part that was not asked for; the parts are {expected}")
        if self._headers.complete.get("content-transfer-encoding", "binary").lower() not in (
            "binary",
            "8bit",
            "7bit",
        ):
            raise MalformedUpload(f"{name}: send the bytes as they are, without transfer encoding")
        return name

    def _part_data(self, data: bytes) -> None:
        assert self._sink is not None, "the parser tells of headers before data"
        self._sink.write(data)

    def _end(self) -> None:
        self._ended = True


def _require_choice(choices: tuple[frozenset[str], ...], came: frozenset[str]) -> None:
    """Insist on one set of parts."""
    if came in choices:
        return
    nearest = max(choices, key=lambda choice: len(choice & came))
    for name in sorted(nearest - came):
        raise MalformedUpload(f"{name}: this part is missing")
    for name in sorted(came - nearest):
        raise MalformedUpload(f"{name}: this part cannot come with {', '.join(sorted(nearest))}")


@contextmanager
def _form_errors() -> Iterator[None]:
    """Turn the parser's errors into ours."""
    try:
        yield
    except FormParserError as error:
        raise MalformedUpload("the body is not a well-formed multipart form") from error
