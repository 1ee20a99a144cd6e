"""Multipart forms: onto disk whole and digested, or refused and nothing left."""

import errno
import hashlib
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service_kit import BOUNDARY, form

from dlb_core.errors import DiskFull, DlbError, MalformedUpload, UploadTooLarge
from service.space import require_space
from service.uploads import (
    FormLimits,
    FormReceiver,
    StagedForm,
    boundary_of,
    disk_errors,
    staging_folder,
)

LIMITS = FormLimits(
    choices=(frozenset({"t1w", "flair"}), frozenset({"study"})),
    texts=frozenset({"options"}),
    max_file_bytes=1000,
    max_text_bytes=100,
)
GOOD = [("t1w", b"first image"), ("flair", b"second image"), ("options", b"{}")]


def receive(folder: Path, body: bytes, *, chunk: int = 64) -> StagedForm:
    """Feed a body in chunks, as the network would."""
    with closing(FormReceiver(folder, BOUNDARY.encode(), LIMITS)) as receiver:
        for start in range(0, len(body), chunk):
            receiver.feed(body[start : start + chunk])
        return receiver.finish()


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_a_form_is_received_whatever_its_chunks(tmp_path: Path, chunk: int) -> None:
    """Where the network cuts the body must not matter."""
    received = receive(tmp_path, form(GOOD), chunk=chunk)

    assert received.files["t1w"].path.read_bytes() == b"first image"
    assert received.files["flair"].path.read_bytes() == b"second image"
    assert received.texts == {"options": b"{}"}


@settings(deadline=None)
@given(
    content=st.binary(min_size=1, max_size=900).filter(lambda data: BOUNDARY.encode() not in data),
    chunk=st.integers(1, 50),
)
def test_any_bytes_arrive_as_they_were_sent(content: bytes, chunk: int) -> None:
    """Images hold anything, line ends and dashes included."""
    with TemporaryDirectory() as folder:
        body = form([("t1w", content), ("flair", b"\r\n--")])
        staged = receive(Path(folder), body, chunk=chunk).files["t1w"]

        assert staged.path.read_bytes() == content
        assert staged.size_bytes == len(content)
        assert staged.sha256 == hashlib.sha256(content).hexdigest()


@settings(deadline=None)
@given(body=st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(body: bytes) -> None:
    """Whatever comes, only our own errors leave the parser: no 500 for a bad request."""
    with TemporaryDirectory() as folder, pytest.raises(DlbError):
        receive(Path(folder), b"--" + BOUNDARY.encode() + body)


def test_a_part_is_refused_at_the_first_byte_too_many(tmp_path: Path) -> None:
    """The cap must hold while the bytes come, not after they have filled the disk."""
    at_cap = form([("t1w", b"x" * 1000), ("flair", b"y")])
    assert receive(tmp_path, at_cap).files["t1w"].size_bytes == 1000

    folder = tmp_path / "second"
    folder.mkdir()
    with pytest.raises(UploadTooLarge, match="t1w"):
        receive(folder, form([("t1w", b"x" * 1001), ("flair", b"y")]))
    assert (folder / "t1w").stat().st_size <= 1000


def test_a_text_part_has_a_cap_of_its_own(tmp_path: Path) -> None:
    """Options are held in memory: they may not be large."""
    with pytest.raises(UploadTooLarge, match="options"):
        receive(tmp_path, form([*GOOD[:2], ("options", b" " * 101)]))


def test_bytes_outside_the_parts_are_capped_too(tmp_path: Path) -> None:
    """An endless epilogue holds no part, yet would keep the connection busy for ever."""
    with pytest.raises(UploadTooLarge, match="body"):
        receive(tmp_path, form(GOOD) + b"x" * LIMITS.max_body_bytes, chunk=10_000)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (form(GOOD, closed=False), "closing boundary"),
        (form(GOOD)[:-40], "closing boundary"),
        (b"", "closing boundary"),
        (form(GOOD[1:]), "t1w: this part is missing"),
        (form([*GOOD, GOOD[0]]), "t1w: this part came twice"),
        (form([*GOOD[:2], ("options", b""), ("options", b"")]), "options: this part came twice"),
        (form([*GOOD, ("mask", b"x")]), "not asked for"),
        (form([*GOOD, ("../../etc/passwd", b"x")]), "not asked for"),
        (form([("t1w", b""), GOOD[1]]), "t1w: this part is empty"),
        (form(GOOD, boundary="another"), "well-formed"),
        (form(GOOD).replace(b"form-data", b"attachment", 1), "not asked for"),
        (
            form(GOOD).replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1),
            "transfer encoding",
        ),
        (form(GOOD).replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 1), "well-formed"),
    ],
)
def test_a_form_that_was_not_asked_for_is_refused(
    tmp_path: Path, body: bytes, complaint: str
) -> None:
    """A request that is understood only in part would be answered wrongly."""
    with pytest.raises(MalformedUpload, match=complaint):
        receive(tmp_path, body)


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/json", "multipart/form-data", "multipart/mixed; boundary=a"],
)
def test_other_content_types_are_refused(content_type: str | None) -> None:
    """Nothing but a multipart form with a boundary can be parsed."""
    with pytest.raises(MalformedUpload):
        boundary_of(content_type)


def test_a_staging_folder_is_removed_when_the_upload_fails(tmp_path: Path) -> None:
    """Scans of a request that failed must not stay on the disk."""
    with pytest.raises(MalformedUpload), staging_folder(tmp_path, "upload") as folder:
        receive(folder, form(GOOD[:1]))

    assert not list(tmp_path.iterdir())


def test_an_upload_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    """The database shares the disk: it must not be the one to find it full."""
    require_space(tmp_path, needed=1, spare=0)
    with pytest.raises(DiskFull):
        require_space(tmp_path, needed=1, spare=2**60)


def test_only_a_full_disk_counts_as_one() -> None:
    """Other faults of the disk are not the caller's to wait out."""
    with pytest.raises(DiskFull), disk_errors():
        raise OSError(errno.ENOSPC, "no space")
    with pytest.raises(PermissionError), disk_errors():
        raise PermissionError(errno.EACCES, "denied")
