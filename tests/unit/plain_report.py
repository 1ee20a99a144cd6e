"""A report that says little, for tests of what happens to reports."""

from dlb_core.contracts import SegmentationOptions
from dlb_core.report.document import ModelIdentity, Report, Totals

MODEL = ModelIdentity(name="threshold", version="1", sha256="0" * 64, description="for tests")


def plain_report(
    options: SegmentationOptions,
    *,
    lesion_count: int = 0,
    lesion_volume_ml: float = 0.0,
    brain_volume_ml: float = 1.0,
) -> Report:
    """A report without tables."""
    totals = Totals(
        lesion_count=lesion_count,
        centre_count=lesion_count,
        lesion_volume_ml=lesion_volume_ml,
        lesion_volume_low_ml=0.0,
        lesion_volume_high_ml=lesion_volume_ml,
        brain_volume_ml=brain_volume_ml,
        lesion_load_percent=100 * lesion_volume_ml / brain_volume_ml,
    )
    return Report(
        label=options.label,
        created="2026-01-01T00:00:00Z",
        software_version="0",
        model=MODEL,
        options=options,
        totals=totals,
        locations=(),
        lesions=(),
        quality=(),
    )
