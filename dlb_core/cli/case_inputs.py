"""The images of one case, as a user has them: NIfTI files, DICOM folders or zip archives."""

import argparse
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dlb_core.client.case import case_of
from dlb_core.dicom.wishes import NamedSeries
from dlb_core.errors import BadOption

ZIP_MAGIC = b"PK"


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """Two NIfTI files, and what is known of the DICOM that they were made from."""

    t1w: Path
    flair: Path
    reference: Path | None = None
    """What results need of the FLAIR series; None where the files came as NIfTI."""
    explanation: tuple[str, ...] = ()
    """Which series were taken, and why."""


def add_case_inputs(parser: argparse._ActionsContainer, visit: str = "") -> None:
    """Add the images; of one visit among several, under its name: --first-t1w."""
    start = _start(visit)
    parser.add_argument(
        f"{start}t1w",
        type=Path,
        metavar="PATH",
        help="T1w: NIfTI file, or folder or zip of DICOM files",
    )
    parser.add_argument(f"{start}flair", type=Path, metavar="PATH", help="FLAIR, likewise")
    parser.add_argument(
        f"{start}study",
        type=Path,
        metavar="PATH",
        help="in place of these two: folder or zip of DICOM files that holds both series",
    )
    parser.add_argument(
        f"{start}scan-date",
        metavar="YYYY-MM-DD",
        help="day of the scan, printed on the report (default: of DICOM, its own, if identities "
        "are kept)",
    )
    for kind in ("t1w", "flair"):
        parser.add_argument(
            f"{start}{kind}-series",
            type=int,
            metavar="N",
            help="number of the DICOM series to take (default: chosen by rules)",
        )


def has_inputs(args: argparse.Namespace, visit: str) -> bool:
    """Whether any image of a visit is given."""
    return any(_given(args, part, visit) is not None for part in ("t1w", "flair", "study"))


def given_inputs(args: argparse.Namespace, visit: str = "") -> tuple[dict[str, Path], NamedSeries]:
    """Paths by part, and the series that are named.

    Raises
    ------
    BadOption
        Neither both images nor a study; or a series number that is none.
    """
    start = _start(visit)
    series: dict[str, int | None] = {
        kind: _given(args, f"{kind}_series", visit) for kind in ("t1w", "flair")
    }
    for kind, number in series.items():
        if number is not None and not 0 <= number < 2**31:
            raise BadOption(f"{start}{kind}-series: no series has the number {number}")
    named = NamedSeries(**series)
    given = {part: _given(args, part, visit) for part in ("t1w", "flair", "study")}
    try:
        case = case_of(**given, series=named)
    except BadOption as error:
        raise BadOption(f"give {start}t1w and {start}flair, or {start}study") from error
    return case.images, named


def given_date(args: argparse.Namespace, visit: str = "") -> str | None:
    """The day of a visit's scan, as it is given; not looked at yet."""
    date: str | None = getattr(args, f"{visit}_scan_date" if visit else "scan_date", None)
    return date


def _start(visit: str) -> str:
    """How the options of a visit begin."""
    return f"--{visit}-" if visit else "--"


def _given(args: argparse.Namespace, name: str, visit: str) -> Any:
    """What an option of a visit holds."""
    return getattr(args, f"{visit}_{name}" if visit else name)


@contextmanager
def case_files(
    args: argparse.Namespace, *, keep_identity: bool, visit: str = ""
) -> Iterator[CaseFiles]:
    """Have the case as NIfTI files; what had to be made for it is removed at the end.

    Raises
    ------
    BadOption
        See `given_inputs`.
    InputError
        DICOM that cannot be used: see `dlb_core.dicom.intake.take_in`.
    """
    images, named = given_inputs(args, visit)
    if not any(_is_dicom(path) for path in images.values()):
        if "study" in images:
            raise BadOption(f"{_start(visit)}study: neither a folder nor a zip of DICOM files")
        yield CaseFiles(images["t1w"], images["flair"])
        return
    with TemporaryDirectory(prefix="dlb-dicom-") as scratch:
        yield _converted(images, named, Path(scratch), keep_identity=keep_identity)


@contextmanager
def sendable(images: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """Have folders as archives, to send them; these are removed at the end."""
    with TemporaryDirectory(prefix="dlb-dicom-") as scratch:
        yield {
            part: _zipped(path, Path(scratch) / f"{part}.zip") if path.is_dir() else path
            for part, path in images.items()
        }


def _is_dicom(path: Path) -> bool:
    """Whether it is a folder or an archive; a path that is neither, nor a file, is an error."""
    if path.is_dir():
        return True
    with path.open("rb") as file:
        return file.read(2) == ZIP_MAGIC


def _converted(
    images: dict[str, Path], named: NamedSeries, folder: Path, *, keep_identity: bool
) -> CaseFiles:
    # Here, because most cases are none: their commands need not load it.
    from dlb_core.dicom.archive import gather, unpack
    from dlb_core.dicom.intake import PARTS, Wishes, take_in

    files = {}
    for part, path in images.items():
        if path.is_dir():
            files[PARTS[part]] = gather(path)
        else:
            unpacked = folder / part
            unpacked.mkdir()
            files[PARTS[part]] = unpack(path, unpacked, name=f"--{part}")
    taken = take_in(files, folder, Wishes.of(named, keep_identity=keep_identity))
    explanation = tuple(
        f"{entry.used_as}: {entry.series}: {entry.reason}"
        for entry in taken.explanation
        if entry.used_as is not None
    )
    return CaseFiles(taken.t1w, taken.flair, taken.reference, explanation)


def _zipped(folder: Path, target: Path) -> Path:
    """Put the DICOM files of a folder into an archive, under no name of theirs."""
    from dlb_core.dicom.archive import gather

    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for number, path in enumerate(gather(folder)):
            archive.write(path, f"{number:06d}.dcm")
    return target
