"""A client of the HTTP service.

with DlbClient("http://127.0.0.1:8000") as client:
    job = client.submit(t1w=Path("T1w.nii.gz"), flair=Path("FLAIR.nii.gz"))
    job = client.wait(job.id)
    client.download(job.id, Path("results"))
"""

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from uuid import UUID, uuid4

import httpx
from pydantic import ValidationError

from dlb_core.artefacts import whole_file
from dlb_core.contracts import FINAL_STATES, JobState, Message, Priority, SegmentationOptions
from dlb_core.documents import (
    API,
    ArtefactDocument,
    HealthDocument,
    JobDocument,
    JobPage,
    Problem,
    ResultsDocument,
)
from dlb_core.errors import (
    DownloadDamaged,
    ServiceFailed,
    ServiceRefused,
    ServiceUnreachable,
    UnreadableImage,
)

JSON = "application/json"
CHUNK_BYTES = 256 * 1024
TIMEOUT = httpx.Timeout(30.0, read=120.0)
"""Reading waits longer: after an upload the service checks and stores the images."""
MAX_POLL_S = 10.0
AWAY = (
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
)
"""What a proxy answers when it cannot reach the service."""
UNAVAILABLE_POLLS = 30
"""Polls in a row that may fail before `watch` gives up: a restart is not the end of a job."""
SUBMIT_ATTEMPTS = 4
"""Times that a case is sent before `submit` gives up; the service makes one job of them."""
FIRST_PAUSE_S = 0.5

ByteCallback = Callable[[int, int], None]
"""Called with bytes done and bytes in total."""
Document = TypeVar("Document", bound=Message)


def ignore_bytes(done: int, total: int) -> None:
    """Take no notice of bytes passing."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A job's document, and what its answer said about asking again."""

    job: JobDocument
    etag: str
    retry_after_s: float


class DlbClient:
    """Talks to one service.

    Every method raises `ServiceRefused` where the service finds fault with the request,
    `ServiceFailed` where the fault is the service's, `ServiceUnreachable` where trying again
    may help.

    Parameters
    ----------
    base_url : str
        E.g. http://127.0.0.1:8000.
    api_key : str, optional
        A key of the service, or a token of its identity provider.
    transport : httpx.BaseTransport, optional
        Another way to reach the service; for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={} if api_key is None else {"Authorization": f"Bearer {api_key}"},
            timeout=TIMEOUT,
            transport=transport,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        *,
        t1w: Path,
        flair: Path,
        options: SegmentationOptions | None = None,
        priority: Priority = Priority.ROUTINE,
        idempotency_key: str | None = None,
        on_bytes: ByteCallback = ignore_bytes,
    ) -> JobDocument:
        """Upload one case, streamed from disk; sent again where the service does not answer.

        Parameters
        ----------
        t1w, flair : Path
            NIfTI files, compressed or not.
        options : SegmentationOptions, optional
            The defaults if left out.
        priority : Priority
            How soon the job is begun while others wait.
        idempotency_key : str, optional
            Cases sent with one key are one job, also across restarts of the caller; a new key
            for each call if left out.
        on_bytes : ByteCallback
            Told how much of the form has been sent.

        Raises
        ------
        UnreadableImage
            A file does not exist or cannot be read here.
        """
        texts = {
            "options": (None, (options or SegmentationOptions()).model_dump_json(), JSON),
            "priority": (None, priority.value, "text/plain"),
        }
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}

        def send() -> httpx.Response:
            with _opened(t1w, "T1w") as t1w_file, _opened(flair, "FLAIR") as flair_file:
                meter = _Meter(on_bytes, total=_size(t1w_file) + _size(flair_file))
                # The names on our disk are nobody's business: they may be a patient's.
                form = {
                    "t1w": ("t1w.nii", _Metered(t1w_file, meter), "application/octet-stream"),
                    "flair": ("flair.nii", _Metered(flair_file, meter), "application/octet-stream"),
                }
                return self._request("POST", f"{API}/jobs", headers=headers, files=form | texts)

        return _parse(_patiently(send), JobDocument)

    def get(self, job_id: UUID) -> JobDocument:
        """Ask how a job stands."""
        return _parse(self._request("GET", _job_path(job_id)), JobDocument)

    def jobs(
        self, *, state: JobState | None = None, limit: int | None = None
    ) -> Iterator[JobDocument]:
        """Yield jobs, newest first, fetching page after page; at most `limit` of them."""
        left = limit
        path: str | None = f"{API}/jobs" + ("" if state is None else f"?state={state.value}")
        while path is not None and left != 0:
            page = _parse(self._request("GET", path), JobPage)
            jobs = page.jobs if left is None else page.jobs[:left]
            yield from jobs
            left = None if left is None else left - len(jobs)
            path = None if page.next is None else _below(page.next)

    def watch(self, job_id: UUID) -> Iterator[JobDocument]:
        """Yield a job's document each time it has changed, until the job has ended.

        A service that is away for a while is waited for.
        """
        seen = self._poll(job_id, None)
        yield seen.job
        while seen.job.state not in FINAL_STATES:
            time.sleep(min(seen.retry_after_s, MAX_POLL_S))
            latest = self._poll_patiently(job_id, seen)
            if latest.etag != seen.etag:
                yield latest.job
            seen = latest

    def wait(
        self, job_id: UUID, *, on_change: Callable[[JobDocument], None] | None = None
    ) -> JobDocument:
        """Wait for a job's end; returns its last document, whatever the end was."""
        for job in self.watch(job_id):
            if on_change is not None:
                on_change(job)
        return job

    def cancel(self, job_id: UUID) -> JobDocument | None:
        """Cancel a job that waits or runs; delete one that has ended, results included.

        Returns
        -------
        JobDocument or None
            The job while a worker has yet to stop; None when its files are gone.
        """
        answer = self._request("DELETE", _job_path(job_id))
        return _parse(answer, JobDocument) if answer.content else None

    def retry(self, job_id: UUID) -> JobDocument:
        """Let a job that failed or was cancelled be tried again, with the same images."""
        return _parse(self._request("POST", f"{_job_path(job_id)}/retry"), JobDocument)

    def results(self, job_id: UUID) -> ResultsDocument:
        """Fetch a successful job's report and list of files."""
        return _parse(self._request("GET", f"{_job_path(job_id)}/results"), ResultsDocument)

    def download(
        self, job_id: UUID, folder: Path, *, on_bytes: ByteCallback = ignore_bytes
    ) -> list[Path]:
        """Fetch all files of a successful job; each lands whole, its digest checked, or not.

        Parameters
        ----------
        folder : Path
            Made if need be; files of the same names are replaced.

        Raises
        ------
        DownloadDamaged
            A file's digest is not the one announced.
        """
        entries = self.results(job_id).artefacts
        total = sum(entry.size_bytes for entry in entries)
        folder.mkdir(parents=True, exist_ok=True)
        paths, done = [], 0
        for entry in entries:
            paths.append(self._download_one(entry, folder))
            done += entry.size_bytes
            on_bytes(done, total)
        return paths

    def ready(self) -> HealthDocument:
        """Ask whether the service can work; a failed check is an answer, not an error."""
        with _connection_errors():
            answer = self._http.get("/health/ready")
        return _parse(answer, HealthDocument)

    def _download_one(self, entry: ArtefactDocument, folder: Path) -> Path:
        """Fetch one file."""
        # The name comes from the other side: never let it lead out of the folder.
        path = folder / Path(entry.name).name
        with (
            _connection_errors(),
            self._http.stream("GET", _below(entry.href)) as answer,
            whole_file(path) as file,
        ):
            if not answer.is_success:
                answer.read()
            _raise_for_problem(answer)
            _copy_checked(answer.iter_bytes(CHUNK_BYTES), file, entry)
        return path

    def _poll(self, job_id: UUID, seen: _Seen | None) -> _Seen:
        """Read a job's document, unless it has not changed."""
        headers = {} if seen is None else {"If-None-Match": seen.etag}
        answer = self._request("GET", _job_path(job_id), headers=headers)
        unchanged = answer.status_code == httpx.codes.NOT_MODIFIED
        return _Seen(
            job=seen.job if unchanged and seen is not None else _parse(answer, JobDocument),
            etag=answer.headers.get("ETag", ""),
            retry_after_s=_seconds(answer.headers.get("Retry-After")),
        )

    def _poll_patiently(self, job_id: UUID, seen: _Seen) -> _Seen:
        """Poll; while the service is away, wait for it."""
        for _ in range(UNAVAILABLE_POLLS):
            try:
                return self._poll(job_id, seen)
            except ServiceUnreachable:
                time.sleep(max(seen.retry_after_s, 1.0))
        return self._poll(job_id, seen)

    def _request(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        files: Any = None,
    ) -> httpx.Response:
        """Send one request; what is not a success is raised."""
        with _connection_errors():
            answer = self._http.request(method, path, headers=headers, files=files)
        _raise_for_problem(answer)
        return answer


class _Meter:
    """Adds up the bytes of all files of a form."""

    def __init__(self, on_bytes: ByteCallback, *, total: int) -> None:
        self._on_bytes = on_bytes
        self._total = total
        self._done = 0

    def add(self, count: int) -> None:
        """Note that more bytes were sent."""
        self._done += count
        self._on_bytes(self._done, self._total)


class _Metered:
    """A file that tells how much of it is read; what httpx needs of a file, and no more."""

    def __init__(self, file: BinaryIO, meter: _Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int = -1) -> bytes:
        """Read on, and say so."""
        data = self._file.read(size)
        self._meter.add(len(data))
        return data

    def fileno(self) -> int:
        """Handle by which the file's length is found."""
        return self._file.fileno()


@contextmanager
def _opened(path: Path, role: str) -> Iterator[BinaryIO]:
    """Open an image to send."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableImage(f"{role}: cannot open the file: {error.strerror}") from error
    with file:
        yield file


def _patiently(send: Callable[[], httpx.Response]) -> httpx.Response:
    """Send a request that is safe to repeat; pause longer each time the service is away."""
    for attempt in range(SUBMIT_ATTEMPTS - 1):
        try:
            return send()
        except ServiceUnreachable:
            # Clients that failed together must not come back together.
            time.sleep(FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
    return send()


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _job_path(job_id: UUID) -> str:
    return f"{API}/jobs/{job_id}"


def _below(link: str) -> str:
    """Insist on a path of the service itself: the key must not be sent anywhere else."""
    if not link.startswith("/"):
        raise ServiceFailed("the service links to somewhere else: check its address")
    return link


def _seconds(retry_after: str | None) -> float:
    """Read Retry-After; a second if the service does not say."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 1.0


def _copy_checked(chunks: Iterable[bytes], file: BinaryIO, entry: ArtefactDocument) -> None:
    """Write a download, and insist that it is what was announced."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
    if digest.hexdigest() != entry.sha256:
        raise DownloadDamaged(f"{entry.name} did not arrive as it was sent: download it again")


def _parse(answer: httpx.Response, kind: type[Document]) -> Document:
    """Read a document that the service sent."""
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise ServiceFailed(
            "the answer is not one of this service's: check the address, and that client and "
            "service have the same version"
        ) from error


def _problem_of(answer: httpx.Response) -> Problem:
    """Read what went wrong; a proxy that cannot reach the service does not say it our way."""
    try:
        return _parse(answer, Problem)
    except ServiceFailed:
        if answer.status_code not in AWAY:
            raise
    raise ServiceUnreachable(
        f"something before the service answers {answer.status_code}: the service is away, "
        "or too slow; try again"
    )


def _raise_for_problem(answer: httpx.Response) -> None:
    """Turn a problem document into an exception."""
    if answer.status_code < httpx.codes.BAD_REQUEST:
        return
    problem = _problem_of(answer)
    message = "; ".join(
        [problem.detail, *(f"{fault.field}: {fault.message}" for fault in problem.errors)]
    )
    if problem.status in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.INSUFFICIENT_STORAGE):
        raise ServiceUnreachable(message)
    if problem.status == httpx.codes.TOO_MANY_REQUESTS and _passes_soon(answer):
        raise ServiceUnreachable(message)
    if answer.is_server_error:
        raise ServiceFailed(message)
    raise ServiceRefused(message, code=problem.code, status=problem.status)


def _passes_soon(answer: httpx.Response) -> bool:
    """Whether a refusal for too many requests is worth waiting out; a day's quota is not."""
    return _seconds(answer.headers.get("Retry-After")) <= MAX_POLL_S


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn the connection's errors into ours."""
    try:
        yield
    except httpx.TransportError as error:
        raise ServiceUnreachable(
            "the service does not answer: check its address, and that it runs"
        ) from error
