"""The comparison's published schema: `comparison.json` is a `Comparison`.

Units are in the names. Volumes are the patient's own mm3, measured on the half-way grid, which no
transform stretches. `first` and `second` are the two visits, in the order they were given.
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from dlb_core.contracts import Message
from dlb_core.report.document import (
    RESEARCH_USE,
    Location,
    ModelIdentity,
    Point,
    QualityCheck,
    Side,
)

Matrix = Annotated[list[list[float]], Field(description="(4, 4), world mm -> world mm, RAS+")]


class ChangeStatus(StrEnum):
    """What became of a lesion."""

    NEW = "new"
    ENLARGING = "enlarging"
    STABLE = "stable"
    SHRINKING = "shrinking"
    RESOLVED = "resolved"
    MERGED = "merged"
    SPLIT = "split"
    UNCONFIRMED = "unconfirmed"
    """There at one visit only, but smaller than what noise can make."""


class ComparedVisit(Message):
    """One of the two results that were compared, as its own report has it."""

    label: str
    created: Annotated[str, Field(description="when its report was made: UTC, ISO 8601")]
    scan_date: Annotated[
        date | None, Field(strict=False, description="day of the scan; null: not given")
    ] = None
    model: ModelIdentity
    flair_sha256: str
    flair_voxel_mm: Point
    lesion_count: Annotated[int, Field(ge=0, description="by this visit alone")]
    lesion_volume_ml: Annotated[float, Field(ge=0, description="by this visit alone")]
    joint_lesion_volume_ml: Annotated[
        float, Field(ge=0, description="decided together with the other visit")
    ]
    seen_once_count: Annotated[
        int,
        Field(ge=0, description="its lesions that the joint result has at neither visit"),
    ]
    flair_to_halfway: Matrix


class LesionChange(Message):
    """One lesion, or a group that merged or split, at both visits."""

    id: Annotated[int, Field(ge=1, description="the value in the group image; 1 changed most")]
    status: Annotated[ChangeStatus, Field(strict=False)]
    volume_first_mm3: Annotated[float, Field(ge=0)]
    volume_second_mm3: Annotated[float, Field(ge=0)]
    change_mm3: Annotated[float, Field(description="second minus first")]
    change_low_mm3: Annotated[
        float, Field(description="least change at a quarter, half or three quarters of the votes")
    ]
    change_high_mm3: Annotated[float, Field(description="greatest change at the same three")]
    smallest_detectable_mm3: Annotated[
        float, Field(ge=0, description="changes up to this are not told from noise")
    ]
    gained_mm3: Annotated[float, Field(ge=0, description="lesion at the second visit only")]
    lost_mm3: Annotated[float, Field(ge=0, description="lesion at the first visit only")]
    flair_change: Annotated[
        float | None,
        Field(description="mean FLAIR difference where it was gained or lost, white matter = 1"),
    ]
    parts_first: Annotated[int, Field(ge=0, description="lesions of the group at the first visit")]
    parts_second: Annotated[int, Field(ge=0)]
    lesions_first: Annotated[
        tuple[int, ...], Field(description="numbers in the first visit's report that it overlaps")
    ]
    lesions_second: tuple[int, ...]
    location: Annotated[Location | None, Field(strict=False, description="of the largest overlap")]
    side: Annotated[Side | None, Field(strict=False)]
    centroid_halfway_mm: Point
    centroid_first_flair_voxel: Point
    centroid_second_flair_voxel: Point


class ChangeTotals(Message):
    """The comparison in numbers."""

    new: Annotated[int, Field(ge=0)]
    enlarging: Annotated[int, Field(ge=0)]
    stable: Annotated[int, Field(ge=0)]
    shrinking: Annotated[int, Field(ge=0)]
    resolved: Annotated[int, Field(ge=0)]
    merged: Annotated[int, Field(ge=0)]
    split: Annotated[int, Field(ge=0)]
    unconfirmed: Annotated[int, Field(ge=0)]
    gained_ml: Annotated[float, Field(ge=0, description="in lesions whose change counts")]
    lost_ml: Annotated[float, Field(ge=0, description="in lesions whose change counts")]
    change_ml: Annotated[float, Field(description="joint volumes, second minus first")]
    smallest_detectable_ml: Annotated[
        float, Field(ge=0, description="for the change of the whole volume")
    ]


class ChangeRules(Message):
    """What decided, so that a reader can repeat it."""

    certain_z: float
    doubtful_z: float
    certain_contrast: float
    doubtful_contrast: float
    overlap: float
    minimum_lesion_mm3: float
    limit_floor_mm3: float
    limit_per_surface: Annotated[
        float, Field(description="smallest change in mm3 = floor or this x volume^(2/3)")
    ]
    limits_of_model_sha256: Annotated[
        str, Field(description="the bundle whose repeated scans the limits were measured on")
    ]


class Comparison(Message):
    """Everything measured on two visits."""

    schema_version: Literal["1.0"] = "1.0"
    label: str
    created: Annotated[str, Field(description="UTC, ISO 8601")]
    software_version: str
    first: ComparedVisit
    second: ComparedVisit
    interval_days: Annotated[
        int | None,
        Field(description="from the first scan to the second; null: a date was not given"),
    ] = None
    registration_disagreement_mm: Annotated[float, Field(ge=0)]
    flair_noise: Annotated[
        float, Field(ge=0, description="of the smoothed difference, white matter = 1")
    ]
    totals: ChangeTotals
    lesions: tuple[LesionChange, ...]
    quality: tuple[QualityCheck, ...]
    rules: ChangeRules
    research_use: str = RESEARCH_USE
