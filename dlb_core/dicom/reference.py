"""What is kept of the FLAIR series, so that results can be laid over it: no pixels, few headers.

Kept as JSON beside a job's images. Each image's UID, number and place; and once, what all have in
common: the series' geometry and UIDs, and the patient and study, if the operator has them kept.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from dlb_core.artefacts import write_text
from dlb_core.dicom.choose import Explained
from dlb_core.dicom.geometry import Stack, stack
from dlb_core.dicom.headers import (
    DATE_KEYWORDS,
    STUDY_KEYWORDS,
    UNPARSABLE,
    attribute,
    instance_of,
)
from dlb_core.dicom.identity import without_patient
from dlb_core.errors import SeriesDefective

_SERIES = (
    "SOPClassUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesNumber",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
)
_REQUIRED = tuple(keyword for keyword in STUDY_KEYWORDS if keyword != "IssuerOfPatientID")
"""Of type 2: there, if empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The FLAIR series as results refer to it."""

    headers: tuple[pydicom.Dataset, ...]
    """One an image, in the order of the stack, without pixels."""
    explanation: tuple[Explained, ...]
    """Why this series, and which others there were."""

    @property
    def stack(self) -> Stack:
        """Where the images lie."""
        found = [instance_of(header) for header in self.headers]
        return stack([one for one in found if one is not None], role="FLAIR")


def write_reference(
    path: Path, flair: Stack, explanation: Sequence[Explained], *, keep_identity: bool
) -> None:
    """Keep what results need of the FLAIR series.

    Parameters
    ----------
    path : Path
    flair : Stack
    explanation : sequence of Explained
    keep_identity : bool
        Whether patient and study attributes are kept too; else they are removed by the
        standard's basic profile.

    Raises
    ------
    SeriesDefective
        The headers hold what cannot be parsed.
    """
    try:
        common = _common(flair, keep_identity=keep_identity).to_json_dict()
    except UNPARSABLE as error:
        raise SeriesDefective(
            "The FLAIR series' headers hold values that cannot be read: export it again."
        ) from error
    document = {
        "common": common,
        "images": [
            {
                "uid": one.sop_uid,
                "number": one.number,
                "position": None if one.position is None else one.position.tolist(),
            }
            for one in flair.instances
        ],
        "explanation": [asdict(entry) for entry in explanation],
        "scan_date": _scan_date(flair.instances[0].header) if keep_identity else None,
    }
    write_text(path, json.dumps(document) + "\n")


def read_reference(path: Path) -> Reference:
    """Read what `write_reference` has kept."""
    document = json.loads(path.read_text(encoding="utf-8"))
    common = pydicom.Dataset.from_json(document["common"])
    return Reference(
        headers=tuple(_header(common, image) for image in document["images"]),
        explanation=tuple(Explained(**entry) for entry in document["explanation"]),
    )


def _scan_date(header: pydicom.Dataset) -> str | None:
    """The first date that is one; images of a series are taken within minutes."""
    for keyword in (*DATE_KEYWORDS, "StudyDate"):
        try:
            return datetime.strptime(str(attribute(header, keyword)), "%Y%m%d").date().isoformat()
        except ValueError:
            continue
    return None


def _common(flair: Stack, *, keep_identity: bool) -> pydicom.Dataset:
    """Attributes that all images of the series share."""
    source = flair.instances[0].header
    chosen = pydicom.Dataset()
    for keyword in STUDY_KEYWORDS + _SERIES:
        if attribute(source, keyword) is not None:
            chosen[keyword] = source[keyword]
    common = chosen if keep_identity else without_patient(chosen)
    for keyword in _REQUIRED:
        if keyword not in common:
            setattr(common, keyword, "")
    # What JSON holds is Unicode, whatever it was before.
    common.SpecificCharacterSet = "ISO_IR 192"
    if not common.get("FrameOfReferenceUID"):
        # Required of MR images, and missing in some: one of the series' own then.
        common.FrameOfReferenceUID = pydicom.uid.generate_uid(
            entropy_srcs=[str(common.SeriesInstanceUID)]
        )
    return common


def _header(common: pydicom.Dataset, image: dict[str, Any]) -> pydicom.Dataset:
    header = pydicom.Dataset()
    for element in common:
        header.add(element)
    header.SOPInstanceUID = image["uid"]
    header.ImagePositionPatient = [float(value) for value in np.array(image["position"])]
    if image["number"] is not None:
        header.InstanceNumber = image["number"]
    return header
