"""One attempt at a job: claim it, run the case, keep the lease, publish or say why not.

Files land in the attempt's own folder first; one guarded change in SQL then makes them the
job's results. An attempt that lost its claim leaves no trace.
"""

import errno
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from dlb_core.artefacts import list_artefacts, sync_folder
from dlb_core.contracts import Outcome, Progress
from dlb_core.errors import (
    BucketUnavailable,
    Cancelled,
    DiskFull,
    DlbError,
    FileAltered,
    InputsGone,
    JobNotFound,
    TimeLimitExceeded,
    TransientError,
)
from dlb_core.jobs.layout import DICOM_REFERENCE, ShouldStop, image_in
from dlb_core.jobs.leftovers import remove_scratch, tidy_ended
from dlb_core.jobs.records import Claim, Verdict
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.tracing import current_traceparent
from worker.case import DISK_FULL, INPUTS_GONE
from worker.case_process import CaseDied, CaseProcess
from worker.death import cause_of_death
from worker.lease import Lease
from worker.memory import OomCounters
from worker.messages import Advanced, CaseRequest, Failed, Succeeded
from worker.settings import WorkerSettings
from worker.stages import Excess, StageClock
from worker.traces import AttemptTrace
from worker.transfers import transfer

logger = logging.getLogger("worker.attempt")

SCRATCH = ".scratch"


def run_job(hint: UUID, *, store: JobStore, settings: WorkerSettings, worker_id: str) -> None:
    """Try the waiting job whose turn it is; a hint too many ends here.

    Parameters
    ----------
    hint : UUID
        The job that the message was about: there is one hint for each job that waits, but
        which job is begun next is the store's to say.
    """
    try:
        remove_scratch(store, settings.folder)
        # A job begun without the bucket would use up its attempts before that is back.
        settings.folder.check()
        claim = store.claim(None, settings.lease_s, worker_id=worker_id)
    except TransientError as error:
        # The job waits, and gets another hint.
        logger.warning("claim_failed", extra={"job_id": hint, "cause": str(error)})
        return
    if claim is None:
        logger.info("message_dropped", extra={"job_id": hint})
        return
    Attempt(claim, store=store, settings=settings).run()


class Attempt:
    """A claimed job, from its claim to its end."""

    def __init__(self, claim: Claim, *, store: JobStore, settings: WorkerSettings) -> None:
        self._claim = claim
        self._store = store
        self._settings = settings
        self._folder = settings.folder
        self._output = self._folder.attempt(claim.job_id, claim.fence)
        self._stages = StageClock()
        self._progress: Progress | None = None
        self._trace = AttemptTrace(claim)
        self._lease = Lease(
            claim,
            store,
            heartbeat_s=settings.heartbeat_s,
            poll_s=settings.poll_s,
            progress_s=settings.progress_s,
        )

    def run(self) -> None:
        """Run the case to one of its ends."""
        with self._trace.followed():
            self._run()

    def _run(self) -> None:
        self._log("attempt_started")
        end = self._run_case()
        if isinstance(end, Succeeded):
            self._publish(end)
        elif isinstance(end, Failed):
            self._give_up(end)
        else:
            self._withdraw(end)

    def _run_case(self) -> Succeeded | Failed | Verdict:
        """Run the case's process, keeping the lease, to its end or until it is unwanted."""
        scratch = self._output / SCRATCH
        inputs = self._folder.inputs(self._claim.job_id)

        def bring(should_stop: ShouldStop) -> None:
            nonlocal inputs
            scratch.mkdir(parents=True, mode=0o700, exist_ok=True)
            job_id = self._claim.job_id
            try:
                inputs = self._folder.bring_inputs(job_id, scratch, should_stop=should_stop)
            except FileNotFoundError as error:
                raise InputsGone(INPUTS_GONE) from error

        unready = self._transfer(bring)
        if unready is not None:
            return unready
        counters = OomCounters()
        watch = _Watch(self._settings, self._stages)
        with CaseProcess(self._request(inputs), scratch=scratch) as case:
            try:
                return self._attend(case, watch)
            except CaseDied as death:
                return _failed(
                    cause_of_death(death.status, counters=counters, held_mb=watch.held_mb),
                    transient=True,
                )

    def _transfer(self, move: Callable[[ShouldStop], None]) -> Failed | Verdict | None:
        """Move files between this machine and where they are kept; None when it is done."""
        try:
            verdict = transfer(
                move,
                keep=lambda: self._lease.keep(self._progress),
                poll_s=self._settings.poll_s,
                patience_s=self._settings.bucket_patience_s,
            )
        except BucketUnavailable as error:
            return _failed(error, transient=True)
        except (InputsGone, FileAltered) as error:
            return _failed(error, transient=False)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return _failed(DiskFull(DISK_FULL), transient=True)
        return None if verdict is Verdict.GO_ON else verdict

    def _attend(self, case: CaseProcess, watch: "_Watch") -> Succeeded | Failed | Verdict:
        """Listen to the case, look at the clock, and keep the lease."""
        while True:
            event = case.listen(self._settings.poll_s)
            if isinstance(event, Succeeded | Failed):
                return watch.reason_for(event)
            if isinstance(event, Advanced):
                self._progress = event.progress
                self._stages.note(event.progress)
                self._trace.enter(event.progress.stage)
            verdict = self._lease.keep(self._progress, self._stages.seconds)
            if verdict is not Verdict.GO_ON:
                return verdict
            too_long = watch.look(case)
            if too_long is not None:
                return too_long

    def _request(self, inputs: Path) -> CaseRequest:
        job_id = self._claim.job_id
        dicom = inputs / DICOM_REFERENCE
        return CaseRequest(
            t1w=image_in(inputs, "T1w"),
            flair=image_in(inputs, "FLAIR"),
            output=self._output,
            bundle=self._settings.weights,
            votes=self._folder.votes(job_id),
            dicom=dicom if dicom.exists() else None,
            options=self._claim.options,
            device=self._settings.device,
            threads=self._settings.threads,
            memory_mb=self._settings.memory_mb,
            pipeline=self._settings.pipeline,
            job_id=str(job_id),
            trace=current_traceparent(),
        )

    def _publish(self, end: Succeeded) -> None:
        """Make the results the job's, then delete what is no longer needed."""
        shutil.rmtree(self._output / SCRATCH)
        artefacts = list_artefacts(self._output)
        _make_durable(self._output, up_to=self._folder.job(self._claim.job_id))
        unkept = self._transfer(self._hand_over)
        if isinstance(unkept, Failed):
            self._give_up(unkept)
            return
        if unkept is not None:
            self._withdraw(unkept)
            return

        def finish() -> bool:
            return self._store.finish(
                self._claim,
                artefacts,
                end.totals,
                keep_inputs=self._settings.keep_inputs,
                stage_s=self._stages.seconds,
            )

        if not self._lease.insist(finish):
            self._withdraw(self._store.verdict(self._claim))
            return
        self._trace.ended(Outcome.SUCCESSFUL)
        self._log("job_successful", artefacts=len(artefacts))
        self._tidy()

    def _hand_over(self, should_stop: ShouldStop) -> None:
        """Make the results reachable to the service; nobody looks for them yet."""
        names = sorted(path.name for path in self._output.iterdir() if path.is_file())
        self._folder.hand_over(self._output, names, should_stop=should_stop)

    def _give_up(self, end: Failed) -> None:
        """Record why the attempt failed; the job fails, or waits for another attempt."""
        final = not end.transient or self._claim.attempt >= self._settings.max_attempts
        if not self._lease.insist(lambda: self._record(end)):
            self._withdraw(self._store.verdict(self._claim))
            return
        self._trace.ended(Outcome.FAILED, code=end.code)
        self._log("job_failed" if final else "attempt_failed", code=end.code)
        self._remove_output()
        if final:
            self._tidy()

    def _record(self, end: Failed) -> bool:
        if not end.transient:
            return self._store.fail(
                self._claim,
                end.code,
                end.message,
                keep_inputs=not end.input_at_fault,
                stage_s=self._stages.seconds,
            )
        return self._store.retry_or_fail(
            self._claim,
            end.code,
            end.message,
            max_attempts=self._settings.max_attempts,
            pause_s=self._settings.retry_pause_s,
            stage_s=self._stages.seconds,
        )

    def _withdraw(self, verdict: Verdict) -> None:
        """Stop without a result: on request, or because the job is no longer ours."""
        claim = self._claim
        self._trace.ended(verdict)
        self._log("attempt_withdrawn", verdict=verdict)
        self._remove_output()
        if verdict is Verdict.CANCELLED and self._lease.insist(lambda: self._store.dismiss(claim)):
            self._tidy()
        if verdict is Verdict.WORKER_STOPPING:
            self._lease.insist(lambda: self._store.release(claim))

    def _tidy(self) -> None:
        """Delete what the job, which has ended, no longer needs."""
        try:
            tidy_ended(self._store.get(self._claim.job_id), self._folder)
        except JobNotFound:
            self._folder.remove_job(self._claim.job_id)

    def _remove_output(self) -> None:
        self._folder.remove_attempt(self._claim.job_id, self._claim.fence)

    def _log(self, event: str, **fields: object) -> None:
        claim = self._claim
        known = {"job_id": claim.job_id, "fence": claim.fence, "attempt": claim.attempt}
        logger.info(event, extra=known | fields)


class _Watch:
    """Looks at a running case's clock and memory."""

    def __init__(self, settings: WorkerSettings, stages: StageClock) -> None:
        self._settings = settings
        self._stages = stages
        self._deadline = time.monotonic() + settings.time_limit_s
        self._asked: TimeLimitExceeded | None = None
        self.held_mb: int | None = None
        """Memory that the case held when last looked at."""

    def look(self, case: CaseProcess) -> Failed | None:
        """Say why the case is to be ended, if it is; ask it to stop when it is late."""
        self.held_mb = case.held_mb or self.held_mb
        if time.monotonic() > self._deadline:
            return _failed(
                TimeLimitExceeded(
                    f"the case took longer than this worker's limit of "
                    f"{self._settings.time_limit_s:.0f} s: raise the limit, or use a faster machine"
                ),
                transient=False,
            )
        excess = self._stages.excess(self._settings.any_stage, self._settings.stage_limits)
        if excess is Excess.HARD:
            return _failed(self._stuck(), transient=True)
        if excess is Excess.SOFT and self._asked is None:
            self._asked = self._stuck()
            case.ask_to_stop()
        return None

    def reason_for(self, end: Succeeded | Failed) -> Succeeded | Failed:
        """A case that stopped because it was late says only that it was told to."""
        if isinstance(end, Failed) and end.code == Cancelled.code and self._asked is not None:
            return _failed(self._asked, transient=True)
        return end

    def _stuck(self) -> TimeLimitExceeded:
        stage = self._stages.stage
        return TimeLimitExceeded(
            f"the case stayed in stage {stage} for {self._stages.in_stage_s:.0f} s, longer than "
            "this worker allows: raise the limit, or use a faster machine"
        )


def _failed(error: DlbError, *, transient: bool) -> Failed:
    return Failed(code=error.code, message=str(error), transient=transient)


def _make_durable(folder: Path, *, up_to: Path) -> None:
    """Sync the entries of a folder and of those that hold it; its files are synced already."""
    while True:
        sync_folder(folder)
        if folder == up_to:
            return
        folder = folder.parent
