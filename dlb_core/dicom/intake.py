"""From DICOM files as they came to two NIfTI files and what is kept of the FLAIR series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from dlb_core.dicom.choose import Choice, Explained, choose
from dlb_core.dicom.convert import convert
from dlb_core.dicom.geometry import stack
from dlb_core.dicom.headers import Headers, attribute, read_headers
from dlb_core.dicom.reference import write_reference
from dlb_core.dicom.rules import Kind
from dlb_core.dicom.series import Series, group
from dlb_core.dicom.wishes import NamedSeries
from dlb_core.errors import GridMismatch, SeriesMissing
from dlb_core.jobs.layout import DICOM_REFERENCE

PARTS: dict[str, Kind | None] = {"t1w": "T1w", "flair": "FLAIR", "study": None}
"""How an archive is sent -> the kind of image that it holds; None: both."""
NIFTI_NAMES: dict[Kind, str] = {"T1w": "T1w.nii", "FLAIR": "FLAIR.nii"}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller, or the operator, wants of the intake."""

    named: Mapping[Kind, int] = field(default_factory=dict)
    """Kind -> series number, where the caller names the series."""
    keep_identity: bool = False
    """Whether patient and study attributes are kept for the results."""

    @classmethod
    def of(cls, named: NamedSeries, *, keep_identity: bool) -> "Wishes":
        """From what a caller has named."""
        wanted: dict[Kind, int | None] = {"T1w": named.t1w, "FLAIR": named.flair}
        numbers = {kind: number for kind, number in wanted.items() if number is not None}
        return cls(numbers, keep_identity)


@dataclass(frozen=True, slots=True)
class TakenIn:
    """Two images, ready to be segmented."""

    t1w: Path
    flair: Path
    reference: Path
    explanation: tuple[Explained, ...]


def take_in(files: Mapping[Kind | None, Sequence[Path]], folder: Path, wishes: Wishes) -> TakenIn:
    """Choose the two series, check them, convert them.

    Parameters
    ----------
    files : mapping
        DICOM files of what was sent as the T1w and as the FLAIR; or, under None, of one study
        that holds both.
    folder : Path
        Where T1w.nii, FLAIR.nii and dicom.json are written.
    wishes : Wishes

    Raises
    ------
    SeriesMissing, SeriesAmbiguous
        There is no series, or more than one, that could be meant.
    SeriesDefective
        A series makes no single volume.
    GridMismatch
        The series are of two patients.
    UnreadableImage, ImplausibleImage, GeometryAmbiguous
        See `validation.check_header`.
    """
    choice = choose({kind: _series(paths) for kind, paths in files.items()}, wishes.named)
    _require_one_patient(choice)
    t1w, flair = (
        stack(choice.t1w.instances, role="T1w"),
        stack(choice.flair.instances, role="FLAIR"),
    )
    paths = {kind: folder / name for kind, name in NIFTI_NAMES.items()}
    with TemporaryDirectory(dir=folder) as scratch:
        convert(t1w, paths["T1w"], scratch=Path(scratch), role="T1w")
        convert(flair, paths["FLAIR"], scratch=Path(scratch), role="FLAIR")
    reference = folder / DICOM_REFERENCE
    write_reference(reference, flair, choice.explanation, keep_identity=wishes.keep_identity)
    return TakenIn(paths["T1w"], paths["FLAIR"], reference, choice.explanation)


def _series(paths: Sequence[Path]) -> list[Series]:
    return group(_readable(read_headers(paths)).instances)


def _readable(headers: Headers) -> Headers:
    """Refuse files of which none, or only a part, can be read: a slice might be missing."""
    if headers.deflated:
        raise SeriesMissing(
            f"{headers.deflated} of the DICOM files are in the deflated transfer syntax, which is "
            "not read: export the study again as Explicit VR Little Endian."
        )
    if headers.unreadable:
        raise SeriesMissing(
            f"{headers.unreadable} of the DICOM files cannot be read: export the study again."
        )
    return headers


def _require_one_patient(choice: Choice) -> None:
    """Two archives can hold two people; whom, the message does not say."""
    said = [
        [
            str(attribute(one.header, keyword) or "").strip()
            for keyword in ("PatientID", "PatientName")
        ]
        for one in (choice.t1w, choice.flair)
    ]
    if any(a and b and a != b for a, b in zip(*said, strict=True)):
        raise GridMismatch(
            "T1w and FLAIR are of two patients, by their DICOM headers: send two series of one "
            "person and one visit."
        )
