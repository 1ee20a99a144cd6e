"""A bucket of an S3-compatible service, as far as jobs' files need one.

Keys are relative to the bucket's prefix. Credentials, region and endpoint are those of the usual
AWS_* variables; the library reads them.
"""

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from dlb_core.errors import BadOption, BucketRefused, BucketUnavailable

SCHEME = "s3://"
PATTERN = r"^s3://[A-Za-z0-9._-]+(/.*)?$"
"""Of a bucket's URL."""
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
ENDPOINT = re.compile(r"https?://[^/\s]+(/\S*)?", re.IGNORECASE)
CHUNK_BYTES = 4 * 1024 * 1024
"""Read at once: a slow reader holds so much, and no connection."""
UPLOADS_AT_ONCE = 2
PARTS_AT_ONCE = 2
"""Of each upload, 5 MiB in memory; whoever comes meanwhile waits, so that memory stays flat."""
DELETED_AT_ONCE = 1000
# One try more than the first: whoever calls repeats, or says that it cannot be done now.
RETRIES: Any = {"max_retries": 1, "retry_timeout": timedelta(seconds=20)}
CLIENT: Any = {
    # Takes http:// from an operator who has written that; without an endpoint all is https.
    "allow_http": True,
    "connect_timeout": "5s",
    "read_timeout": "20s",
    "timeout": "120s",
}
SMALL_ANSWERS: Any = CLIENT | {"read_timeout": "5s", "timeout": "10s"}
"""Where little is asked for, an API thread waits: a bucket that says nothing must not keep it."""
REFUSALS = (
    ("NoSuchBucket", "there is no such bucket: make it, or correct DLB_BUCKET"),
    ("InvalidBucketName", "that is no bucket's name: correct DLB_BUCKET"),
    ("SignatureDoesNotMatch", "it refuses our credentials: correct AWS_SECRET_ACCESS_KEY"),
    ("InvalidAccessKeyId", "it refuses our credentials: correct AWS_ACCESS_KEY_ID"),
    ("ExpiredToken", "our credentials have expired: give newer ones"),
    ("169.254.169.254", "we have no credentials: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),
    ("403 Forbidden", "it does not allow us that: see the credentials and their rights"),
    ("401 Unauthorized", "it refuses our credentials: see AWS_ACCESS_KEY_ID"),
)
"""Part of what the library says -> what the operator must mend."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there."""

    key: str
    size_bytes: int
    modified: datetime


class Bucket:
    """Puts, gets, lists and removes. Safe to share between threads, not between processes.

    Every method raises `BucketUnavailable` where the bucket does not answer, and its
    `BucketRefused` where it answers that it never will.

    Parameters
    ----------
    url : str
        `s3://name/prefix`; the prefix may be left out.

    Raises
    ------
    BadOption
        It is no such URL.
    """

    def __init__(self, url: str) -> None:
        if re.match(PATTERN, url) is None:
            raise BadOption("DLB_BUCKET: not as s3://name/prefix")
        name, _, prefix = url.removeprefix(SCHEME).partition("/")
        try:
            self._store, self._prompt = (
                S3Store(
                    name,
                    prefix=prefix.strip("/") or None,
                    client_options=options,
                    retry_config=RETRIES,
                )
                for options in (CLIENT, SMALL_ANSWERS)
            )
        except ValueError as error:
            raise BadOption("DLB_BUCKET: the prefix has empty parts, or parts of dots") from error
        self._uploads = threading.BoundedSemaphore(UPLOADS_AT_ONCE)

    def check(self) -> None:
        """Insist on a bucket that answers."""
        with _errors():
            next(iter(obstore.list(self._prompt, chunk_size=1)), None)

    def put_file(self, key: str, path: Path) -> None:
        """Store a file, whole or not at all."""
        with self._uploads, _errors():
            obstore.put(self._store, key, path, max_concurrency=PARTS_AT_ONCE)

    def put(self, key: str, content: bytes) -> None:
        """Store a few bytes."""
        with _errors():
            obstore.put(self._store, key, content)

    def put_new(self, key: str, content: bytes) -> bool:
        """Store a few bytes under a key that nothing has; False where something has it."""
        try:
            with _errors():
                obstore.put(self._store, key, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def read(self, key: str) -> bytes:
        """All of a small object.

        Raises
        ------
        FileNotFoundError
        """
        with _errors():
            return bytes(obstore.get(self._prompt, key).bytes())

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Part of an object, which must reach that far.

        Raises
        ------
        FileNotFoundError
        """
        with _errors():
            return bytes(obstore.get_range(self._store, key, start=start, end=end))

    def stat(self, key: str) -> Stored:
        """Look at one object.

        Raises
        ------
        FileNotFoundError
        """
        with _errors():
            return _stored(obstore.head(self._prompt, key))

    def fetch(self, key: str, path: Path) -> None:
        """Write an object into a file.

        Raises
        ------
        FileNotFoundError
        """
        size = self.stat(key).size_bytes
        with path.open("wb") as file:
            for start in range(0, size, CHUNK_BYTES):
                file.write(self.read_range(key, start, min(start + CHUNK_BYTES, size)))

    def listed(self, prefix: str) -> Iterator[Stored]:
        """Every object below a prefix, in the order of their keys."""
        with _errors():
            for batch in obstore.list(self._store, prefix):
                yield from map(_stored, batch)

    def children(self, prefix: str) -> list[str]:
        """Names right below a prefix that objects lie below in turn."""
        with _errors():
            found = obstore.list_with_delimiter(self._prompt, prefix)["common_prefixes"]
        return [str(name).rpartition("/")[2] for name in found]

    def remove(self, keys: list[str]) -> None:
        """Remove objects; those that are not there are no fault."""
        with _errors():
            for start in range(0, len(keys), DELETED_AT_ONCE):
                obstore.delete(self._store, keys[start : start + DELETED_AT_ONCE])


def check_endpoint(environ: Mapping[str, str]) -> None:
    """Refuse an endpoint that would end the process in the middle of the library.

    Parameters
    ----------
    environ : Mapping
        The variables that the library will read.

    Raises
    ------
    BadOption
        It is no URL; the variable is named.
    """
    for name in ENDPOINTS:
        given = environ.get(name)
        if given is not None and ENDPOINT.fullmatch(given) is None:
            raise BadOption(
                f"{name}: not as https://minio.example.org; unset it where the bucket is Amazon's"
            )


def _stored(meta: Any) -> Stored:
    return Stored(str(meta["path"]), int(meta["size"]), meta["last_modified"])


@contextmanager
def _errors() -> Iterator[None]:
    """Turn the library's errors into ours; that an object is there, or is not, is none."""
    try:
        yield
    except AlreadyExistsError:
        raise
    except (BaseError, FileNotFoundError) as error:
        text = str(error)
        reason = next((words for part, words in REFUSALS if part in text), None)
        if reason is not None:
            raise BucketRefused(f"the bucket of jobs' files: {reason}") from error
        if isinstance(error, FileNotFoundError):
            raise
        # What comes before names the request, and with it a job's file.
        cause = text.partition("\n")[0].rpartition(" - ")[2]
        logger.warning("bucket_unavailable", extra={"cause": cause})
        raise BucketUnavailable(
            "the bucket of jobs' files does not answer: try again later"
        ) from error
