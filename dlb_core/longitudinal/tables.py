"""The table of changes as CSV, for spreadsheets and statistics."""

import csv
from io import StringIO

from dlb_core.longitudinal.document import LesionChange

COLUMNS = (
    "id",
    "status",
    "volume_first_mm3",
    "volume_second_mm3",
    "change_mm3",
    "change_low_mm3",
    "change_high_mm3",
    "smallest_detectable_mm3",
    "gained_mm3",
    "lost_mm3",
    "flair_change",
    "parts_first",
    "parts_second",
    "lesions_first",
    "lesions_second",
    "location",
    "side",
    "halfway_x_mm",
    "halfway_y_mm",
    "halfway_z_mm",
    "flair_first_i",
    "flair_first_j",
    "flair_first_k",
    "flair_second_i",
    "flair_second_j",
    "flair_second_k",
)


def change_csv(lesions: tuple[LesionChange, ...]) -> str:
    """One row a lesion under a row of names; RFC 4180. Numbers of lesions are parted by spaces."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(_row(lesion) for lesion in lesions)
    return text.getvalue()


def _row(lesion: LesionChange) -> tuple[int | float | str, ...]:
    return (
        lesion.id,
        lesion.status.value,
        round(lesion.volume_first_mm3, 3),
        round(lesion.volume_second_mm3, 3),
        round(lesion.change_mm3, 3),
        round(lesion.change_low_mm3, 3),
        round(lesion.change_high_mm3, 3),
        round(lesion.smallest_detectable_mm3, 3),
        round(lesion.gained_mm3, 3),
        round(lesion.lost_mm3, 3),
        "" if lesion.flair_change is None else lesion.flair_change,
        lesion.parts_first,
        lesion.parts_second,
        " ".join(str(n) for n in lesion.lesions_first),
        " ".join(str(n) for n in lesion.lesions_second),
        "" if lesion.location is None else lesion.location.value,
        "" if lesion.side is None else lesion.side.value,
        *lesion.centroid_halfway_mm,
        *lesion.centroid_first_flair_voxel,
        *lesion.centroid_second_flair_voxel,
    )
