"""Where things lie in the one folder that service, worker and embedded broker share.

<root>/jobs.sqlite                       the job store (unless a database is named)
<root>/staging/                          uploads in progress
<root>/jobs/<id>/inputs/                 a job's two images, until the job ends
<root>/jobs/<id>/attempts/<fence>/       what one attempt wrote
<root>/jobs/<id>/votes/                  the networks' votes so far, for the next attempt
<root>/redis/                            the embedded broker's data
<root>/audit/audit.jsonl                 who did what

With a bucket, `bucket_folder.py` keeps the jobs' files there under the same names, and the folder
is one machine's own: it holds what is under way.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from dlb_core.artefacts import sync_folder

INPUT_NAMES = {"T1w": "T1w.nii.gz", "FLAIR": "FLAIR.nii.gz"}
"""Role of an image -> its name in a job's inputs, if compressed; `.nii` when it is not."""

DICOM_REFERENCE = "dicom.json"
"""In a job's inputs."""

ATTEMPTS = "attempts"

ShouldStop = Callable[[], bool]


def never() -> bool:
    """Nobody asks to stop."""
    return False


def image_in(inputs: Path, role: str) -> Path:
    """The image of one role (T1w, FLAIR) in a folder of inputs, compressed or not."""
    compressed = inputs / INPUT_NAMES[role]
    plain = compressed.with_suffix("")
    return plain if plain.exists() else compressed


@dataclass(frozen=True, slots=True)
class Held:
    """Files that are kept of one job."""

    job_id: UUID
    parts: frozenset[str]
    """`inputs`, `votes`, `attempts/<fence>`."""


@dataclass(frozen=True, slots=True)
class Distant:
    """A file that does not lie on this machine."""

    size_bytes: int
    modified: datetime
    read: Callable[[int, int], bytes]
    """Bytes from the first number up to the second."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Names every place below one root, and keeps jobs' files there.

    Service and workers hand files to each other through these methods; where they share the
    folder, files need not move.
    """

    root: Path

    @property
    def is_shared(self) -> bool:
        """Whether the service and all workers have this folder, so that files need not move."""
        return True

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

    def votes(self, job_id: UUID) -> Path:
        """The networks' votes so far; any attempt may take up what another has left."""
        return self.job(job_id) / "votes" / "votes.npz"

    def attempt(self, job_id: UUID, fence: int) -> Path:
        """Folder that the attempt of this fence writes; no other attempt writes there."""
        return self.job(job_id) / ATTEMPTS / str(fence)

    def create(self) -> None:
        """Make the folders that must exist; readable by their owner only (they hold scans)."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.staging, self.redis, self.jobs, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def check(self, *, by_writing: bool = False) -> None:
        """Insist that files can be kept.

        Parameters
        ----------
        by_writing : bool
            Keep one, and remove it again.

        Raises
        ------
        BucketUnavailable
            Where a bucket keeps them.
        """

    def take_in(self, job_id: UUID, staged: Path) -> None:
        """Keep a new job's inputs, durably, before its row promises to work on them.

        Parameters
        ----------
        job_id : UUID
        staged : Path
            Folder of the inputs, on this machine; it may be moved.
        """
        self.job(job_id).mkdir(mode=0o700)
        staged.rename(self.inputs(job_id))
        sync_folder(self.job(job_id))
        sync_folder(self.job(job_id).parent)

    def bring_inputs(self, job_id: UUID, scratch: Path, *, should_stop: ShouldStop = never) -> Path:
        """Folder on this machine where a job's inputs lie; `scratch` may be used for it.

        Raises
        ------
        BucketUnavailable, FileAltered, Cancelled
        """
        return self.inputs(job_id)

    def hand_over(self, place: Path, names: list[str], *, should_stop: ShouldStop = never) -> None:
        """Make files that lie in a place of this machine reachable to all, whole and durable.

        Raises
        ------
        BucketUnavailable, Cancelled
        """

    def bring_file(self, path: Path, scratch: Path, sha256: str) -> Path:
        """Where a kept file lies on this machine; `scratch` may become it.

        Parameters
        ----------
        path : Path
        scratch : Path
        sha256 : str
            The file's; empty where it is not known.

        Raises
        ------
        FileNotFoundError
        BucketUnavailable
        FileAltered
            What comes is not what was kept.
        """
        return path

    def publish(self, files: dict[Path, Path], mark: Path, content: bytes) -> bool:
        """Keep files that were made on this machine, then a mark that makes them known.

        Parameters
        ----------
        files : dict of Path
            File on this machine -> its place.
        mark : Path
            Its place; nothing may have it yet.
        content : bytes
            The mark's.

        Returns
        -------
        bool
            False where the mark was there: nothing has changed.

        Raises
        ------
        BucketUnavailable
        """
        return True

    def read(self, path: Path) -> bytes:
        """A small file that is kept.

        Raises
        ------
        FileNotFoundError
        BucketUnavailable
        """
        return path.read_bytes()

    def distant(self, path: Path) -> Distant | None:
        """A kept file that is not on this machine; None: it is looked for here.

        Raises
        ------
        FileNotFoundError
        BucketUnavailable
        """
        return None

    def children(self, place: Path) -> list[str]:
        """Names of the folders in a place."""
        try:
            return [path.name for path in place.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []

    def held(self) -> Iterator[Held]:
        """Every job that files are kept of."""
        for job in self.jobs.iterdir():
            with contextlib.suppress(ValueError):
                parts = {name for name in self.children(job) if name != ATTEMPTS}
                parts |= {f"{ATTEMPTS}/{name}" for name in self.children(job / ATTEMPTS)}
                yield Held(UUID(job.name), frozenset(parts))

    def held_since(self, latest: datetime, places: Path) -> Iterator[Path]:
        """Places right below `places`, elsewhere than here, that hold nothing younger."""
        return iter(())

    def scratch(self) -> Iterator[tuple[UUID, list[int]]]:
        """Jobs with files on this machine that are nobody else's, and their attempts' fences."""
        return iter(())

    def remove(self, place: Path) -> None:
        """Delete all that lies in a place, here and wherever it is kept."""
        shutil.rmtree(place, ignore_errors=True)

    def remove_job(self, job_id: UUID) -> None:
        """Delete every file of a job."""
        self.remove(self.job(job_id))

    def remove_inputs(self, job_id: UUID) -> None:
        """Delete a job's images: once it has ended nobody needs them."""
        self.remove(self.inputs(job_id))

    def remove_votes(self, job_id: UUID) -> None:
        """Delete the votes, and what a killed process left of writing them."""
        shutil.rmtree(self.votes(job_id).parent, ignore_errors=True)

    def remove_attempt(self, job_id: UUID, fence: int) -> None:
        """Delete what one attempt wrote, and the job's folder if that leaves it empty."""
        self.remove(self.attempt(job_id, fence))
        self.remove_emptied(job_id)

    def remove_attempts(self, job_id: UUID, *, up_to: int, but: int | None = None) -> None:
        """Delete what the attempts up to a fence wrote, perhaps but one."""
        attempts = self.job(job_id) / ATTEMPTS
        for name in self.children(attempts):
            if name.isdecimal() and int(name) <= up_to and name != str(but):
                self.remove(attempts / name)

    def remove_emptied(self, job_id: UUID) -> None:
        """Delete a job's folder on this machine if nothing is in it."""
        # `rmdir` refuses a folder that holds anything.
        with contextlib.suppress(OSError):
            (self.job(job_id) / ATTEMPTS).rmdir()
            self.job(job_id).rmdir()
