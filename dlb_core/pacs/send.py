"""Send a finished case's DICOM objects to an archive, under the name that the archive has for it.

Where the service keeps no identities, its objects name nobody. The archive is asked whose study it
is, and the copies that are sent say so; nothing of it is kept here.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import pydicom

from dlb_core.dicom.headers import STUDY_KEYWORDS, UNPARSABLE
from dlb_core.errors import StageFailed
from dlb_core.pacs.web import DicomWeb

_REMOVED = ("PatientIdentityRemoved", "DeidentificationMethodCodeSequence")


def send(web: DicomWeb, paths: Sequence[Path]) -> None:
    """Store objects of one study.

    Parameters
    ----------
    web : DicomWeb
    paths : sequence of Path
        At least one.

    Raises
    ------
    StudyNotFound
        The archive does not have the study that the objects belong to.
    PacsUnavailable
    StageFailed
        An object of ours cannot be read.
    """
    try:
        objects = [pydicom.dcmread(path) for path in paths]
    except UNPARSABLE as error:
        raise StageFailed("a DICOM result cannot be read: have the job run again") from error
    study = web.study(str(objects[0].StudyInstanceUID))
    for one in objects:
        _name(one, study)
    web.store([_bytes_of(one) for one in objects], [str(one.SOPInstanceUID) for one in objects])


def _name(one: pydicom.Dataset, study: pydicom.Dataset) -> None:
    """Say whose it is, as the archive does."""
    for keyword in STUDY_KEYWORDS:
        if keyword in study:
            one[keyword] = study[keyword]
    for keyword in _REMOVED:
        one.pop(keyword, None)


def _bytes_of(one: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    one.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
