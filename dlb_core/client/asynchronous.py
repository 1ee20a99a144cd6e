"""The client for programs that do other things meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx

from dlb_core.client.answers import connection_errors
from dlb_core.client.case import Case, case_of
from dlb_core.client.requests import Requests
from dlb_core.client.steps import Call, End, Fetch, Flow, Item, Outcome, Pause, Step, resume
from dlb_core.client.synchronous import ATTEMPTS, TIMEOUT, all_files, authorization
from dlb_core.client.transfers import ByteCallback, ignore_bytes, opened_form
from dlb_core.contracts import ComparisonState, JobState, Priority, SegmentationOptions
from dlb_core.dicom.wishes import NamedSeries
from dlb_core.documents import (
    BatchDocument,
    BatchRequest,
    HealthDocument,
    JobDocument,
    ResultsDocument,
)
from dlb_core.errors import ServiceUnreachable
from dlb_core.longitudinal.requests import (
    ComparisonChoices,
    ComparisonDocument,
    ComparisonRequest,
)

T = TypeVar("T")


class AsyncDlbClient:
    """Talks to one service; what `DlbClient` does, awaited.

    Parameters
    ----------
    base_url, api_key, attempts
        As `DlbClient` has them.
    transport : httpx.AsyncBaseTransport, optional
        Another way to reach the service; for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        attempts: int = ATTEMPTS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._requests = Requests(attempts)
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers=authorization(api_key),
            timeout=TIMEOUT,
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(
        self,
        *,
        t1w: Path | None = None,
        flair: Path | None = None,
        study: Path | None = None,
        series: NamedSeries | None = None,
        options: SegmentationOptions | None = None,
        priority: Priority = Priority.ROUTINE,
        idempotency_key: str | None = None,
        on_bytes: ByteCallback = ignore_bytes,
    ) -> JobDocument:
        """Upload one case, streamed from disk, as `DlbClient.submit` does."""
        flow = self._requests.submit(
            case=case_of(t1w=t1w, flair=flair, study=study, series=series),
            options=options,
            priority=priority,
            idempotency_key=idempotency_key,
            on_bytes=on_bytes,
        )
        return await self._run(flow)

    async def get(self, job_id: UUID) -> JobDocument:
        """Ask how a job stands."""
        return await self._run(self._requests.get(job_id))

    def jobs(
        self, *, state: JobState | None = None, limit: int | None = None
    ) -> AsyncIterator[JobDocument]:
        """Yield jobs, newest first, fetching page after page; at most `limit` of them."""
        return self._items(self._requests.jobs(state, limit))

    def watch(self, job_id: UUID) -> AsyncIterator[JobDocument]:
        """Yield a job's document each time it has changed, until the job has ended."""
        return self._items(self._requests.watch(job_id))

    async def wait(
        self, job_id: UUID, *, on_change: Callable[[JobDocument], None] | None = None
    ) -> JobDocument:
        """Wait for a job's end; returns its last document, whatever the end was."""
        async for job in self.watch(job_id):
            if on_change is not None:
                on_change(job)
        return job

    async def cancel(self, job_id: UUID) -> JobDocument | None:
        """Cancel a job that waits or runs; delete one that has ended, results included."""
        return await self._run(self._requests.cancel(job_id))

    async def retry(self, job_id: UUID) -> JobDocument:
        """Let a job that failed or was cancelled be tried again, with the same images."""
        return await self._run(self._requests.retry(job_id))

    async def results(self, job_id: UUID) -> ResultsDocument:
        """Fetch a successful job's report and list of files."""
        return await self._run(self._requests.results(job_id))

    async def download(
        self,
        job_id: UUID,
        folder: Path,
        *,
        wanted: Callable[[str], bool] = all_files,
        on_bytes: ByteCallback = ignore_bytes,
    ) -> list[Path]:
        """Fetch files of a successful job, as `DlbClient.download` does."""
        flow = self._requests.download(job_id, folder, wanted=wanted, on_bytes=on_bytes)
        return await self._run(flow)

    async def compare(
        self,
        first: UUID,
        second: UUID,
        *,
        label: str = "",
        ignore_differences: bool = False,
        idempotency_key: str | None = None,
    ) -> ComparisonDocument:
        """Have two successful jobs of one person compared, as `DlbClient.compare` does."""
        request = ComparisonRequest(
            first=first, second=second, label=label, ignore_differences=ignore_differences
        )
        return await self._run(self._requests.compare(request, idempotency_key))

    async def compare_scans(
        self,
        first: Case,
        second: Case,
        *,
        label: str = "",
        ignore_differences: bool = False,
        options: SegmentationOptions | None = None,
        priority: Priority = Priority.ROUTINE,
        idempotency_key: str | None = None,
        on_bytes: ByteCallback = ignore_bytes,
    ) -> ComparisonDocument:
        """Upload two visits' scans, as `DlbClient.compare_scans` does."""
        flow = self._requests.compare_scans(
            (first, second),
            ComparisonChoices(label=label, ignore_differences=ignore_differences),
            options=options,
            priority=priority,
            idempotency_key=idempotency_key,
            on_bytes=on_bytes,
        )
        return await self._run(flow)

    async def comparison(self, comparison_id: UUID) -> ComparisonDocument:
        """Ask how a comparison stands."""
        return await self._run(self._requests.comparison(comparison_id))

    def comparisons(
        self, *, state: ComparisonState | None = None, limit: int | None = None
    ) -> AsyncIterator[ComparisonDocument]:
        """Yield comparisons, newest first, as `jobs` does jobs."""
        return self._items(self._requests.comparisons(state, limit))

    async def wait_for_comparison(
        self,
        comparison_id: UUID,
        *,
        on_change: Callable[[ComparisonDocument], None] = lambda _: None,
    ) -> ComparisonDocument:
        """Wait for a comparison's end; returns its last document, whatever the end was."""
        return await self._run(self._requests.wait_for_comparison(comparison_id, on_change))

    async def download_comparison(
        self,
        comparison_id: UUID,
        folder: Path,
        *,
        wanted: Callable[[str], bool] = all_files,
        on_bytes: ByteCallback = ignore_bytes,
    ) -> list[Path]:
        """Fetch files of a successful comparison, as `download` does those of a job."""
        flow = self._requests.download_comparison(
            comparison_id, folder, wanted=wanted, on_bytes=on_bytes
        )
        return await self._run(flow)

    async def remove_comparison(self, comparison_id: UUID) -> None:
        """Delete a comparison, whatever its state; its jobs stay."""
        await self._run(self._requests.remove_comparison(comparison_id))

    async def make_batch(
        self, manifest: BatchRequest, *, idempotency_key: str | None = None
    ) -> BatchDocument:
        """Make a batch of jobs that were submitted; one manifest sent with one key is one batch."""
        return await self._run(self._requests.make_batch(manifest, idempotency_key))

    async def batch(self, batch_id: UUID) -> BatchDocument:
        """Ask how a batch's jobs stand."""
        return await self._run(self._requests.batch(batch_id))

    async def cohort(self, batch_id: UUID) -> str:
        """Fetch a batch's table: CSV, a row a case."""
        return await self._run(self._requests.cohort(batch_id))

    async def ready(self) -> HealthDocument:
        """Ask whether the service can work; a failed check is an answer, not an error."""
        return await self._run(self._requests.ready())

    async def _run(self, flow: Flow[T]) -> T:
        """Take a flow's steps to its end; it hands nothing over on its way."""
        step = resume(flow, None)
        while not isinstance(step, End):
            step = resume(flow, await self._outcome(step))
        return step.value

    async def _items(self, flow: Flow[None]) -> AsyncIterator[Any]:
        """Take a flow's steps, and hand over what it hands over."""
        step = resume(flow, None)
        while not isinstance(step, End):
            if isinstance(step, Item):
                yield step.document
            step = resume(flow, await self._outcome(step))

    async def _outcome(self, step: Step) -> Outcome:
        try:
            return await self._take(step)
        except ServiceUnreachable as error:
            return error

    async def _take(self, step: Step) -> httpx.Response | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        elif isinstance(step, Fetch):
            return await self._fetch(step)
        elif isinstance(step, Call):
            return await self._call(step)
        return None

    async def _call(self, call: Call) -> httpx.Response:
        form = call.form
        if form is None:
            with connection_errors():
                return await self._http.request(
                    call.method, call.path, headers=call.headers, content=call.content
                )
        # Reading a chunk from disk is quick; httpx hands control back between two of them.
        with (
            opened_form(form.images, form.texts, form.on_bytes) as parts,
            connection_errors(),
        ):
            return await self._http.request(
                call.method, call.path, headers=call.headers, files=parts
            )

    async def _fetch(self, fetch: Fetch) -> httpx.Response:
        with connection_errors():
            async with self._http.stream("GET", fetch.path, headers=fetch.headers) as answer:
                if not answer.is_success:
                    await answer.aread()
                    return answer
                fetch.sink.begin(answer)
                async for chunk in answer.aiter_bytes():
                    fetch.sink.write(chunk)
                return answer
