"""Everything that can be asked of a service, as flows (`steps.py`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from uuid import UUID, uuid4

import httpx

from dlb_core.client.answers import below, parse, retry_after
from dlb_core.client.case import Case
from dlb_core.client.steps import Call, Fetch, Flow, Form, Item, Pause, once, patiently
from dlb_core.client.transfers import ByteCallback, PartialFile
from dlb_core.contracts import (
    ENDED_COMPARISONS,
    FINAL_STATES,
    ComparisonState,
    JobState,
    Message,
    Priority,
    SegmentationOptions,
)
from dlb_core.dicom.wishes import NamedSeries
from dlb_core.documents import (
    API,
    ArtefactDocument,
    BatchDocument,
    BatchRequest,
    HealthDocument,
    JobDocument,
    JobPage,
    ResultsDocument,
)
from dlb_core.errors import ServiceUnreachable
from dlb_core.longitudinal.naming import VISITS
from dlb_core.longitudinal.requests import (
    ComparisonChoices,
    ComparisonDocument,
    ComparisonPage,
    ComparisonRequest,
)

COMPARISONS = f"{API}/comparisons"
MAX_POLL_S = 10.0
AWAY_POLLS = 30
"""Polls in a row that may fail before `watch` gives up: a restart is not the end of a job."""


Document = TypeVar("Document", JobDocument, ComparisonDocument)
Page = TypeVar("Page", JobPage, ComparisonPage)


@dataclass(frozen=True, slots=True)
class _Seen(Generic[Document]):
    """A document, and what its answer said about asking again."""

    document: Document
    etag: str
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes flows.

    Parameters
    ----------
    attempts : int
        Times that what is safe to repeat is tried.
    """

    attempts: int

    def submit(
        self,
        *,
        case: Case,
        options: SegmentationOptions | None,
        priority: Priority,
        idempotency_key: str | None,
        on_bytes: ByteCallback,
    ) -> Flow[JobDocument]:
        """Send a case; the key makes one job of all attempts."""
        texts = _texts_of(options, priority) | _texts_about(case)
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        call = Call("POST", f"{API}/jobs", headers, Form(case.images, texts, on_bytes))
        return parse((yield from patiently(lambda: call, self.attempts)), JobDocument)

    def get(self, job_id: UUID) -> Flow[JobDocument]:
        """Read a job."""
        return parse((yield from self._read(_job_path(job_id))), JobDocument)

    def jobs(self, state: JobState | None, limit: int | None) -> Flow[None]:
        """Yield jobs, page after page."""
        yield from self._listed(
            f"{API}/jobs", JobPage, lambda page: page.jobs, state=state, limit=limit
        )

    def watch(self, job_id: UUID) -> Flow[None]:
        """Yield a job each time it has changed, until it has ended."""
        path = _job_path(job_id)
        seen = yield from self._poll(path, JobDocument, None)
        yield Item(seen.document)
        while seen.document.state not in FINAL_STATES:
            latest = yield from self._next(path, JobDocument, seen)
            if latest.etag != seen.etag:
                yield Item(latest.document)
            seen = latest

    def cancel(self, job_id: UUID) -> Flow[JobDocument | None]:
        """Cancel or delete a job; sent once, for the job may be gone after the first time."""
        answer = yield from once(Call("DELETE", _job_path(job_id)))
        return parse(answer, JobDocument) if answer.content else None

    def retry(self, job_id: UUID) -> Flow[JobDocument]:
        """Let a job be tried again; sent once, for it is no longer to be retried afterwards."""
        return parse((yield from once(Call("POST", f"{_job_path(job_id)}/retry"))), JobDocument)

    def results(self, job_id: UUID) -> Flow[ResultsDocument]:
        """Read a job's results."""
        return parse((yield from self._read(f"{_job_path(job_id)}/results")), ResultsDocument)

    def download(
        self,
        job_id: UUID,
        folder: Path,
        *,
        wanted: Callable[[str], bool],
        on_bytes: ByteCallback,
    ) -> Flow[list[Path]]:
        """Fetch a job's files."""
        results = yield from self.results(job_id)
        entries = [entry for entry in results.artefacts if wanted(entry.name)]
        return (yield from self._download(entries, folder, on_bytes))

    def compare(
        self, request: ComparisonRequest, idempotency_key: str | None
    ) -> Flow[ComparisonDocument]:
        """Have two jobs compared; the key makes one comparison of all attempts."""
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key or uuid4().hex,
        }
        content = request.model_dump_json().encode()
        call = Call("POST", COMPARISONS, headers, content=content)
        return parse((yield from patiently(lambda: call, self.attempts)), ComparisonDocument)

    def compare_scans(
        self,
        cases: tuple[Case, Case],
        choices: ComparisonChoices,
        *,
        options: SegmentationOptions | None,
        priority: Priority,
        idempotency_key: str | None,
        on_bytes: ByteCallback,
    ) -> Flow[ComparisonDocument]:
        """Send two visits' scans; the key makes two jobs and one comparison of all attempts."""
        texts = _texts_of(options, priority) | {"comparison": _json_part(choices)}
        images: dict[str, Path] = {}
        for visit, case in zip(VISITS, cases, strict=True):
            images |= {f"{visit}_{part}": path for part, path in case.images.items()}
            texts |= {f"{visit}_{part}": text for part, text in _texts_about(case).items()}
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        call = Call("POST", COMPARISONS, headers, Form(images, texts, on_bytes))
        return parse((yield from patiently(lambda: call, self.attempts)), ComparisonDocument)

    def comparisons(self, state: ComparisonState | None, limit: int | None) -> Flow[None]:
        """Yield comparisons, page after page."""
        yield from self._listed(
            COMPARISONS,
            ComparisonPage,
            lambda page: page.comparisons,
            state=state,
            limit=limit,
        )

    def comparison(self, comparison_id: UUID) -> Flow[ComparisonDocument]:
        """Read a comparison."""
        return parse((yield from self._read(_comparison_path(comparison_id))), ComparisonDocument)

    def wait_for_comparison(
        self, comparison_id: UUID, on_change: Callable[[ComparisonDocument], None]
    ) -> Flow[ComparisonDocument]:
        """Poll a comparison to its end."""
        path = _comparison_path(comparison_id)
        seen = yield from self._poll(path, ComparisonDocument, None)
        on_change(seen.document)
        while seen.document.state not in ENDED_COMPARISONS:
            latest = yield from self._next(path, ComparisonDocument, seen)
            if latest.etag != seen.etag:
                on_change(latest.document)
            seen = latest
        return seen.document

    def download_comparison(
        self,
        comparison_id: UUID,
        folder: Path,
        *,
        wanted: Callable[[str], bool],
        on_bytes: ByteCallback,
    ) -> Flow[list[Path]]:
        """Fetch a comparison's files; there are none before it is successful."""
        document = yield from self.comparison(comparison_id)
        entries = [entry for entry in document.artefacts if wanted(entry.name)]
        return (yield from self._download(entries, folder, on_bytes))

    def remove_comparison(self, comparison_id: UUID) -> Flow[None]:
        """Delete a comparison; sent once, for it is gone after the first time."""
        yield from once(Call("DELETE", _comparison_path(comparison_id)))

    def _listed(
        self,
        path: str,
        kind: type[Page],
        items: Callable[[Page], Sequence[Message]],
        *,
        state: JobState | ComparisonState | None,
        limit: int | None,
    ) -> Flow[None]:
        """Yield what a list holds, page after page."""
        left = limit
        ahead: str | None = path if state is None else f"{path}?state={state.value}"
        while ahead is not None and left != 0:
            page = parse((yield from self._read(ahead)), kind)
            listed = items(page)[:left]
            for item in listed:
                yield Item(item)
            left = None if left is None else left - len(listed)
            ahead = None if page.next is None else below(page.next)

    def _download(
        self, entries: list[ArtefactDocument], folder: Path, on_bytes: ByteCallback
    ) -> Flow[list[Path]]:
        """Fetch files, one after another."""
        total = sum(entry.size_bytes for entry in entries)
        folder.mkdir(parents=True, exist_ok=True)
        paths, before = [], 0
        for entry in entries:

            def tell(size: int, before: int = before) -> None:
                on_bytes(before + size, total)

            paths.append((yield from self._fetch(entry, folder, tell)))
            before += entry.size_bytes
            on_bytes(before, total)
        return paths

    def make_batch(
        self, manifest: BatchRequest, idempotency_key: str | None
    ) -> Flow[BatchDocument]:
        """Make a batch; the key makes one batch of all attempts."""
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key or uuid4().hex,
        }
        content = manifest.model_dump_json().encode()
        call = Call("POST", f"{API}/batches", headers, content=content)
        return parse((yield from patiently(lambda: call, self.attempts)), BatchDocument)

    def batch(self, batch_id: UUID) -> Flow[BatchDocument]:
        """Read a batch."""
        return parse((yield from self._read(f"{API}/batches/{batch_id}")), BatchDocument)

    def cohort(self, batch_id: UUID) -> Flow[str]:
        """Read a batch's table."""
        return (yield from self._read(f"{API}/batches/{batch_id}/cohort.csv")).text

    def ready(self) -> Flow[HealthDocument]:
        """Ask whether the service can work; a failed check is an answer."""
        answer = yield from once(Call("GET", "/health/ready", any_status=True))
        return parse(answer, HealthDocument)

    def _fetch(
        self, entry: ArtefactDocument, folder: Path, on_size: Callable[[int], None]
    ) -> Flow[Path]:
        """Fetch one file, going on where an earlier attempt broke off."""
        file = PartialFile(entry, folder, on_size=on_size)
        if file.is_there:
            return file.path
        if not file.is_whole:
            href = below(entry.href)
            yield from patiently(
                lambda: Fetch(href, file.headers(), file), self.attempts, come=lambda: file.size
            )
        return file.finish()

    def _read(self, path: str) -> Flow[httpx.Response]:
        return (yield from patiently(lambda: Call("GET", path), self.attempts))

    def _poll(
        self, path: str, kind: type[Document], seen: _Seen[Document] | None
    ) -> Flow[_Seen[Document]]:
        """Read a document, unless it has not changed."""
        headers = {} if seen is None else {"If-None-Match": seen.etag}
        answer = yield from once(Call("GET", path, headers))
        unchanged = answer.status_code == httpx.codes.NOT_MODIFIED
        return _Seen(
            document=seen.document if unchanged and seen is not None else parse(answer, kind),
            etag=answer.headers.get("ETag", ""),
            retry_after_s=retry_after(answer) or 1.0,
        )

    def _next(
        self, path: str, kind: type[Document], seen: _Seen[Document]
    ) -> Flow[_Seen[Document]]:
        """Poll, as soon as the service has asked for; while it is away, wait for it."""
        yield Pause(min(seen.retry_after_s, MAX_POLL_S))
        for _ in range(AWAY_POLLS):
            try:
                return (yield from self._poll(path, kind, seen))
            except ServiceUnreachable as error:
                yield Pause(max(seen.retry_after_s, error.retry_after_s or 0.0))
        return (yield from self._poll(path, kind, seen))


def _job_path(job_id: UUID) -> str:
    return f"{API}/jobs/{job_id}"


def _comparison_path(comparison_id: UUID) -> str:
    return f"{COMPARISONS}/{comparison_id}"


def _json_part(document: Message) -> tuple[str, str]:
    """A part of a form: its text, and what that is."""
    return document.model_dump_json(), "application/json"


def _texts_about(case: Case) -> dict[str, tuple[str, str]]:
    """What is said of one case's files, part by part."""
    texts = {}
    if case.series != NamedSeries():
        texts["series"] = _json_part(case.series)
    if case.scan_date is not None:
        texts["scan_date"] = case.scan_date.isoformat(), "text/plain"
    return texts


def _texts_of(
    options: SegmentationOptions | None, priority: Priority
) -> dict[str, tuple[str, str]]:
    """What is said of scans, whatever they are for."""
    return {
        "options": _json_part(options or SegmentationOptions()),
        "priority": (priority.value, "text/plain"),
    }
