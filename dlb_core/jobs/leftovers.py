"""Delete what a crash left behind of jobs that have ended.

Whoever ends a job deletes its scans right after; a process killed in between cannot. What has
no row at all is the service's to find: it knows which uploads are still coming in.
"""

from uuid import UUID

from dlb_core.contracts import FINAL_STATES, JobState
from dlb_core.errors import JobNotFound
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore


def remove_leftovers(store: JobStore, folder: DataFolder) -> None:
    """Look at every job's folder, and delete what an ended job no longer needs.

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
        if job.state in FINAL_STATES:
            _tidy(job, folder)


def _tidy(job: JobRecord, folder: DataFolder) -> None:
    """Keep a successful job's results and nothing else."""
    if job.state is not JobState.SUCCESSFUL:
        folder.remove_job(job.id)
        return
    folder.remove_inputs(job.id)
    folder.remove_other_attempts(job.id, job.fence)
