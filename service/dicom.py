"""Make images of DICOM that came as zip archives.

Everything here reads what may be hostile, and takes seconds: it runs in a thread, a few uploads at
a time.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from anyio import CapacityLimiter

from dlb_core.dicom.wishes import NamedSeries
from dlb_core.errors import UnreadableImage
from service.lanes import Lane

STUDY = "study"
AT_ONCE = 2
"""Archives that are unpacked at a time: the others wait, and callers who poll do not."""
ZIP_MAGIC = b"PK"

_LANE = Lane("dicom", AT_ONCE)


def limiter() -> CapacityLimiter:
    """Hold back archives while others are unpacked."""
    return _LANE.limiter()


def is_dicom(parts: Mapping[str, Path]) -> bool:
    """Whether the parts of a form are archives of DICOM files.

    Raises
    ------
    UnreadableImage
        One is, and the other is not.
    """
    zipped = [_starts_as_zip(path) for path in parts.values()]
    if any(zipped) and not all(zipped):
        raise UnreadableImage(
            "One of T1w and FLAIR is a zip archive, the other is not: send both as archives of "
            "DICOM files, or both as NIfTI."
        )
    return STUDY in parts or all(zipped)


def unfold(
    parts: Mapping[str, Path],
    folder: Path,
    *,
    named: NamedSeries,
    keep_identity: bool,
    max_bytes: int,
    on_bytes: Callable[[int], None],
) -> dict[str, Path]:
    """Unpack archives, choose and convert the two series, and remove the archives.

    Parameters
    ----------
    parts : mapping
        `t1w` and `flair`, or `study` -> the archive.
    folder : Path
        Where the images and what is kept of the headers are written.
    named : NamedSeries
    keep_identity : bool
    max_bytes : int
        That an archive may hold.
    on_bytes : callable
        Asked for room before bytes are written.

    Returns
    -------
    dict
        `t1w`, `flair` -> NIfTI file.

    Raises
    ------
    UnreadableArchive, UploadTooLarge, DiskFull
    SeriesMissing, SeriesAmbiguous, SeriesDefective, GridMismatch
    UnreadableImage, ImplausibleImage, GeometryAmbiguous
    """
    # Here, because most uploads are none: their service need not load it.
    from dlb_core.dicom.archive import ArchiveLimits, unpack

    work = folder / "dicom"
    work.mkdir(mode=0o700)
    limits, files = ArchiveLimits(max_bytes=max_bytes), {}
    for part, archive in parts.items():
        unpacked = work / part
        unpacked.mkdir()
        files[part] = unpack(archive, unpacked, name=part, limits=limits, on_bytes=on_bytes)
        archive.unlink()
    images = convert_files(files, folder, named=named, keep_identity=keep_identity)
    shutil.rmtree(work)
    return images


def convert_files(
    files: Mapping[str, list[Path]], folder: Path, *, named: NamedSeries, keep_identity: bool
) -> dict[str, Path]:
    """Choose and convert the two series among DICOM files; see `unfold`."""
    from dlb_core.dicom.intake import PARTS, Wishes, take_in

    wishes = Wishes.of(named, keep_identity=keep_identity)
    taken = take_in({PARTS[part]: paths for part, paths in files.items()}, folder, wishes)
    for path in (taken.t1w, taken.flair):
        _sync(path)
    return {"t1w": taken.t1w, "flair": taken.flair}


def _starts_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == ZIP_MAGIC


def _sync(path: Path) -> None:
    """Make a file that another program wrote durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
