"""Take the patient out of a DICOM header: PS3.15's basic profile, by dicom-anonymizer's tables.

UIDs stay (the standard's Retain UIDs option), for the results must refer to the series they were
made from. A date that the profile would replace by a dummy is left empty instead: nobody shall
take the year 1 for a finding.

Source: DICOM PS3.15, annex E.
"""

import copy

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

_UIDS = (
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
)
_METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113110", "Retain UIDs Option"),
)
"""CID 7050."""
_TEMPORAL = ("DA", "TM", "DT")


def without_patient(header: pydicom.Dataset) -> pydicom.Dataset:
    """A copy of a header that names nobody, and says how that was done."""
    # Here, because loading its tables takes a while that most commands need not spend.
    from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions, keep

    cleaned = copy.deepcopy(header)
    kept = {}
    for keyword in _UIDS:
        tag = tag_for_keyword(keyword)
        assert tag is not None, "these keywords are the standard's"
        kept[tag >> 16, tag & 0xFFFF] = keep
    anonymize_dataset(cleaned, kept, base_rules_gen=lambda: initialize_actions("dicomfields_2024b"))
    for element in cleaned:
        if element.VR in _TEMPORAL:
            element.value = None
    cleaned.PatientName = cleaned.PatientID = ""
    cleaned.PatientIdentityRemoved = "YES"
    cleaned.DeidentificationMethodCodeSequence = Sequence(
        [_code(value, meaning) for value, meaning in _METHODS]
    )
    return cleaned


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = meaning
    return code
