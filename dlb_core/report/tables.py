"""The lesion table as CSV, for spreadsheets and statistics."""

import csv
from io import StringIO

from dlb_core.report.document import Lesion

COLUMNS = (
    "id",
    "volume_mm3",
    "mni_volume_mm3",
    "largest_diameter_mm",
    "location",
    "side",
    "ventricle_distance_mm",
    "cortex_distance_mm",
    "infratentorial_share",
    "centres",
    "mni_x_mm",
    "mni_y_mm",
    "mni_z_mm",
    "flair_i",
    "flair_j",
    "flair_k",
    "t1w_i",
    "t1w_j",
    "t1w_k",
    "mean_probability",
    "agreement",
    "confidence",
)


def lesion_csv(lesions: tuple[Lesion, ...]) -> str:
    """One row a lesion, the largest first, under a row of names; RFC 4180.

    Parameters
    ----------
    lesions : tuple of Lesion

    Returns
    -------
    str
        Only the row of names where there is no lesion.
    """
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(_row(lesion) for lesion in lesions)
    return text.getvalue()


def _row(lesion: Lesion) -> tuple[int | float | str, ...]:
    return (
        lesion.id,
        round(lesion.volume_mm3, 3),
        round(lesion.mni_volume_mm3, 3),
        round(lesion.largest_diameter_mm, 2),
        lesion.location.value,
        lesion.side.value,
        lesion.ventricle_distance_mm,
        lesion.cortex_distance_mm,
        round(lesion.infratentorial_share, 4),
        lesion.centres,
        *lesion.centroid_mni_mm,
        *lesion.centroid_flair_voxel,
        *lesion.centroid_t1w_voxel,
        round(lesion.mean_probability, 4),
        round(lesion.agreement, 4),
        lesion.confidence.value,
    )
