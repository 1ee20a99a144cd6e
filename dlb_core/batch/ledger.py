"""What a batch has done so far, kept beside its results: a killed run is gone on with.

batch.json    the batch's own id and the service's address, written once
jobs.jsonl    one line for each case that the service has accepted, in that order
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

from pydantic import ValidationError

from dlb_core.artefacts import sync_folder, write_text
from dlb_core.contracts import Message, SegmentationOptions
from dlb_core.errors import BadOption

HEAD, LINES = "batch.json", "jobs.jsonl"


class Head(Message):
    """What does not change from run to run."""

    id: str
    """Random: makes the idempotency keys of all that is sent."""
    url: str
    options: SegmentationOptions


@dataclass(slots=True)
class Ledger:
    """Which case is which job."""

    folder: Path
    head: Head
    jobs: dict[str, UUID] = field(default_factory=dict)
    """Name of a case -> its job."""

    @classmethod
    def open(cls, folder: Path, *, url: str, options: SegmentationOptions) -> Self:
        """Go on with the folder's batch, or begin one.

        Raises
        ------
        BadOption
            The folder's batch was sent to another service, or with other options.
        """
        folder.mkdir(parents=True, exist_ok=True)
        head = _read_head(folder / HEAD)
        if head is None:
            head = Head(id=uuid4().hex, url=url, options=options)
            write_text(folder / HEAD, head.model_dump_json(indent=1))
        if (head.url, head.options) != (url, options):
            raise BadOption(
                "--output holds a batch of another service or with other options: go on with "
                "those, or choose another folder"
            )
        return cls(folder, head, _read_lines(folder / LINES))

    def key(self, name: str) -> str:
        """Idempotency key of a case: the same in every run."""
        return f"batch-{self.head.id}-{name}"

    def note(self, name: str, job_id: UUID) -> None:
        """Keep, durably, that a case was accepted."""
        line = json.dumps({"case": name, "job": str(job_id)}) + "\n"
        file = os.open(self.folder / LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
            os.fsync(file)
        finally:
            os.close(file)
        if not self.jobs:
            sync_folder(self.folder)
        self.jobs[name] = job_id


def _read_head(path: Path) -> Head | None:
    try:
        return Head.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadOption(f"{path.name} in --output is damaged: choose another folder") from error


def _read_lines(path: Path) -> dict[str, UUID]:
    """Read what was kept; a last line that was cut off was never kept."""
    if not path.exists():
        return {}
    text = path.read_bytes()
    whole, _, rest = text.rpartition(b"\n")
    if rest:
        # What follows must begin on a line of its own.
        os.truncate(path, len(text) - len(rest))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        return {line["case"]: UUID(line["job"]) for line in lines}
    except (ValueError, KeyError) as error:
        raise BadOption(f"{path.name} in --output is damaged: choose another folder") from error
