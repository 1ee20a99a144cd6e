"""The part of a form that names the day of a scan."""

from pydantic import ValidationError

from dlb_core.contracts import GIVEN, SegmentationOptions
from dlb_core.errors import BadOption

SCAN_DATE = "scan_date"


def with_scan_date(options: SegmentationOptions, text: bytes) -> SegmentationOptions:
    """Options with the day that a form names; an empty part names none.

    Raises
    ------
    BadOption
        It is no day, or none that a scan can be of.
    """
    day = text.decode("ascii", "replace").strip()
    if not day:
        return options
    try:
        return SegmentationOptions.model_validate(
            options.model_dump() | {SCAN_DATE: day}, context=GIVEN
        )
    except ValidationError as error:
        raise BadOption(
            "the day of the scan cannot be used", fields={SCAN_DATE: error.errors()[0]["msg"]}
        ) from error
