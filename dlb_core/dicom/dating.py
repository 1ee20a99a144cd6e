"""The day of a scan that came as DICOM, for its report."""

import json
from pathlib import Path

from pydantic import ValidationError

from dlb_core.contracts import GIVEN, SegmentationOptions


def dated(options: SegmentationOptions, reference: Path | None) -> SegmentationOptions:
    """Options with the day that the DICOM names, unless the caller names one.

    Parameters
    ----------
    options : SegmentationOptions
    reference : Path or None
        What was kept of the FLAIR series; it holds a date only where identities are kept. None
        where the images came as NIfTI.
    """
    if options.scan_date is not None or reference is None:
        return options
    found = json.loads(reference.read_text(encoding="utf-8")).get("scan_date")
    if found is None:
        return options
    try:
        return SegmentationOptions.model_validate(
            options.model_dump() | {"scan_date": found}, context=GIVEN
        )
    except ValidationError:
        # A scanner whose clock is wrong: its date is no reason to refuse the case.
        return options
