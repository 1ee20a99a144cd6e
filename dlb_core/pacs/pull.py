"""Fetch of a study what is needed: the headers of its MR series, then the two that are chosen."""

from collections.abc import Callable
from pathlib import Path

from dlb_core.dicom.choose import choose
from dlb_core.dicom.headers import UNPARSABLE, Instance, instance_of
from dlb_core.dicom.intake import Wishes
from dlb_core.dicom.series import Series, group
from dlb_core.errors import PacsUnavailable
from dlb_core.pacs.web import DicomWeb


def pull(
    web: DicomWeb,
    study_uid: str,
    folder: Path,
    wishes: Wishes,
    *,
    max_bytes: int,
    on_bytes: Callable[[int], None],
) -> list[Path]:
    """Fetch the T1w and the FLAIR series of a study.

    Parameters
    ----------
    web : DicomWeb
    study_uid : str
    folder : Path
        Existing and empty.
    wishes : Wishes
    max_bytes : int
        That each series may have.
    on_bytes : callable
        Told how many bytes are about to be written; may raise, where there is no room.

    Raises
    ------
    StudyNotFound, PacsUnavailable
    SeriesMissing, SeriesAmbiguous
        See `choose`.
    UploadTooLarge, DiskFull
    """
    chosen = choose({None: _series_of(web, study_uid)}, wishes.named)
    paths = []
    for name, series in (("t1w", chosen.t1w), ("flair", chosen.flair)):
        target = folder / name
        target.mkdir()
        paths += web.fetch(study_uid, series.uid, target, max_bytes=max_bytes, on_bytes=on_bytes)
    return paths


def _series_of(web: DicomWeb, study_uid: str) -> list[Series]:
    found: list[Instance] = []
    for uid in web.series(study_uid, modality="MR"):
        headers = web.headers(study_uid, uid)
        try:
            read = [instance_of(header) for header in headers]
        except UNPARSABLE as error:
            raise PacsUnavailable("the archive tells of headers that cannot be read") from error
        found += [one for one in read if one is not None]
    return group(found)
