"""Documents of the HTTP API: what the service answers and the client reads.

Everything is JSON with fixed fields; links are paths below the service's own address, so they
hold behind any proxy.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field

from dlb_core.contracts import (
    ArtefactEntry,
    JobState,
    Message,
    Outcome,
    Priority,
    Progress,
    SegmentationOptions,
    Stage,
)
from dlb_core.report.document import Correction, Report, Totals

API = "/v1"
"""Every path but the health checks' lies below this."""
MAX_CASES = 10_000
"""Cases of one batch."""

STAGE_SHARES = {
    Stage.QUEUED: 0.0,
    Stage.READING: 0.01,
    Stage.DENOISING: 0.06,
    Stage.BRAIN_EXTRACTION: 0.09,
    Stage.REGISTRATION: 0.08,
    Stage.BIAS_CORRECTION: 0.09,
    Stage.NORMALISATION: 0.07,
    Stage.QUALITY_CONTROL: 0.01,
    Stage.INFERENCE: 0.53,
    Stage.MEASUREMENT: 0.02,
    Stage.REPORTING: 0.04,
    Stage.DONE: 0.0,
}
"""Rough share of a case's time on a CPU; only for the overall progress bar. Sums to 1."""


def overall_fraction(progress: Progress) -> float:
    """Estimate how much of the whole case is done, in [0, 1]; it never falls as stages pass."""
    stages = list(Stage)
    if progress.stage is Stage.DONE:
        return 1.0
    before = sum(STAGE_SHARES[stage] for stage in stages[: stages.index(progress.stage)])
    within = min(progress.done / progress.total, 1.0)
    return round(min(before + STAGE_SHARES[progress.stage] * within, 1.0), 4)


class ProgressDocument(Message):
    """How far a job is."""

    stage: Annotated[Stage, Field(strict=False)]
    done: Annotated[int, Field(ge=0, description="units finished in this stage")]
    total: Annotated[int, Field(ge=1, description="units in this stage: 75 networks in inference")]
    fraction: Annotated[float, Field(ge=0, le=1, description="estimate over all stages")]

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """Add the overall estimate to a stage's own count."""
        return cls(
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            fraction=overall_fraction(progress),
        )


class JobFailure(Message):
    """Why a job failed."""

    code: Annotated[str, Field(description="stable identifier, e.g. quality-failed")]
    message: Annotated[str, Field(description="what happened and what to do")]


class AttemptDocument(Message):
    """One time that a worker began a job; times are UTC."""

    started: datetime
    ended: Annotated[datetime | None, Field(description="null while it goes on")] = None
    outcome: Annotated[
        Outcome | None,
        Field(
            strict=False,
            description="released: its worker was stopped in an orderly way; silent: its worker "
            "was no longer heard of",
        ),
    ] = None
    stage: Annotated[Stage, Field(strict=False, description="the last one it was in")]
    stage_seconds: Annotated[
        dict[str, float], Field(description="stage -> seconds spent in it, as last noted")
    ]
    error: Annotated[JobFailure | None, Field(description="why it failed, if it did")] = None


class JobLinks(Message):
    """Where to go from a job."""

    job: str
    events: Annotated[str, Field(description="stream of the job's changes")]
    results: Annotated[str | None, Field(description="once the job is successful")] = None
    report: Annotated[str | None, Field(description="report.html, once successful")] = None
    corrections: Annotated[
        str | None, Field(description="POST an edited mask here, once the job is successful")
    ] = None
    retry: Annotated[str | None, Field(description="POST here to try again, while possible")] = None


class JobDocument(Message):
    """A job as it stands; times are UTC."""

    id: UUID
    state: Annotated[JobState, Field(strict=False)]
    stage: Annotated[Stage, Field(strict=False)]
    progress: ProgressDocument
    created: datetime
    updated: Annotated[datetime, Field(description="last change that this document shows")]
    started: Annotated[datetime | None, Field(description="start of the last attempt")] = None
    finished: datetime | None = None
    attempts: Annotated[
        int,
        Field(ge=0, description="attempts since it was submitted or retried, released ones apart"),
    ]
    attempt_log: Annotated[
        tuple[AttemptDocument, ...], Field(description="every attempt, oldest first")
    ] = ()
    heartbeat: Annotated[
        datetime | None,
        Field(description="when its worker was last heard of; the ETag takes no notice of it"),
    ] = None
    priority: Annotated[Priority, Field(strict=False)]
    expired: Annotated[
        datetime | None, Field(description="when its results were removed: their time was over")
    ] = None
    cancel_requested: bool
    options: SegmentationOptions
    inputs: Annotated[
        dict[str, str],
        Field(
            description="T1w and FLAIR, or study -> SHA-256 of the file as uploaded; of a study "
            "that was fetched from an archive, of the archive's name and the study's UID"
        ),
    ]
    error: Annotated[JobFailure | None, Field(description="only of a failed job")] = None
    totals: Annotated[Totals | None, Field(description="only of a successful job")] = None
    links: JobLinks


NextPage = Annotated[str | None, Field(description="path of the next page; null on the last")]


class JobPage(Message):
    """One page of jobs, newest first."""

    jobs: tuple[JobDocument, ...]
    next: NextPage


Pseudonym = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=64,
        description="letters, digits, . _ -; no patient identifiers, please",
    ),
]


class BatchCaseRequest(Message):
    """One case of a manifest: a job, and whose it is."""

    subject: Pseudonym
    session: Annotated[
        str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]*$", description="which visit")
    ] = ""
    job: Annotated[UUID, Field(strict=False, description="one that was submitted before")]


class BatchRequest(Message):
    """A manifest: jobs that belong together."""

    name: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._ -]*$")] = ""
    # JSON carries tuples as lists.
    cases: Annotated[
        tuple[BatchCaseRequest, ...], Field(strict=False, min_length=1, max_length=MAX_CASES)
    ]


class BatchCaseDocument(Message):
    """One case of a batch, as it stands."""

    subject: str
    session: str
    job: UUID
    state: Annotated[
        JobState | None, Field(strict=False, description="null: the job was deleted")
    ] = None
    error: JobFailure | None = None
    href: str


class BatchSummary(Message):
    """A batch, without its cases."""

    id: UUID
    name: str
    created: datetime
    total: Annotated[int, Field(ge=1, description="cases")]
    counts: Annotated[
        dict[str, int], Field(description="state, or `deleted` -> cases; none is left out")
    ]
    ended: Annotated[bool, Field(description="no job waits or runs any more")]
    href: str
    cohort: Annotated[str, Field(description="path of the table of all cases, CSV")]


class BatchDocument(BatchSummary):
    """A batch as it stands."""

    cases: tuple[BatchCaseDocument, ...]


class BatchPage(Message):
    """One page of batches, newest first."""

    batches: tuple[BatchSummary, ...]
    next: NextPage


class WebhookEvent(StrEnum):
    """What webhooks are told."""

    SUCCESSFUL = "job.successful"
    FAILED = "job.failed"
    DISMISSED = "job.dismissed"
    COMPARISON_SUCCESSFUL = "comparison.successful"
    COMPARISON_FAILED = "comparison.failed"
    TEST = "webhook.test"
    """Only when asked for."""


class MessageState(StrEnum):
    """Whether a webhook's message was heard."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up; it can be replayed."""


ChosenEvent = Annotated[
    Literal[
        "job.successful",
        "job.failed",
        "job.dismissed",
        "comparison.successful",
        "comparison.failed",
    ],
    Field(description="an event"),
]


class WebhookRequest(Message):
    """An address to be told of jobs' and comparisons' ends."""

    url: Annotated[
        str,
        Field(
            max_length=2000,
            description="https; of a public host, or of a network that the operator has named",
        ),
    ]
    events: Annotated[
        tuple[ChosenEvent, ...],
        Field(
            strict=False,
            min_length=1,
            description="which ends; those of comparisons are told to whoever names them",
        ),
    ] = ("job.successful", "job.failed", "job.dismissed")


class WebhookDocument(Message):
    """A webhook, without its secrets."""

    id: UUID
    url: str
    events: tuple[str, ...]
    created: datetime
    disabled: Annotated[
        str | None, Field(description="why nothing is sent to it; `gone`: it answered 410")
    ] = None
    live_secrets: Annotated[
        int, Field(description="that sign now: 2 for a day after the secret was renewed")
    ]
    href: str
    messages: Annotated[str, Field(description="path of its delivery log")]


class WebhookWithSecret(WebhookDocument):
    """A webhook, and its secret, shown this once."""

    secret: str


class WebhookList(Message):
    """Webhooks, oldest first."""

    webhooks: tuple[WebhookDocument, ...]


class MessageAttempt(Message):
    """One time that a message was sent."""

    at: datetime
    duration_s: float
    status: Annotated[int | None, Field(description="of the answer, if there was one")] = None
    error: Annotated[str | None, Field(description="why there was none")] = None


class MessageDocument(Message):
    """A message to a webhook."""

    id: Annotated[str, Field(description="the header `webhook-id` of every attempt")]
    event: str
    job: UUID | None
    comparison: Annotated[UUID | None, Field(description="what it is about, if no job")] = None
    state: Annotated[MessageState, Field(strict=False)]
    attempts: Annotated[int, Field(ge=0, description="since it was made or replayed")]
    created: datetime
    next_try: datetime | None
    log: Annotated[tuple[MessageAttempt, ...], Field(description="the last attempts, oldest first")]
    replay: Annotated[str, Field(description="POST here to send it again")]


class MessageList(Message):
    """A webhook's delivery log, newest first."""

    messages: tuple[MessageDocument, ...]


class ArtefactDocument(ArtefactEntry):
    """One file of a finished job, and where to fetch it."""

    href: str


class VersionLinks(Message):
    """Where to go from a version."""

    results: str
    report: Annotated[str, Field(description="report.html")]
    view: Annotated[str, Field(description="the viewer's page")]


class VersionDocument(Message):
    """One version of a job's results: the networks' own is 1, a reader's are those after it."""

    version: Annotated[int, Field(ge=1)]
    totals: Totals
    correction: Annotated[
        Correction | None, Field(description="who edited the mask, when and what; null: nobody")
    ] = None
    links: VersionLinks


class VersionList(Message):
    """All versions of a job's results, oldest first."""

    versions: tuple[VersionDocument, ...]


class ResultsDocument(Message):
    """A successful job's report and files, of one version."""

    id: UUID
    version: Annotated[int, Field(ge=1, description="1: the networks' own result")] = 1
    versions: Annotated[
        tuple[VersionDocument, ...], Field(description="all there are, oldest first")
    ] = ()
    report: Report
    artefacts: tuple[ArtefactDocument, ...]


class ModelSummary(Message):
    """A bundle of weights that jobs can use."""

    id: str
    name: str
    version: str
    description: str
    sha256: Annotated[str, Field(description="digest of the bundle's manifest")]
    href: str


class ModelDocument(ModelSummary):
    """A bundle of weights, with its manifest and its card."""

    manifest: Annotated[dict[str, Any], Field(description="the bundle's manifest as it is")]
    card: Annotated[str, Field(description="the model card, Markdown")]


class ModelList(Message):
    """The installed bundles; the first one serves all jobs."""

    models: tuple[ModelSummary, ...]


class Health(StrEnum):
    """Of one check, and of the whole: the worst of its checks."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


class HealthCheck(Message):
    """One thing that the service needs."""

    name: str
    status: Annotated[Health, Field(strict=False)]
    detail: str


class HealthDocument(Message):
    """Whether the service can do its work, check by check."""

    status: Annotated[Health, Field(strict=False)]
    checks: tuple[HealthCheck, ...] = ()


class FieldProblem(Message):
    """What is wrong with one field of a request."""

    field: Annotated[str, Field(description="dotted path, e.g. options.minimum_lesion_mm3")]
    message: str


class Problem(Message):
    """An error, as RFC 9457 application/problem+json."""

    type: Annotated[str, Field(description="URI of the kind of problem; ends in the code")]
    title: Annotated[str, Field(description="the kind of problem, in words")]
    status: Annotated[int, Field(ge=400, le=599)]
    code: Annotated[str, Field(description="stable identifier to act on")]
    detail: Annotated[str, Field(description="what happened and what to do")]
    errors: Annotated[
        tuple[FieldProblem, ...], Field(description="the fields at fault, if they can be named")
    ] = ()
