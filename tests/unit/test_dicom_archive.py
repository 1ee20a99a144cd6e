"""Archives of DICOM files: what is taken out of them, and what is refused."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
from dicom_kit import archive, t1w

from dlb_core.dicom.archive import ArchiveLimits, gather, is_zip, unpack
from dlb_core.errors import DiskFull, UnreadableArchive, UploadTooLarge

DICOM = b"\0" * 128 + b"DICM" + b"x" * 100


def zipped(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip of these members."""
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where archives are unpacked to."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_dicom_files_come_out_under_names_of_our_own(tmp_path: Path, target: Path) -> None:
    """A PACS names files by the patient, and a hostile archive by paths that lead elsewhere."""
    members = {
        "../../escaped.dcm": DICOM,
        "/etc/absolute": DICOM + b"2",
        "Doe_Jane/1": DICOM + b"3",
        "Doe_Jane/readme.txt": b"hello",
        "DICOMDIR.bak": b"",
    }

    files = unpack(zipped(tmp_path / "a.zip", members), target, name="study")

    assert [file.name for file in files] == ["000001.dcm", "000002.dcm", "000003.dcm"]
    assert files[2].read_bytes() == DICOM + b"3"
    assert sorted(target.iterdir()) == files
    assert not (tmp_path.parent / "escaped.dcm").exists()


def test_an_archive_that_inflates_to_more_than_is_taken_is_refused(
    tmp_path: Path, target: Path
) -> None:
    """A few kilobytes can inflate to gigabytes: what counts is what comes out."""
    bomb = zipped(tmp_path / "a.zip", {"1": DICOM + bytes(10_000_000)})
    assert bomb.stat().st_size < 20_000

    with pytest.raises(UploadTooLarge, match="study"):
        unpack(bomb, target, name="study", limits=ArchiveLimits(max_bytes=5_000_000))
    target.joinpath("000001.dcm").unlink()
    with pytest.raises(UploadTooLarge, match="larger than any scan"):
        unpack(bomb, target, name="study", limits=ArchiveLimits(max_file_bytes=5_000_000))
    assert sum(file.stat().st_size for file in target.iterdir()) < 10_000_000


def test_a_lie_about_a_members_size_is_not_believed(tmp_path: Path, target: Path) -> None:
    """The sizes in a zip's own list are whatever its maker wrote there."""
    path = zipped(tmp_path / "a.zip", {"1": DICOM + bytes(1_000_000)})
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = (100).to_bytes(4, "little")
    path.write_bytes(content)

    with pytest.raises((UploadTooLarge, UnreadableArchive)):
        unpack(path, target, name="study", limits=ArchiveLimits(max_bytes=500_000))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_inflate_without_bound_are_refused(
    tmp_path: Path, target: Path, method: int
) -> None:
    """A piece of such a member comes out whole, gigabytes at once, before it could be counted."""
    path = zipped(tmp_path / "a.zip", {"1": DICOM}, method=method)

    with pytest.raises(UnreadableArchive, match="another method than deflate"):
        unpack(path, target, name="study")
    assert not list(target.iterdir())


def test_a_zip64_locator_that_points_elsewhere_is_refused(tmp_path: Path, target: Path) -> None:
    """Else one record would be looked at, and another one obeyed."""
    sound, forged = tmp_path / "sound.zip", tmp_path / "forged.zip"
    sound.write_bytes(zip64(zipped(sound, {"1": DICOM}).read_bytes(), off=0))
    small = struct.pack("<4s36xQ8x", b"PK\x06\x06", 10)
    content = zipped(forged, {"1": DICOM, "2": small}, method=zipfile.ZIP_STORED).read_bytes()
    at = content.index(b"PK\x01\x02")
    forged.write_bytes(zip64(content, off=content.index(small) - content.index(b"PK\x05\x06")))
    limits = ArchiveLimits(max_directory_bytes=content.index(b"PK\x05\x06") - at - 1)

    assert len(unpack(sound, target, name="study")) == 1
    with pytest.raises(UnreadableArchive, match="not a zip archive"):
        unpack(forged, target, name="study", limits=limits)


def zip64(content: bytes, *, off: int) -> bytes:
    """Give a zip a zip64 record, and a locator that is so many bytes off."""
    at = content.index(b"PK\x05\x06")
    members, size, directory = struct.unpack("<10xHII2x", content[at:])
    record = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, members, members, size, directory
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at + off, 1)
    return content[:at] + record + locator + content[at:]


def test_a_list_of_too_many_members_is_refused(tmp_path: Path, target: Path) -> None:
    """The list is read into memory whole: it is looked at before."""
    path = zipped(tmp_path / "a.zip", {f"{number}": b"" for number in range(50)})

    with pytest.raises(UploadTooLarge, match="files"):
        unpack(path, target, name="study", limits=ArchiveLimits(max_files=49))
    with pytest.raises(UploadTooLarge, match="files"):
        unpack(path, target, name="study", limits=ArchiveLimits(max_directory_bytes=1000))


def test_room_is_asked_for_before_it_is_taken(tmp_path: Path, target: Path) -> None:
    """The disk must not fill up from archives, as it must not from uploads."""

    def refuse(count: int) -> None:
        raise DiskFull("full")

    with pytest.raises(DiskFull):
        unpack(zipped(tmp_path / "a.zip", {"1": DICOM}), target, name="study", on_bytes=refuse)


def cut_off(path: Path) -> bytes:
    """An archive without its end."""
    return zipped(path, {"1": DICOM}).read_bytes()[:-30]


def damaged(path: Path) -> bytes:
    """An archive with other bytes in a member."""
    content = bytearray(zipped(path, {"1": DICOM * 50}, method=zipfile.ZIP_STORED).read_bytes())
    content[300] ^= 0xFF
    return bytes(content)


def encrypted(path: Path) -> bytes:
    """An archive that says it is encrypted."""
    content = bytearray(zipped(path, {"1": DICOM}).read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    return bytes(content)


def nested(path: Path) -> bytes:
    """An archive of archives."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as opened:
        opened.writestr("1", DICOM)
    return zipped(path, {"inner.zip": inner.getvalue()}).read_bytes()


@pytest.mark.parametrize(
    "make",
    [
        cut_off,
        damaged,
        encrypted,
        nested,
        lambda path: b"PK\x03\x04" + bytes(100),
        lambda path: b"",
        lambda path: zipped(path, {"notes.txt": b"no scans"}).read_bytes(),
    ],
)
def test_what_is_no_archive_of_dicom_files_is_refused(
    tmp_path: Path, target: Path, make: object
) -> None:
    """Each such upload is the sender's to mend: none may be a fault of ours."""
    path = tmp_path / "a.zip"
    path.write_bytes(make(path))  # type: ignore[operator]

    with pytest.raises(UnreadableArchive, match="study"):
        unpack(path, target, name="study")


def test_a_folders_dicom_files_are_found_wherever_they_lie(tmp_path: Path) -> None:
    """Scanners export series in folders of folders, with other files among them."""
    path = archive(t1w()[:3], tmp_path / "a.zip")
    (tmp_path / "DICOMDIR.txt").write_text("an index")

    assert is_zip(path)
    assert len(gather(tmp_path)) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableArchive):
        gather(tmp_path / "empty")
