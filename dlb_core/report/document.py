"""The report's published schema: `report.json` is a `Report`, `run.json` a `RunRecord`.

Units are in the names; spaces too (`mni_mm`: ICBM152 world mm, RAS+; `flair_voxel`: index into
the FLAIR file as uploaded).
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from dlb_core.contracts import Message, SegmentationOptions
from dlb_core.report.language import record

RESEARCH_TITLE = "For research use only. "
RESEARCH_USE = RESEARCH_TITLE + record(
    "Not a medical device: not for diagnosis or treatment decisions. "
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


class Location(StrEnum):
    """Where a lesion lies, in the words of the McDonald criteria; order of the rules."""

    INFRATENTORIAL = "infratentorial"
    PERIVENTRICULAR = "periventricular"
    JUXTACORTICAL = "juxtacortical"
    DEEP_WHITE_MATTER = "deep_white_matter"


class Side(StrEnum):
    """The patient's side that a lesion lies on."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


class Confidence(StrEnum):
    """What the networks' agreement on a lesion amounts to, in a word."""

    HIGH = "high"
    MODERATE = "moderate"
    LOW = "low"


class Lesion(Message):
    """One 26-connected lesion on the 1 mm MNI grid; mm are the patient's own unless named MNI."""

    id: Annotated[int, Field(ge=1, description="1 is the largest")]
    volume_mm3: Annotated[float, Field(gt=0, description="in the patient's own space, mm3")]
    mni_volume_mm3: Annotated[float, Field(gt=0, description="on the MNI grid, mm3")]
    largest_diameter_mm: Annotated[
        float, Field(gt=0, description="between the two outermost points, mm")
    ]
    centroid_mni_mm: Point
    centroid_flair_voxel: Point
    centroid_t1w_voxel: Point
    location: Annotated[Location, Field(strict=False)]
    side: Annotated[Side, Field(strict=False)]
    ventricle_distance_mm: Annotated[
        float, Field(ge=0, description="nearest voxel to the nearest lateral ventricle's, mm")
    ]
    cortex_distance_mm: Annotated[
        float, Field(ge=0, description="nearest voxel to the nearest one of cerebral cortex, mm")
    ]
    infratentorial_share: Annotated[
        Share, Field(description="share in brainstem, cerebellum and their surroundings")
    ]
    centres: Annotated[int, Field(ge=1, description="centres within it: more than 1 if confluent")]
    mean_probability: Share
    agreement: Annotated[Share, Field(description="mean of votes / coverage over the lesion")]
    confidence: Annotated[Confidence, Field(strict=False, description="of agreement, in a word")]


class SideTotals(Message):
    """Lesions on one side."""

    lesion_count: Annotated[int, Field(ge=0)]
    lesion_volume_ml: Annotated[float, Field(ge=0)]


class LocationTotals(Message):
    """Lesions of one location class."""

    location: Annotated[Location, Field(strict=False)]
    lesion_count: Annotated[int, Field(ge=0)]
    lesion_volume_ml: Annotated[float, Field(ge=0)]
    left: SideTotals
    right: SideTotals
    midline: SideTotals


class LocationRules(Message):
    """The rules that made the classes, in this order; distances between voxel centres."""

    infratentorial_share: Annotated[
        Share, Field(description="infratentorial: at least this share of it lies there or around")
    ] = 0.5
    periventricular_mm: Annotated[
        float, Field(gt=0, description="periventricular: comes this near a lateral ventricle")
    ] = 3.0
    juxtacortical_mm: Annotated[
        float, Field(gt=0, description="juxtacortical: comes this near the cerebral cortex")
    ] = 2.0
    midline_share: Annotated[
        Share, Field(description="midline: at least this share of it lies on either side")
    ] = 0.25


class IntracranialGap(StrEnum):
    """Why a report has no intracranial volume."""

    SKULL_STRIPPED = "skull_stripped"
    """The input's skull was removed before, and who knows where."""
    FIELD_OF_VIEW = "field_of_view"
    """The T1w cuts the head off."""


class Totals(Message):
    """The case in numbers; volumes are in the patient's own space."""

    lesion_count: Annotated[int, Field(ge=0, description="26-connected components")]
    centre_count: Annotated[
        int, Field(ge=0, description="lesion centres: confluent lesions counted apart")
    ]
    lesion_volume_ml: Annotated[float, Field(ge=0)]
    lesion_volume_low_ml: Annotated[
        float, Field(ge=0, description="what at least three quarters of the networks call lesion")
    ]
    lesion_volume_high_ml: Annotated[
        float, Field(ge=0, description="what at least a quarter of the networks call lesion")
    ]
    brain_volume_ml: Annotated[
        float,
        Field(
            ge=0,
            description="brain mask of the T1w as sent, with the fluid in and around the brain",
        ),
    ]
    intracranial_volume_ml: Annotated[
        float | None,
        Field(
            ge=0,
            description="volume within the skull, estimated: the brain mask's where deepbet drew "
            "it on a whole head (Fisch et al., Computers in Biology and Medicine 179 (2024) "
            "108845); null: not estimated, or before schema 1.3",
        ),
    ] = None
    intracranial_gap: Annotated[
        IntracranialGap | None,
        Field(strict=False, description="why there is no intracranial volume"),
    ] = None
    lesion_load_percent: Annotated[
        float,
        Field(
            ge=0,
            description="lesion / brain mask x 100: of the intracranial volume where there is one",
        ),
    ]


class InputTrait(Message):
    """One number that describes the input, against what is known."""

    name: Annotated[str, Field(description="stable identifier, e.g. flair_sharpness")]
    title: Annotated[str, Field(description="what was measured, in plain words")]
    value: Annotated[float | None, Field(description="null: not measurable")] = None
    unit: str = ""
    low: Annotated[float, Field(description="the known range's lower end")]
    high: Annotated[float, Field(description="the known range's upper end")]
    deviation: Annotated[
        float | None,
        Field(ge=0, description="how far outside the known range, in its widths; 0: inside"),
    ] = None


class InputTrust(Message):
    """How far the input is like what the method was tried on; the networks have no say in it."""

    status: Annotated[
        CheckStatus,
        Field(
            strict=False,
            description="pass: all traits within the known ranges; warn: outside by up to one "
            "width; fail: further, or not measurable",
        ),
    ]
    deviation: Annotated[
        float | None, Field(ge=0, description="the largest of the traits'; null: not measurable")
    ] = None
    traits: tuple[InputTrait, ...]
    reference: Annotated[str, Field(description="what the known ranges were taken from")]


class AlteredRun(Message):
    """The case segmented once more, from images altered a little."""

    name: Annotated[str, Field(description="stable identifier, e.g. blur")]
    title: Annotated[str, Field(description="what was done to both images, in plain words")]
    lesion_count: Annotated[int, Field(ge=0)]
    lesion_volume_ml: Annotated[float, Field(ge=0)]
    overlap_dice: Annotated[
        Share, Field(description="Dice of its mask and the case's own; 1 where both are empty")
    ]


class Robustness(Message):
    """How the volume moves when the images are a little worse; asked for by an option."""

    lesion_volume_low_ml: Annotated[float, Field(ge=0, description="smallest of all runs")]
    lesion_volume_high_ml: Annotated[float, Field(ge=0, description="largest of all runs")]
    runs: Annotated[tuple[AlteredRun, ...], Field(description="without the case's own run")]


class Correction(Message):
    """A reader's edit of the lesion mask, as which these measures were made anew."""

    version: Annotated[int, Field(ge=2, description="the networks' own result is version 1")]
    created: Annotated[str, Field(description="UTC, ISO 8601")]
    author: Annotated[str, Field(max_length=64, description="as given: who edited the mask")] = ""
    note: Annotated[str, Field(max_length=500)] = ""
    space: Annotated[
        Literal["T1w", "FLAIR", "MNI152"], Field(description="whose grid the mask was drawn on")
    ]
    mask_sha256: Annotated[str, Field(description="of the mask's file as uploaded")]
    added_ml: Annotated[float, Field(ge=0, description="marked now, and not in the version before")]
    removed_ml: Annotated[float, Field(ge=0, description="no longer marked")]
    lesion_count_before: Annotated[int, Field(ge=0)]
    lesion_volume_before_ml: Annotated[float, Field(ge=0)]


class ModelIdentity(Message):
    """Which weights made this result."""

    name: str
    version: str
    sha256: Annotated[str, Field(description="digest of the bundle's manifest")]
    description: str


class Report(Message):
    """Everything measured on one case."""

    schema_version: Annotated[
        Literal["1.1", "1.2", "1.3"],
        Field(
            description="1.2 has what 1.1 has, and input_trust, robustness, corrections; 1.3 has "
            "totals.intracranial_volume_ml"
        ),
    ] = "1.3"
    label: str
    created: Annotated[str, Field(description="UTC, ISO 8601")]
    software_version: str
    model: ModelIdentity
    options: SegmentationOptions
    connectivity: Literal[26] = 26
    totals: Totals
    locations: Annotated[
        tuple[LocationTotals, ...], Field(description="all four classes, empty ones too")
    ]
    location_rules: LocationRules = LocationRules()
    lesions: tuple[Lesion, ...]
    quality: tuple[QualityCheck, ...]
    input_trust: Annotated[InputTrust | None, Field(description="null before schema 1.2")] = None
    robustness: Annotated[Robustness | None, Field(description="null unless asked for")] = None
    corrections: Annotated[
        tuple[Correction, ...],
        Field(description="edits by hand that led here, oldest first; none: the networks' own"),
    ] = ()
    research_use: str = RESEARCH_USE

    @property
    def scan_date(self) -> date | None:
        """The day of the scan, if it is known."""
        return self.options.scan_date

    @property
    def version(self) -> int:
        """1: the networks' own result."""
        return self.corrections[-1].version if self.corrections else 1


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
    convincing_share: Annotated[
        Share | None,
        Field(
            description="share of the networks that each lesion convinced in one voxel at least; "
            "null: made before there was such a rule"
        ),
    ] = None
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
