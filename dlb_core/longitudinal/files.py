"""Names of a comparison's files."""

from pathlib import Path

COMPARISON_JSON = "comparison.json"
COMPARISON_HTML = "comparison.html"
COMPARISON_PDF = "comparison.pdf"
CHANGE_TABLE = "lesions-change.csv"
CHANGE_MASK = "space-halfway_desc-change_dseg.nii.gz"
GROUPS = "space-halfway_desc-lesions_dseg.nii.gz"
FLAIRS = ("space-halfway_desc-first_FLAIR.nii.gz", "space-halfway_desc-second_FLAIR.nii.gz")
DIFFERENCE = "space-halfway_desc-difference_FLAIR.nii.gz"
CHANGE_MASKS_NATIVE = (
    "space-FLAIRfirst_desc-change_dseg.nii.gz",
    "space-FLAIRsecond_desc-change_dseg.nii.gz",
)

ALL = (
    COMPARISON_JSON,
    COMPARISON_HTML,
    COMPARISON_PDF,
    CHANGE_TABLE,
    CHANGE_MASK,
    *CHANGE_MASKS_NATIVE,
    GROUPS,
    *FLAIRS,
    DIFFERENCE,
)
"""What a finished comparison has."""


def clear_comparison(folder: Path) -> None:
    """Make the folder, or empty it of an earlier comparison, so that two never mix."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ALL:
        (folder / name).unlink(missing_ok=True)
