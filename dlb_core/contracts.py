"""What callers, service, workers and the pipeline say to one another.

Nothing here imports numpy or torch: the service lives on these models alone.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)

NUM_NETWORKS = 75
"""Networks in an ensemble: 3 columns x 5 x 5, mirrored onto the other hemisphere."""


class Message(BaseModel):
    """Base of everything that crosses a border: frozen, no unknown fields, no lax types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class InputState(StrEnum):
    """What was done to the images before they reached us (both images alike)."""

    RAW = "raw"
    SKULL_STRIPPED = "skull_stripped"


class Device(StrEnum):
    """Where the networks run."""

    CPU = "cpu"
    CUDA = "cuda"


class JobState(StrEnum):
    """A job's life; the last three are final."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"


FINAL_STATES = frozenset({JobState.SUCCESSFUL, JobState.FAILED, JobState.DISMISSED})


class ComparisonState(StrEnum):
    """A comparison's life; the last two are final."""

    WAITING = "waiting"
    """For the jobs of its visits."""
    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"


ENDED_COMPARISONS = frozenset({ComparisonState.SUCCESSFUL, ComparisonState.FAILED})


class Priority(StrEnum):
    """How soon a job is begun while others wait; none waits for ever."""

    STAT = "stat"
    ROUTINE = "routine"
    RESEARCH = "research"


class Outcome(StrEnum):
    """How an attempt at a job ended."""

    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"
    RELEASED = "released"
    """Its worker was told to stop, and gave the job back."""
    SILENT = "silent"
    """Its worker was no longer heard of."""


class Stage(StrEnum):
    """Stations of the pipeline, in order."""

    QUEUED = "queued"
    READING = "reading"
    DENOISING = "denoising"
    BRAIN_EXTRACTION = "brain_extraction"
    REGISTRATION = "registration"
    BIAS_CORRECTION = "bias_correction"
    NORMALISATION = "normalisation"
    QUALITY_CONTROL = "quality_control"
    INFERENCE = "inference"
    MEASUREMENT = "measurement"
    REPORTING = "reporting"
    DONE = "done"


class Progress(Message):
    """How far a case is: a stage and, where it can be counted, k of n within it."""

    stage: Stage
    done: Annotated[int, Field(ge=0, description="units finished in this stage")] = 0
    total: Annotated[int, Field(ge=1, description="units in this stage")] = 1


ProgressCallback = Callable[[Progress], None]
"""Called at each stage's start and after every network (done of 75)."""

StopCallback = Callable[[], bool]
"""Asked between steps and between networks; True makes the pipeline raise `Cancelled`."""


GIVEN = {"given": True}
"""Context of validating what somebody gives now, not what was kept."""
FIRST_SCANS = date(1977, 1, 1)
"""Nobody was scanned before."""


def _as_written(value: object) -> object:
    """Only what reads as a date is one: no moments, no seconds since 1970."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return value
    if type(value) is date:
        return value
    raise ValueError("not a date: write it as 2026-03-31")


def _plausible(value: date, info: ValidationInfo) -> date:
    if info.context is not GIVEN:
        # What was taken once must stay readable, on a machine whose clock is behind too.
        return value
    # Where it is tomorrow already, a scan of today is no scan of the future.
    if value > datetime.now(UTC).date() + timedelta(days=1):
        raise ValueError(f"{value} lies in the future: give the day of the scan")
    if value < FIRST_SCANS:
        raise ValueError(f"{value} is before the first scans: give the day of the scan")
    return value


ScanDate = Annotated[
    date, Field(strict=False), BeforeValidator(_as_written), AfterValidator(_plausible)
]
"""The day of a scan; JSON carries it as YYYY-MM-DD."""


class SegmentationOptions(Message):
    """What a caller may choose for one case."""

    # JSON carries enums as strings; strictness stays for every other field.
    input_state: Annotated[
        InputState,
        Field(
            strict=False,
            description="raw, or skull_stripped: zero marks all that is not brain, in both images",
        ),
    ] = InputState.RAW
    minimum_lesion_mm3: Annotated[
        float,
        Field(
            ge=0,
            le=1000,
            allow_inf_nan=False,
            description="lesions smaller than this, in mm3 of the patient's own space, are dropped",
        ),
    ] = 3.0
    label: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^[A-Za-z0-9._ -]*$",
            description="free label printed on the report; no patient identifiers, please",
        ),
    ] = ""
    ignore_quality_failures: Annotated[
        bool, Field(description="go on although a quality check failed")
    ] = False
    robustness: Annotated[
        bool,
        Field(
            description="segment the case three more times, blurred, in 3 mm slices and with "
            "weaker contrast, and report how far the volume moves; inference takes four times "
            "as long"
        ),
    ] = False
    scan_date: Annotated[
        ScanDate | None,
        Field(description="day on which the images were acquired, YYYY-MM-DD; printed on reports"),
    ] = None


class ArtefactEntry(Message):
    """One file of a finished job."""

    name: str
    media_type: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: str


class Role(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"
    """See the owner's jobs, fetch their results."""
    SUBMIT = "submit"
    """Submit, cancel and delete them."""
    ADMIN = "admin"
    """All of it, with everybody's jobs."""

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)
