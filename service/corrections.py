"""Make a new version of a job's results from an edited mask, in a process of its own.

Measuring and drawing load what this service does without, and take up to a minute: the process
holds neither the service's memory nor its event loop. One at a time in each API process; a few
wait, without a thread that others need.
"""

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from anyio.to_thread import run_sync
from pydantic import ValidationError
from starlette.requests import Request

from dlb_core.corrections import CorrectionRequest, Outcome, Reader, VersionRecord
from dlb_core.environment import without_secrets
from dlb_core.errors import BadOption, CorrectionFailed, DiskFull, QueueFull, StageFailed
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.results import bring_bench, keep_version
from service.bodies import chunks_of
from service.dependencies import Services
from service.intake import RECEIVING
from service.lanes import Lane
from service.uploads import (
    FormLimits,
    FormReceiver,
    StagedForm,
    boundary_of,
    disk_errors,
    staging_folder,
)

MASK = "mask"
TEXTS = frozenset({"author", "note"})
MAX_TEXT_BYTES = 4096
TIME_LIMIT_S = 900.0
MAX_WAITING = 8
"""Each takes up to a minute: whoever came after these would wait longer than anyone listens."""
LANE = Lane("corrections", 1)


@dataclass(frozen=True, slots=True)
class Corrector:
    """What takes edited masks in."""

    services: Services

    @property
    def limits(self) -> FormLimits:
        """Parts of the form, and their caps."""
        return FormLimits(
            choices=(frozenset({MASK}),),
            texts=TEXTS,
            max_file_bytes=self.services.settings.max_upload_bytes,
            max_text_bytes=MAX_TEXT_BYTES,
        )

    async def accept(self, request: Request, record: JobRecord) -> VersionRecord:
        """Receive a mask, and make a version of it.

        Parameters
        ----------
        request : Request
        record : JobRecord
            Of a successful job.

        Raises
        ------
        UploadTooLarge, MalformedUpload, UploadStalled, BadOption
            The form is not what was asked for.
        CorrectionFailed
            The mask is at fault; `code` says how.
        CorrectionsExist
            Another version was made meanwhile.
        StageFailed, QueueFull, DiskFull, BucketUnavailable
        """
        _require_place()
        boundary = boundary_of(request.headers.get("content-type"))
        staging, space = self.services.data.staging, self.services.space
        with space.reserve(0) as reservation, staging_folder(staging, str(uuid4())) as folder:
            with closing(FormReceiver(folder, boundary, self.limits)) as receiver:
                async for chunk in chunks_of(request, self.services.settings.upload_idle_s):
                    reservation.take(len(chunk))
                    await run_sync(receiver.feed, chunk, limiter=RECEIVING.limiter())
                form = await run_sync(receiver.finish)
            reader = read_reader(form)
            # Others may have come while this one's mask did.
            _require_place()
            mask = form.files[MASK].path
            return await run_sync(self._correct, record, mask, reader, limiter=LANE.limiter())

    def _correct(self, record: JobRecord, mask: Path, reader: Reader) -> VersionRecord:
        """Make a version beside the others, wherever these are kept."""
        data = self.services.data
        results = data.attempt(record.id, record.fence)
        with disk_errors():
            bench = bring_bench(data, results, record.artefacts, mask.with_name("bench"))
        made = _make_version(CorrectionRequest(results=bench, mask=mask, reader=reader))
        keep_version(data, results, bench, made)
        return made


def read_reader(form: StagedForm) -> Reader:
    """Parse the form's texts.

    Raises
    ------
    BadOption
        The fields at fault are named.
    """
    try:
        return Reader(**{name: text.decode() for name, text in form.texts.items()})
    except UnicodeDecodeError as error:
        raise BadOption("author and note must be UTF-8") from error
    except ValidationError as error:
        fields = {str(fault["loc"][0]): fault["msg"] for fault in error.errors()}
        raise BadOption("author or note cannot be used", fields=fields) from error


def _require_place() -> None:
    """Refuse what would wait too long."""
    if LANE.limiter().statistics().tasks_waiting >= MAX_WAITING:
        raise QueueFull("other corrections are being made: send the mask again later")


def _make_version(asked: CorrectionRequest) -> VersionRecord:
    """Run the process to its end; raise what it says went wrong."""
    try:
        done = subprocess.run(  # our own command
            [sys.executable, "-m", "dlb_core.correction_process"],
            input=asked.model_dump_json().encode(),
            stdout=subprocess.PIPE,
            env=without_secrets(os.environ),
            timeout=TIME_LIMIT_S,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise StageFailed("the correction could not be made: see the service's log") from error
    outcome = Outcome.model_validate_json(done.stdout)
    if outcome.code == DiskFull.code:
        raise DiskFull("the service's disk is full: send the mask again later")
    if outcome.version is None:
        raise CorrectionFailed(outcome.message, code=outcome.code)
    return outcome.version
