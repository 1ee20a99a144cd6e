"""What a case consists of when it is sent."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dlb_core.dicom.wishes import NamedSeries
from dlb_core.errors import BadOption


@dataclass(frozen=True, slots=True)
class Case:
    """Files to send, and which of their series are meant."""

    images: dict[str, Path]
    """Part of the form -> its file."""
    series: NamedSeries
    scan_date: date | None = None


def case_of(
    *,
    t1w: Path | None = None,
    flair: Path | None = None,
    study: Path | None = None,
    series: NamedSeries | None = None,
    scan_date: date | None = None,
) -> Case:
    """Make a case of what was given.

    Parameters
    ----------
    t1w, flair : Path, optional
        NIfTI files, or zip archives of DICOM files.
    study : Path, optional
        In place of these two: one zip archive of DICOM files that holds both series.
    series : NamedSeries, optional
        Of DICOM: series that are to be taken, whatever the rules would choose.

    scan_date : date, optional
        The day of the scan, for the report.

    Raises
    ------
    BadOption
        Neither both images nor a study, or all of them.
    """
    given = {"t1w": t1w, "flair": flair, "study": study}
    images = {part: path for part, path in given.items() if path is not None}
    if set(images) not in ({"t1w", "flair"}, {"study"}):
        raise BadOption("send a T1w and a FLAIR, or a study that holds both")
    return Case(images, series or NamedSeries(), scan_date)
