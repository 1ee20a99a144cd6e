"""What all DICOM objects of a case have in common: who made them, and their UIDs.

UIDs follow from what was segmented and how. The same case segmented again by the same weights gives
the same UIDs, so an archive that is sent results twice holds them once. Each version that a reader
has corrected has UIDs of its own, even where its mask is that of an earlier one.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from dlb_core.report.document import Report

MANUFACTURER = "DeepLesionBrain Service (open source)"
MODEL_NAME = "DeepLesionBrain"
ALGORITHM = "DeepLesionBrain"

SEGMENTATION_SERIES, REPORT_SERIES, PDF_SERIES = 9701, 9702, 9703
"""Series numbers, far from a scanner's."""

LESION_OF_BRAIN = Code("301766008", "SCT", "Lesion of Brain")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
BRAIN = Code("12738006", "SCT", "Brain")
MRI_OF_BRAIN = Code("816077007", "SCT", "Magnetic resonance imaging of brain")


@dataclass(frozen=True, slots=True)
class Maker:
    """Identifies the objects of one case."""

    report: Report
    series_uid: str
    """Of the FLAIR."""
    mask_sha256: str
    """Of the mask's voxels."""

    def uid(self, what: str) -> str:
        """UID of one object, or of one series, of this case."""
        made_by = f"{self.report.software_version} {self.report.model.sha256}"
        options = self.report.options.model_dump_json()
        sources = [self.series_uid, self.mask_sha256, made_by, options, what]
        return generate_uid(entropy_srcs=[*sources, *self._edits()])

    def _edits(self) -> list[str]:
        """What tells a corrected version from all others; nothing for the networks' own."""
        corrections = self.report.corrections
        if not corrections:
            return []
        edits = "".join(one.model_dump_json() for one in corrections)
        return [f" version {self.report.version} ", digest(edits.encode())]

    @property
    def equipment(self) -> dict[str, Any]:
        """As the libraries take it."""
        return {"manufacturer": MANUFACTURER, "manufacturer_model_name": MODEL_NAME}

    @property
    def version(self) -> str:
        """Of the software and of the weights."""
        return f"{self.report.software_version}; {self.report.model.version}"[:64]

    @property
    def serial(self) -> str:
        """In place of a device's serial number: the weights' digest."""
        return self.report.model.sha256[:16]


def digest(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()
