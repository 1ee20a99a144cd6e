"""Delete what a job that has ended no longer needs, at once or after a crash.

Whoever ends a job tidies right after; a process killed in between cannot. What has no row at all
is the service's to find: it knows which uploads are still coming in.
"""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from dlb_core.contracts import FINAL_STATES, JobState
from dlb_core.errors import JobNotFound
from dlb_core.jobs.layout import ATTEMPTS, DataFolder
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore


def remove_leftovers(store: JobStore, folder: DataFolder) -> None:
    """Look at every job's files, and tidy those of jobs that have ended.

    Raises
    ------
    StoreUnavailable
        The job store does not answer.
    BucketUnavailable
    """
    for held in folder.held():
        try:
            job = store.get(held.job_id)
        except JobNotFound:
            continue
        if not held.parts <= wanted_of(job):
            tidy_ended(job, folder)


def wanted_of(job: JobRecord) -> frozenset[str]:
    """What is kept of a job that has ended, as `Held.parts` names it."""
    results = {f"{ATTEMPTS}/{job.fence}"} if _has_results(job) else set()
    return frozenset(results | ({"inputs"} if job.keep_inputs else set()))


def tidy_ended(job: JobRecord, folder: DataFolder) -> None:
    """Keep a successful job's results, and what a retry needs of the others, and nothing else.

    Parameters
    ----------
    job : JobRecord
        One that has not ended is left alone. One that has may have been retried since it was
        read: what a later attempt writes stays.
    folder : DataFolder
    """
    if job.state not in FINAL_STATES:
        return
    has_results = _has_results(job)
    if not has_results and not job.keep_inputs:
        folder.remove_job(job.id)
        return
    if not job.keep_inputs:
        folder.remove_inputs(job.id)
    if has_results:
        folder.remove_votes(job.id)
    folder.remove_attempts(job.id, up_to=job.fence, but=job.fence if has_results else None)


def remove_scratch(store: JobStore, folder: DataFolder) -> None:
    """Delete what attempts that a crash ended left on this machine, where that is nobody else's.

    Raises
    ------
    StoreUnavailable
    """
    # An attempt that begins from now on has a higher fence than any that is listed.
    for job_id, fences in list(folder.scratch()):
        try:
            job = store.get(job_id)
        except JobNotFound:
            shutil.rmtree(folder.job(job_id), ignore_errors=True)
            continue
        for fence in fences:
            if job.fence > fence or job.state is not JobState.RUNNING:
                shutil.rmtree(folder.attempt(job_id, fence), ignore_errors=True)
        if job.state in FINAL_STATES:
            folder.remove_votes(job_id)
        folder.remove_emptied(job_id)


def old_places(folder: DataFolder, places: Path, *, older_than_s: float) -> list[Path]:
    """Folders right below a place, here or in the bucket, with nothing young in them.

    Another process may be filling the others.

    Raises
    ------
    BucketUnavailable
    """
    latest = time.time() - older_than_s
    here = [path for path in places.iterdir() if is_older(path, latest)] if places.is_dir() else []
    return [*here, *folder.held_since(datetime.fromtimestamp(latest, UTC), places)]


def is_older(folder: Path, latest: float) -> bool:
    """Whether all of a folder is older than `latest`; one just removed by another is not."""
    # A folder's own time stands still while a file in it grows.
    try:
        return all(path.stat().st_mtime < latest for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return False


def _has_results(job: JobRecord) -> bool:
    return job.state is JobState.SUCCESSFUL and job.expired is None
