"""Delete what a job that has ended no longer needs, at once or after a crash.

Whoever ends a job tidies right after; a process killed in between cannot. What has no row at all
is the service's to find: it knows which uploads are still coming in.
"""

from pathlib import Path
from uuid import UUID

from dlb_core.contracts import FINAL_STATES, JobState
from dlb_core.errors import JobNotFound
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore


def remove_leftovers(store: JobStore, folder: DataFolder) -> None:
    """Look at every job's folder, and tidy those of jobs that have ended.

    Raises
    ------
    StoreUnavailable
        The job store does not answer.
    """
    for path in folder.jobs.iterdir():
        try:
            job = store.get(UUID(path.name))
        except (ValueError, JobNotFound):
            continue
        tidy_ended(job, folder)


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
    has_results = job.state is JobState.SUCCESSFUL and job.expired is None
    if not has_results and not job.keep_inputs:
        folder.remove_job(job.id)
        return
    if not job.keep_inputs:
        folder.remove_inputs(job.id)
    if has_results:
        folder.remove_votes(job.id)
    folder.remove_attempts(job.id, up_to=job.fence, but=job.fence if has_results else None)


def is_older(folder: Path, latest: float) -> bool:
    """Whether all of a folder is older than `latest`; one just removed by another is not."""
    # A folder's own time stands still while a file in it grows.
    try:
        return all(path.stat().st_mtime < latest for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return False
