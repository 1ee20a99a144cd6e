"""One attempt at a comparison: claim it, compare, keep the lease, publish or say why not."""

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from dlb_core.artefacts import list_artefacts
from dlb_core.contracts import ArtefactEntry, JobState
from dlb_core.errors import (
    BucketUnavailable,
    Cancelled,
    DlbError,
    JobNotFinished,
    OutOfMemory,
    TransientError,
)
from dlb_core.jobs.comparisons.dispatcher import attempt_folder, comparisons_folder
from dlb_core.jobs.comparisons.records import ComparisonClaim
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.layout import DataFolder, ShouldStop
from dlb_core.jobs.leftovers import is_older
from dlb_core.jobs.records import JobRecord, Verdict
from dlb_core.jobs.results import bring_results
from dlb_core.jobs.store import JobStore
from worker.lease import insist
from worker.memory import is_out_of_memory
from worker.settings import WorkerSettings
from worker.transfers import transfer

ABANDONED_AFTER_S = 3600.0
LEASE_S = 300.0
"""At least: the registration holds Python's lock, and so the heartbeats back, on a crowded machine
for longer than a job's lease."""

logger = logging.getLogger("worker.comparison")


def run_comparison(
    comparison_id: UUID, *, store: ComparisonStore, jobs: JobStore, settings: WorkerSettings
) -> None:
    """Try one comparison if it still waits; a doubled message ends here."""
    try:
        # Begun without it, a comparison would use up its attempts before the bucket is back.
        settings.folder.check()
    except BucketUnavailable as error:
        logger.warning("comparison_put_off", extra={"cause": str(error)})
        return
    _remove_abandoned(settings.folder)
    claim = store.claim(comparison_id, max(settings.lease_s, LEASE_S))
    if claim is None:
        logger.info("comparison_message_dropped", extra={"comparison_id": comparison_id})
        return
    output = attempt_folder(settings.folder, claim.comparison_id, claim.fence)
    with _Hold(claim, store, settings.heartbeat_s) as hold:
        published = False
        try:
            artefacts, totals = _compare(claim, jobs, settings, output, hold.is_lost)
        except DlbError as error:
            _give_up(claim, store, settings, error)
        except Exception as error:
            _fail_unexpectedly(claim, store, settings, error)
        else:
            # Where no answer ever comes, the files stay: they may have been published.
            published = insist(
                lambda: store.finish(claim, artefacts, totals),
                claim.lease_s,
                poll_s=settings.poll_s,
            )
    if not published:
        settings.folder.remove(output)
    if not settings.folder.is_shared:
        for path in (output, _scratch_of(output)):
            shutil.rmtree(path, ignore_errors=True)
        # Another attempt of this machine may be in there.
        with contextlib.suppress(OSError):
            output.parent.rmdir()


def _scratch_of(output: Path) -> Path:
    """Where what is compared may lie meanwhile."""
    return output.with_name(f".{output.name}")


def _remove_abandoned(folder: DataFolder) -> None:
    """Delete what a crash left on this machine, where that is nobody else's."""
    places = comparisons_folder(folder)
    if folder.is_shared or not places.is_dir():
        return
    for path in places.iterdir():
        if is_older(path, time.time() - ABANDONED_AFTER_S):
            shutil.rmtree(path, ignore_errors=True)


class _Hold:
    """Renews the lease in a thread, from the `with` block's start to its end."""

    def __init__(self, claim: ComparisonClaim, store: ComparisonStore, heartbeat_s: float) -> None:
        self._claim, self._store, self._heartbeat_s = claim, store, heartbeat_s
        self._over, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="comparison-lease", daemon=True)

    def __enter__(self) -> "_Hold":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def is_lost(self) -> bool:
        """Whether another has it now, or it was deleted."""
        return self._lost.is_set()

    def _run(self) -> None:
        while not self._over.wait(self._heartbeat_s):
            try:
                held = self._store.heartbeat(self._claim)
            except TransientError:
                # Nobody else can claim it either, while the store does not answer.
                continue
            if not held:
                self._lost.set()
                return


def _compare(
    claim: ComparisonClaim,
    jobs: JobStore,
    settings: WorkerSettings,
    output: Path,
    is_lost: Callable[[], bool],
) -> tuple[list[ArtefactEntry], dict[str, Any]]:
    """Compare and write; what there is to publish."""
    # It loads the image libraries, which takes long: not in the worker's main process.
    from dlb_core.longitudinal.compare import compare_visits
    from dlb_core.longitudinal.write import write_comparison

    output.parent.parent.mkdir(mode=0o700, exist_ok=True)
    visits = _bring(claim, jobs, settings, _scratch_of(output), is_lost)
    compared = compare_visits(
        visits[0],
        visits[1],
        label=claim.label,
        ignore_differences=claim.ignore_differences,
        should_stop=is_lost,
    )
    write_comparison(output, compared)
    totals = compared.comparison.totals.model_dump(mode="json")
    artefacts = list_artefacts(output)
    names = [entry.name for entry in artefacts]
    _transfer(
        lambda stop: settings.folder.hand_over(output, names, should_stop=stop), settings, is_lost
    )
    return artefacts, totals


def _bring(
    claim: ComparisonClaim,
    jobs: JobStore,
    settings: WorkerSettings,
    scratch: Path,
    is_lost: Callable[[], bool],
) -> list[Path]:
    """Folders on this machine of both jobs' own results."""
    records = [_successful(jobs, job_id) for job_id in (claim.first, claim.second)]
    folder = settings.folder
    visits: list[Path] = []

    def move(_: ShouldStop) -> None:
        visits[:] = [
            bring_results(
                folder,
                folder.attempt(record.id, record.fence),
                record.artefacts,
                scratch / str(record.id),
            )
            for record in records
        ]

    _transfer(move, settings, is_lost)
    return visits


def _successful(jobs: JobStore, job_id: UUID) -> JobRecord:
    """A job whose results are there."""
    record = jobs.get(job_id)
    if record.state is not JobState.SUCCESSFUL or record.expired is not None:
        raise JobNotFinished("the results of one of the jobs are no longer there")
    return record


def _transfer(
    move: Callable[[ShouldStop], None], settings: WorkerSettings, is_lost: Callable[[], bool]
) -> None:
    """Move files, as patient with the bucket as a job's attempt."""
    verdict = transfer(
        move,
        keep=lambda: Verdict.LOST if is_lost() else Verdict.GO_ON,
        poll_s=settings.poll_s,
        patience_s=settings.bucket_patience_s,
    )
    if verdict is not Verdict.GO_ON:
        raise Cancelled("another has this comparison now, or it was deleted")


def _give_up(
    claim: ComparisonClaim, store: ComparisonStore, settings: WorkerSettings, error: DlbError
) -> None:
    """Record the cause, or let a passing one wait for another attempt."""
    if isinstance(error, Cancelled):
        logger.info("comparison_claim_lost", extra={"comparison_id": claim.comparison_id})
        return
    fields = {"comparison_id": claim.comparison_id, "code": error.code}
    logger.warning("comparison_attempt_failed", extra=fields)
    if isinstance(error, TransientError) and claim.attempt < settings.max_attempts:
        insist(lambda: store.release(claim), claim.lease_s, poll_s=settings.poll_s)
    else:
        _fail(claim, store, settings, error.code, str(error))


def _fail_unexpectedly(
    claim: ComparisonClaim, store: ComparisonStore, settings: WorkerSettings, error: Exception
) -> None:
    """A fault of ours, too little memory, or files that were deleted meanwhile."""
    logger.exception("comparison_failed_unexpectedly", extra={"comparison_id": claim.comparison_id})
    if is_out_of_memory(error):
        text = "the comparison ran out of memory: give the worker more"
        _give_up(claim, store, settings, OutOfMemory(text))
        return
    name = type(error).__name__
    message = f"an unexpected {name} ended this comparison: see the worker's log"
    _fail(claim, store, settings, "internal-error", message)


def _fail(
    claim: ComparisonClaim, store: ComparisonStore, settings: WorkerSettings, code: str, text: str
) -> None:
    """End it, even where the store is away for a moment."""
    insist(lambda: store.fail(claim, code, text), claim.lease_s, poll_s=settings.poll_s)
