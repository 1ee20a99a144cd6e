"""What a worker and the process that runs its case say to each other: JSON lines on pipes.

The case gets one `CaseRequest` on stdin. Another line asks it to stop between two steps, and the
end of stdin means "stop at once". It answers on a pipe of its own (libraries print to stdout) with
`Progress` lines and one outcome.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from dlb_core.contracts import Device, Message, Progress, SegmentationOptions, Stage


class CaseRequest(Message):
    """All that the pipeline needs to know of one case."""

    t1w: Annotated[Path, Field(strict=False)]
    flair: Annotated[Path, Field(strict=False)]
    output: Annotated[Path, Field(strict=False)]
    bundle: Annotated[Path, Field(strict=False)]
    votes: Annotated[Path, Field(strict=False)]
    """Where the case keeps the networks' votes on its way."""
    dicom: Annotated[Path | None, Field(strict=False)] = None
    """What is kept of the FLAIR series, where results are wanted as DICOM too."""
    options: SegmentationOptions
    device: Annotated[Device, Field(strict=False)]
    threads: int | None
    memory_mb: int | None
    """Most that the case may hold; more is refused to it."""
    pipeline: str
    job_id: str = ""
    """Stands on every line that the case logs."""
    trace: str | None = None
    """W3C traceparent of the attempt."""


class Advanced(Message):
    """The pipeline has come this far."""

    kind: Literal["advanced"] = "advanced"
    stage: Annotated[Stage, Field(strict=False)]
    done: int
    total: int

    @property
    def progress(self) -> Progress:
        """As the job store takes it."""
        return Progress(stage=self.stage, done=self.done, total=self.total)


class Succeeded(Message):
    """Every artefact lies in the output folder."""

    kind: Literal["succeeded"] = "succeeded"
    totals: dict[str, Any]


class Failed(Message):
    """The pipeline raised."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str
    transient: bool
    """Another try might go well."""
    input_at_fault: bool = False
    """No try can go well with these images."""


Event = Annotated[Advanced | Succeeded | Failed, Field(discriminator="kind")]
EVENT: TypeAdapter[Advanced | Succeeded | Failed] = TypeAdapter(Event)
