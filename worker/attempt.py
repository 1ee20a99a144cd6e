"""One attempt at a job: claim it, run the case, keep the lease, publish or say why not.

Files land in the attempt's own folder first; one guarded change in SQL then makes them the
job's results. An attempt that lost its claim leaves no trace.
"""

import logging
import shutil
import signal
import time
from pathlib import Path
from uuid import UUID

from dlb_core.artefacts import list_artefacts, sync_folder
from dlb_core.errors import TimeLimitExceeded, WorkerDied
from dlb_core.jobs.records import Claim, Verdict
from dlb_core.jobs.store import JobStore
from worker.case_process import CaseDied, CaseProcess
from worker.lease import Lease
from worker.messages import Advanced, CaseRequest, Failed, Succeeded
from worker.settings import WorkerSettings

logger = logging.getLogger("worker.attempt")

SCRATCH = ".scratch"


def run_job(job_id: UUID, *, store: JobStore, settings: WorkerSettings, worker_id: str) -> None:
    """Try one job if it still waits; a doubled message ends here."""
    claim = store.claim(job_id, settings.lease_s, worker_id=worker_id)
    if claim is None:
        logger.info("message_dropped", extra={"job_id": job_id})
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
        self._lease = Lease(
            claim,
            store,
            heartbeat_s=settings.heartbeat_s,
            poll_s=settings.poll_s,
            progress_s=settings.progress_s,
        )

    def run(self) -> None:
        """Run the case to one of its ends."""
        self._log("attempt_started")
        try:
            end = self._run_case()
            if isinstance(end, Succeeded):
                self._publish(end)
            elif isinstance(end, Failed):
                self._give_up(end)
            else:
                self._withdraw(end)
        except CaseDied as death:
            message = _cause_of_death(death.status)
            self._give_up(Failed(code=WorkerDied.code, message=message, transient=True))
        except TimeLimitExceeded as error:
            self._give_up(Failed(code=error.code, message=str(error), transient=False))

    def _run_case(self) -> Succeeded | Failed | Verdict:
        """Run the case's process, keeping the lease, to its end or until it is unwanted."""
        scratch = self._output / SCRATCH
        scratch.mkdir(parents=True, mode=0o700)
        deadline = time.monotonic() + self._settings.time_limit_s
        progress = None
        with CaseProcess(self._request(), scratch=scratch) as case:
            while True:
                event = case.listen(self._settings.poll_s)
                if isinstance(event, Succeeded | Failed):
                    return event
                if isinstance(event, Advanced):
                    progress = event.progress
                verdict = self._lease.keep(progress)
                if verdict is not Verdict.GO_ON:
                    return verdict
                if time.monotonic() > deadline:
                    raise TimeLimitExceeded(
                        f"the case took longer than this worker's limit of "
                        f"{self._settings.time_limit_s:.0f} s: raise the limit, or use a "
                        "faster machine"
                    )

    def _request(self) -> CaseRequest:
        job_id = self._claim.job_id
        return CaseRequest(
            t1w=self._folder.input(job_id, "T1w"),
            flair=self._folder.input(job_id, "FLAIR"),
            output=self._output,
            bundle=self._settings.weights,
            options=self._claim.options,
            device=self._settings.device,
            threads=self._settings.threads,
            pipeline=self._settings.pipeline,
        )

    def _publish(self, end: Succeeded) -> None:
        """Make the results the job's, then delete what is no longer needed."""
        claim = self._claim
        shutil.rmtree(self._output / SCRATCH)
        artefacts = list_artefacts(self._output)
        _make_durable(self._output, up_to=self._folder.job(claim.job_id))
        if not self._lease.insist(lambda: self._store.finish(claim, artefacts, end.totals)):
            self._withdraw(self._store.verdict(claim))
            return
        self._log("job_successful", artefacts=len(artefacts))
        self._folder.remove_inputs(claim.job_id)
        self._folder.remove_other_attempts(claim.job_id, claim.fence)

    def _give_up(self, end: Failed) -> None:
        """Record why the attempt failed; the job fails, or waits for another attempt."""
        final = not end.transient or self._claim.attempt >= self._settings.max_attempts
        if not self._lease.insist(lambda: self._record(end)):
            self._withdraw(self._store.verdict(self._claim))
            return
        self._log("job_failed" if final else "attempt_failed", code=end.code)
        if final:
            self._folder.remove_job(self._claim.job_id)
        else:
            self._remove_output()

    def _record(self, end: Failed) -> bool:
        if not end.transient:
            return self._store.fail(self._claim, end.code, end.message)
        return self._store.retry_or_fail(
            self._claim, end.code, end.message, max_attempts=self._settings.max_attempts
        )

    def _withdraw(self, verdict: Verdict) -> None:
        """Stop without a result: on request, or because the job is no longer ours."""
        claim = self._claim
        self._log("attempt_withdrawn", verdict=verdict)
        if verdict is Verdict.CANCELLED and self._lease.insist(lambda: self._store.dismiss(claim)):
            self._folder.remove_job(claim.job_id)
            return
        self._remove_output()
        if verdict is Verdict.WORKER_STOPPING:
            self._lease.insist(lambda: self._store.release(claim))

    def _remove_output(self) -> None:
        self._folder.remove_attempt(self._claim.job_id, self._claim.fence)

    def _log(self, event: str, **fields: object) -> None:
        claim = self._claim
        known = {"job_id": claim.job_id, "fence": claim.fence, "attempt": claim.attempt}
        logger.info(event, extra=known | fields)


def _make_durable(folder: Path, *, up_to: Path) -> None:
    """Sync the entries of a folder and of those that hold it; its files are synced already."""
    while True:
        sync_folder(folder)
        if folder == up_to:
            return
        folder = folder.parent


def _cause_of_death(status: int) -> str:
    """Say what ended the case's process, from its exit status."""
    if status == -signal.SIGKILL:
        return (
            "the process working on this case was killed, most likely because memory ran out: "
            "give the worker about 4 GB for each case"
        )
    if status < 0:
        name = signal.Signals(-status).name
        return f"the process working on this case crashed ({name}): see the worker's log"
    return (
        f"the process working on this case ended without a result (exit status {status}): "
        "see the worker's log"
    )
