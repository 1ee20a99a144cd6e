"""The report's published schema: `report.json` is a `Report`, `run.json` a `RunRecord`.

Units are in the names; spaces too (`mni_mm`: ICBM152 world mm, RAS+; `flair_voxel`: index into
the FLAIR file as uploaded).
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from dlb_core.contracts import Message, SegmentationOptions

RESEARCH_USE = (
    "For research use only. Not a medical device: not for diagnosis or treatment decisions. "
    "Every result needs review by a qualified reader."
)

Point = tuple[float, float, float]
Share = Annotated[float, Field(ge=0, le=1)]


class CheckStatus(StrEnum):
    """Outcome of one quality check."""

    PASS = "pass"  # noqa: S105  # an outcome, not a password
    WARN = "warn"
    FAIL = "fail"


class QualityCheck(Message):
    """One check of the input or of a step, with what was measured and against what."""

    name: Annotated[str, Field(description="stable identifier, e.g. registration_dice")]
    title: Annotated[str, Field(description="what was checked, in plain words")]
    status: Annotated[CheckStatus, Field(strict=False)]
    value: Annotated[float | None, Field(description="what was measured")] = None
    unit: str = ""
    threshold: Annotated[str, Field(description="what is asked for, e.g. '>= 0.90 (fail < 0.80)'")]
    message: Annotated[str, Field(description="what it means and what to do")] = ""


class Lesion(Message):
    """One 26-connected lesion on the 1 mm MNI grid."""

    id: Annotated[int, Field(ge=1, description="1 is the largest")]
    volume_mm3: Annotated[float, Field(gt=0, description="in the patient's own space, mm3")]
    mni_volume_mm3: Annotated[float, Field(gt=0, description="on the MNI grid, mm3")]
    centroid_mni_mm: Point
    centroid_flair_voxel: Point
    centroid_t1w_voxel: Point
    mean_probability: Share
    agreement: Annotated[Share, Field(description="mean of votes / coverage over the lesion")]


class Totals(Message):
    """The case in numbers; volumes are in the patient's own space."""

    lesion_count: Annotated[int, Field(ge=0)]
    lesion_volume_ml: Annotated[float, Field(ge=0)]
    brain_volume_ml: Annotated[float, Field(ge=0)]
    lesion_load_percent: Annotated[float, Field(ge=0, description="lesion / brain volume x 100")]


class ModelIdentity(Message):
    """Which weights made this result."""

    name: str
    version: str
    sha256: Annotated[str, Field(description="digest of the bundle's manifest")]
    description: str


class Report(Message):
    """Everything measured on one case."""

    schema_version: Literal["1.0"] = "1.0"
    label: str
    created: Annotated[str, Field(description="UTC, ISO 8601")]
    software_version: str
    model: ModelIdentity
    options: SegmentationOptions
    connectivity: Literal[26] = 26
    totals: Totals
    lesions: tuple[Lesion, ...]
    quality: tuple[QualityCheck, ...]
    research_use: str = RESEARCH_USE


class InputRecord(Message):
    """One input file, by content: no name, no path."""

    role: Literal["T1w", "FLAIR"]
    sha256: str
    shape: tuple[int, int, int]
    voxel_sizes_mm: Point
    orientation: Annotated[str, Field(description="axis codes, e.g. LPS")]


class RunRecord(Message):
    """How the result came about: enough to repeat it."""

    schema_version: Literal["1.0"] = "1.0"
    created: str
    software_version: str
    inputs: tuple[InputRecord, InputRecord]
    model: ModelIdentity
    options: SegmentationOptions
    vote_threshold: Share
    tie_rule: str
    device: str
    num_threads: Annotated[int, Field(ge=1)]
    library_versions: dict[str, str]
    t1w_to_mni: Annotated[
        list[list[float]], Field(description="(4, 4), T1w world mm -> MNI world mm")
    ]
    flair_to_t1w: Annotated[
        list[list[float]], Field(description="(4, 4), FLAIR world mm -> T1w world mm")
    ]
    networks_run: int
    networks_skipped: int
    stage_wall_s: dict[str, float]
    stage_cpu_s: dict[str, float]
    peak_memory_mb: float
    research_use: str = RESEARCH_USE
