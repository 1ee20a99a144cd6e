"""Where things lie in the one folder that service, worker and embedded broker share.

<root>/jobs.sqlite                       the job store (unless a database is named)
<root>/staging/                          uploads in progress
<root>/jobs/<id>/inputs/                 a job's two images, until the job ends
<root>/jobs/<id>/attempts/<fence>/       what one attempt wrote
<root>/jobs/<id>/votes/                  the networks' votes so far, for the next attempt
<root>/redis/                            the embedded broker's data
<root>/audit/audit.jsonl                 who did what
"""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

INPUT_NAMES = {"T1w": "T1w.nii.gz", "FLAIR": "FLAIR.nii.gz"}
"""Role of an image -> its name in a job's inputs, if compressed; `.nii` when it is not."""

DICOM_REFERENCE = "dicom.json"
"""In a job's inputs."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Names every place below one root."""

    root: Path

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the default job store."""
        return f"sqlite:///{self.database}"

    @property
    def database(self) -> Path:
        """The default job store's file."""
        return self.root / "jobs.sqlite"

    @property
    def staging(self) -> Path:
        """Uploads in progress; renamed into a job's inputs when whole."""
        return self.root / "staging"

    @property
    def jobs(self) -> Path:
        """A folder for every job."""
        return self.root / "jobs"

    @property
    def logs(self) -> Path:
        """What the processes that `dlb serve` starts write."""
        return self.root / "logs"

    @property
    def redis(self) -> Path:
        """The embedded broker's data."""
        return self.root / "redis"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.root / "audit" / "audit.jsonl"

    def job(self, job_id: UUID) -> Path:
        """Everything of one job."""
        return self.jobs / str(job_id)

    def inputs(self, job_id: UUID) -> Path:
        """Folder of a job's images."""
        return self.job(job_id) / "inputs"

    def input(self, job_id: UUID, role: str) -> Path:
        """A job's image of one role (T1w, FLAIR), compressed or not."""
        compressed = self.inputs(job_id) / INPUT_NAMES[role]
        plain = compressed.with_suffix("")
        return plain if plain.exists() else compressed

    def dicom(self, job_id: UUID) -> Path:
        """What is kept of a job's FLAIR series, where it came as DICOM."""
        return self.inputs(job_id) / DICOM_REFERENCE

    def votes(self, job_id: UUID) -> Path:
        """The networks' votes so far; any attempt may take up what another has left."""
        return self.job(job_id) / "votes" / "votes.npz"

    def attempt(self, job_id: UUID, fence: int) -> Path:
        """Folder that the attempt of this fence writes; no other attempt writes there."""
        return self.job(job_id) / "attempts" / str(fence)

    def create(self) -> None:
        """Make the folders that must exist; readable by their owner only (they hold scans)."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.staging, self.redis, self.jobs, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def remove_job(self, job_id: UUID) -> None:
        """Delete every file of a job."""
        shutil.rmtree(self.job(job_id), ignore_errors=True)

    def remove_inputs(self, job_id: UUID) -> None:
        """Delete a job's images: once it has ended nobody needs them."""
        shutil.rmtree(self.inputs(job_id), ignore_errors=True)

    def remove_votes(self, job_id: UUID) -> None:
        """Delete the votes, and what a killed process left of writing them."""
        shutil.rmtree(self.votes(job_id).parent, ignore_errors=True)

    def remove_attempt(self, job_id: UUID, fence: int) -> None:
        """Delete what one attempt wrote, and the job's folder if that leaves it empty."""
        folder = self.attempt(job_id, fence)
        shutil.rmtree(folder, ignore_errors=True)
        # `rmdir` refuses a folder that holds anything.
        with contextlib.suppress(OSError):
            folder.parent.rmdir()
            folder.parent.parent.rmdir()

    def remove_attempts(self, job_id: UUID, *, up_to: int, but: int | None = None) -> None:
        """Delete what the attempts up to a fence wrote, perhaps but one."""
        # Someone else may be removing the whole job.
        with contextlib.suppress(FileNotFoundError):
            for path in (self.job(job_id) / "attempts").iterdir():
                if path.name.isdecimal() and int(path.name) <= up_to and path.name != str(but):
                    shutil.rmtree(path, ignore_errors=True)
