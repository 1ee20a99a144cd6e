"""All that the worker takes from its surroundings, read once, at start."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dlb_core.bundled import default_bundle
from dlb_core.contracts import Device, Stage
from dlb_core.environment import read_settings
from dlb_core.errors import BadOption
from dlb_core.jobs.bucket import PATTERN as BUCKET
from dlb_core.jobs.bucket import check_endpoint
from dlb_core.jobs.bucket_folder import open_folder
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.store import MAX_ATTEMPTS
from dlb_core.jobs.tracing import PATTERN
from worker.stages import Limits, parse_limits

PositiveSeconds = Annotated[float, Field(gt=0)]


def _limits(given: Any) -> Any:
    """Read the limits that stand in a variable."""
    if not isinstance(given, str):
        return given
    try:
        return parse_limits(given)
    except BadOption as error:
        raise ValueError(str(error)) from error


class WorkerSettings(BaseModel):
    """Where the worker finds its work, and the limits it works within."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    """Folder shared with the service, if there is no bucket."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    database_url: str | None = None
    """SQLAlchemy URL; None: SQLite in the data folder."""
    bucket: Annotated[str, Field(pattern=BUCKET)] | None = None
    """Where jobs' files are kept, `s3://name/prefix`; None: in the data folder."""
    bucket_patience_s: Annotated[float, Field(ge=0)] = 600.0
    """How long an attempt waits for a bucket that does not answer."""
    weights: Path = Field(default_factory=default_bundle)
    device: Device = Device.CPU
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of one case; None: the pipeline decides."""
    lease_s: PositiveSeconds = 30.0
    """A worker silent for so long has lost its job."""
    heartbeat_s: PositiveSeconds = 5.0
    """Pause between renewals of the lease."""
    poll_s: PositiveSeconds = 1.0
    """Pause between looks at the cancel flag."""
    progress_s: PositiveSeconds = 0.5
    """Shortest pause between two notes of progress within one stage."""
    time_limit_s: PositiveSeconds = 7200.0
    """A case that takes longer fails."""
    stage_soft_s: PositiveSeconds = 3600.0
    """A case that stays longer in one stage is asked to stop, and tried again."""
    stage_hard_s: PositiveSeconds = 4500.0
    """A case that stays longer in one stage is ended, and tried again."""
    stage_limits: Annotated[dict[Stage, Limits], BeforeValidator(_limits)] = Field(
        default_factory=dict
    )
    """Limits of single stages in place of these, e.g. `registration=600:700`."""
    retry_pause_s: Annotated[float, Field(ge=0)] = 30.0
    """Pause between an attempt that failed and the next."""
    memory_mb: Annotated[int, Field(ge=256)] | None = None
    """MiB that a case may hold; None: as much as there is."""
    keep_inputs: bool = False
    """Whether a successful job's images are kept as long as its results."""
    max_attempts: Annotated[int, Field(ge=1)] = MAX_ATTEMPTS
    pipeline: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] = "dlb_core.pipeline:segment_case"
    """`module:function` that segments one case."""

    traces: Annotated[str, Field(pattern=PATTERN)] = ""
    """Where spans go: `otlp`, or `file:PATH`; empty: nowhere."""

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Self:
        if self.lease_s < 2 * self.heartbeat_s:
            raise ValueError("lease_s must be at least twice heartbeat_s")
        if self.stage_soft_s > self.stage_hard_s:
            raise ValueError("stage_soft_s must not be above stage_hard_s")
        return self

    @property
    def any_stage(self) -> Limits:
        """Limits of a stage that has none of its own."""
        return Limits(self.stage_soft_s, self.stage_hard_s)

    @cached_property
    def folder(self) -> DataFolder:
        """The data folder's places, with the bucket behind it where there is one."""
        return open_folder(self.data, self.bucket)

    @property
    def store_url(self) -> str:
        """URL of the job store."""
        return self.database_url or self.folder.database_url

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables DLB_<FIELD>, e.g. DLB_DATA; empty ones count as not set.

        Raises
        ------
        BadOption
            DLB_DATA is missing, or a value cannot be used; the variable is named.
        """
        settings = read_settings(cls, environ)
        if settings.bucket is not None:
            check_endpoint(environ)
        return settings
