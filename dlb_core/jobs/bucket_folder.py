"""A data folder whose jobs' files are kept in a bucket, so that machines need share no disk.

The bucket has the places of `layout.py` as keys. A place's folder on this machine is scratch: it
holds what is under way here, and never the only copy of what a row promises. Every attempt has
its own prefix, so a late worker's upload is never taken for another's; only the row says whose
counts. Corrected versions are named by their content:

jobs/<id>/inputs/inputs.json                        digests of the inputs, written last
jobs/<id>/attempts/<fence>/corrections/<n>/.version.json   a version, made at most once
jobs/<id>/attempts/<fence>/corrections/files/<sha256>      its files
"""

import contextlib
import itertools
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from dlb_core.artefacts import sha256_of
from dlb_core.errors import BucketUnavailable, Cancelled, FileAltered
from dlb_core.jobs.bucket import Bucket, Stored
from dlb_core.jobs.layout import ATTEMPTS, DataFolder, Distant, Held, ShouldStop, never

DIGESTS = "inputs.json"
DOWNLOADS = 2
"""Of a file that does not come as it was put there: once may be the way's fault."""
PROBE = "probe"
"""Beside the jobs; there for a moment."""

logger = logging.getLogger(__name__)


def open_folder(root: Path, bucket_url: str | None) -> DataFolder:
    """The folder of a service or a worker: itself, or with a bucket behind it.

    Parameters
    ----------
    root : Path
    bucket_url : str or None
        `s3://name/prefix`.

    Raises
    ------
    BadOption
        It is no such URL.
    """
    return DataFolder(root) if bucket_url is None else BucketFolder(root, Bucket(bucket_url))


@dataclass(frozen=True, slots=True)
class BucketFolder(DataFolder):
    """Keeps jobs' files in a bucket."""

    bucket: Bucket

    @property
    def is_shared(self) -> bool:
        """Files go through the bucket."""
        return False

    def check(self, *, by_writing: bool = False) -> None:
        """Insist on a bucket that answers."""
        self.bucket.check()
        if by_writing:
            self.bucket.put(PROBE, b"")
            self.bucket.remove([PROBE])

    def take_in(self, job_id: UUID, staged: Path) -> None:
        """Upload a new job's inputs; the digests last, so that they stand for a whole set."""
        place = self.inputs(job_id)
        names = sorted(path.name for path in staged.iterdir())
        digests = {name: sha256_of(staged / name) for name in names}
        try:
            for name in names:
                self.bucket.put_file(self._key(place / name), staged / name)
            self.bucket.put(self._key(place / DIGESTS), json.dumps(digests).encode())
        except BucketUnavailable:
            self.remove(place)
            raise

    def bring_inputs(self, job_id: UUID, scratch: Path, *, should_stop: ShouldStop = never) -> Path:
        """Download a job's inputs, and compare their digests."""
        place, target = self.inputs(job_id), scratch / "inputs"
        digests: dict[str, str] = json.loads(self.read(place / DIGESTS))
        target.mkdir(mode=0o700, exist_ok=True)
        for name, digest in digests.items():
            _heed(should_stop)
            self.bring_file(place / name, target / name, digest)
        return target

    def hand_over(self, place: Path, names: list[str], *, should_stop: ShouldStop = never) -> None:
        """Upload files that lie in a place of this machine."""
        for name in names:
            _heed(should_stop)
            self.bucket.put_file(self._key(place / name), place / name)

    def bring_file(self, path: Path, scratch: Path, sha256: str) -> Path:
        """Download a file, and compare its digest."""
        for _ in range(DOWNLOADS):
            self.bucket.fetch(self._key(path), scratch)
            if not sha256 or sha256_of(scratch) == sha256:
                return scratch
        raise FileAltered(
            f"{scratch.name} in the bucket of jobs' files is not what was put there: restore it, "
            "or send the scans again"
        )

    def publish(self, files: dict[Path, Path], mark: Path, content: bytes) -> bool:
        """Upload files that nobody knows of, then the mark, unless it is there."""
        for path, kept in files.items():
            self.bucket.put_file(self._key(kept), path)
        return self.bucket.put_new(self._key(mark), content)

    def read(self, path: Path) -> bytes:
        """A small object."""
        return self.bucket.read(self._key(path))

    def distant(self, path: Path) -> Distant | None:
        """An object, to be read in parts."""
        key = self._key(path)
        found = self.bucket.stat(key)

        def read(start: int, end: int) -> bytes:
            return self.bucket.read_range(key, start, end)

        return Distant(found.size_bytes, found.modified, read)

    def children(self, place: Path) -> list[str]:
        """Names right below a place that something lies below."""
        return self.bucket.children(self._key(place))

    def held(self) -> Iterator[Held]:
        """Every job with an object, from one listing of the bucket."""
        for name, objects in self._grouped(self.jobs):
            with contextlib.suppress(ValueError):
                yield Held(UUID(name), frozenset(_part(found.key) for found in objects))

    def held_since(self, latest: datetime, places: Path) -> Iterator[Path]:
        """Places that hold no younger object, from one listing of the bucket."""
        for name, objects in self._grouped(places):
            if all(found.modified < latest for found in objects):
                yield places / name

    def scratch(self) -> Iterator[tuple[UUID, list[int]]]:
        """Jobs that left something on this machine."""
        for path in self.jobs.iterdir():
            names = [attempt.name for attempt in (path / ATTEMPTS).glob("*")]
            with contextlib.suppress(ValueError):
                yield UUID(path.name), [int(name) for name in names if name.isdecimal()]

    def remove(self, place: Path) -> None:
        """Delete all below a place, here and in the bucket.

        What an unreachable bucket keeps is found by the next clean-up: no row promises it.
        """
        shutil.rmtree(place, ignore_errors=True)
        try:
            self.bucket.remove([found.key for found in self.bucket.listed(self._key(place))])
        except BucketUnavailable as error:
            logger.warning("files_left_in_bucket", extra={"cause": str(error)})

    def remove_attempts(self, job_id: UUID, *, up_to: int, but: int | None = None) -> None:
        """Delete what the attempts up to a fence uploaded, perhaps but one, and all scratch."""
        try:
            # Not by `super()`: a dataclass with slots is a class made anew, which that misses.
            DataFolder.remove_attempts(self, job_id, up_to=up_to, but=but)
        except BucketUnavailable as error:
            logger.warning("files_left_in_bucket", extra={"cause": str(error)})
        for path in (self.job(job_id) / ATTEMPTS).glob("*"):
            if path.name.isdecimal() and int(path.name) <= up_to:
                shutil.rmtree(path, ignore_errors=True)
        self.remove_emptied(job_id)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _grouped(self, places: Path) -> Iterator[tuple[str, Iterator[Stored]]]:
        """Name right below a place -> the objects below that.

        Empty objects that stand for folders, as consoles of buckets make them, are left out.
        """
        listed = self.bucket.listed(self._key(places))
        deep = (found for found in listed if found.key.count("/") > 1)
        return itertools.groupby(deep, lambda found: found.key.split("/")[1])


def _part(key: str) -> str:
    """`jobs/<id>/attempts/2/report.json` -> `attempts/2`, as `Held` has it."""
    parts = key.split("/")[2:]
    return "/".join(parts[:2]) if parts[0] == ATTEMPTS else parts[0]


def _heed(should_stop: ShouldStop) -> None:
    if should_stop():
        raise Cancelled("told to stop")
