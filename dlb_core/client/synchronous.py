"""The client that waits for each answer."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx

from dlb_core.client.answers import connection_errors
from dlb_core.client.case import Case, case_of
from dlb_core.client.requests import Requests
from dlb_core.client.steps import Call, End, Fetch, Flow, Item, Outcome, Pause, Step, resume
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

TIMEOUT = httpx.Timeout(30.0, read=120.0)
"""Reading waits longer: after an upload the service checks and stores the images."""
ATTEMPTS = 4
"""Times that what is safe to repeat is tried; the service makes one job of a repeated case."""

T = TypeVar("T")


def all_files(name: str) -> bool:
    """Every file is wanted."""
    return True


class DlbClient:
    """Talks to one service.

    Every method raises `ServiceRefused` where the service finds fault with the request,
    `ServiceFailed` where the fault is the service's, `ServiceUnreachable` where trying again
    may help. Reading, submitting and downloading are tried again by themselves, after pauses
    that are partly chance and as long as `Retry-After` asks for.

    Parameters
    ----------
    base_url : str
        E.g. http://127.0.0.1:8000.
    api_key : str, optional
        A key of the service, or a token of its identity provider.
    attempts : int
        Times that what is safe to repeat is tried.
    transport : httpx.BaseTransport, optional
        Another way to reach the service; for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        attempts: int = ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._requests = Requests(attempts)
        self._http = httpx.Client(
            base_url=base_url,
            headers=authorization(api_key),
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
        t1w: Path | None = None,
        flair: Path | None = None,
        study: Path | None = None,
        series: NamedSeries | None = None,
        options: SegmentationOptions | None = None,
        priority: Priority = Priority.ROUTINE,
        idempotency_key: str | None = None,
        on_bytes: ByteCallback = ignore_bytes,
    ) -> JobDocument:
        """Upload one case, streamed from disk.

        Parameters
        ----------
        t1w, flair : Path
            NIfTI files, compressed or not; or zip archives of DICOM files.
        study : Path
            In place of both: one archive of DICOM files that holds both series.
        series : NamedSeries, optional
            Of DICOM: series that are to be taken, whatever the rules would choose.
        options : SegmentationOptions, optional
            The defaults if left out.
        priority : Priority
            How soon the job is begun while others wait.
        idempotency_key : str, optional
            Cases sent with one key are one job, also across restarts of the caller; a new key
            for each call if left out.
        on_bytes : ByteCallback
            Told how much of the images has been sent.

        Raises
        ------
        UnreadableImage
            A file does not exist or cannot be read here.
        BadOption
            Neither both images nor a study.
        """
        flow = self._requests.submit(
            case=case_of(t1w=t1w, flair=flair, study=study, series=series),
            options=options,
            priority=priority,
            idempotency_key=idempotency_key,
            on_bytes=on_bytes,
        )
        return self._run(flow)

    def get(self, job_id: UUID) -> JobDocument:
        """Ask how a job stands."""
        return self._run(self._requests.get(job_id))

    def jobs(
        self, *, state: JobState | None = None, limit: int | None = None
    ) -> Iterator[JobDocument]:
        """Yield jobs, newest first, fetching page after page; at most `limit` of them."""
        return self._items(self._requests.jobs(state, limit))

    def watch(self, job_id: UUID) -> Iterator[JobDocument]:
        """Yield a job's document each time it has changed, until the job has ended.

        A service that is away for a while is waited for.
        """
        return self._items(self._requests.watch(job_id))

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
        return self._run(self._requests.cancel(job_id))

    def retry(self, job_id: UUID) -> JobDocument:
        """Let a job that failed or was cancelled be tried again, with the same images."""
        return self._run(self._requests.retry(job_id))

    def results(self, job_id: UUID) -> ResultsDocument:
        """Fetch a successful job's report and list of files."""
        return self._run(self._requests.results(job_id))

    def download(
        self,
        job_id: UUID,
        folder: Path,
        *,
        wanted: Callable[[str], bool] = all_files,
        on_bytes: ByteCallback = ignore_bytes,
    ) -> list[Path]:
        """Fetch files of a successful job; each lands whole, its digest checked, or not.

        What is there already is not fetched again, and a file whose download broke off, in this
        call or an earlier one, goes on where it was.

        Parameters
        ----------
        folder : Path
            Made if need be; other files of the same names are replaced.
        wanted : callable
            Told a file's name, whether to fetch it; all, if left out.
        on_bytes : ByteCallback
            Told how much of them is there.

        Raises
        ------
        DownloadDamaged
            A file's digest is not the one announced.
        """
        return self._run(self._requests.download(job_id, folder, wanted=wanted, on_bytes=on_bytes))

    def compare(
        self,
        first: UUID,
        second: UUID,
        *,
        label: str = "",
        ignore_differences: bool = False,
        idempotency_key: str | None = None,
    ) -> ComparisonDocument:
        """Have two successful jobs of one person compared.

        Parameters
        ----------
        first, second : UUID
            Jobs of the earlier and of the later visit.
        label : str
            Printed on the report.
        ignore_differences : bool
            Go on where a check says that the visits cannot be compared.
        idempotency_key : str, optional
            What is asked for with one key is one comparison, also across restarts of the caller;
            a new key for each call if left out.
        """
        request = ComparisonRequest(
            first=first, second=second, label=label, ignore_differences=ignore_differences
        )
        return self._run(self._requests.compare(request, idempotency_key))

    def compare_scans(
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
        """Upload two visits' scans: two jobs, and a comparison that begins once they have ended.

        Parameters
        ----------
        first, second : Case
            Scans of the earlier and of the later visit: `case_of(t1w=..., flair=...)`.
        label, ignore_differences, idempotency_key
            As `compare` has them.
        options, priority
            Of both jobs.
        on_bytes : ByteCallback
            Told how much of the images has been sent.
        """
        flow = self._requests.compare_scans(
            (first, second),
            ComparisonChoices(label=label, ignore_differences=ignore_differences),
            options=options,
            priority=priority,
            idempotency_key=idempotency_key,
            on_bytes=on_bytes,
        )
        return self._run(flow)

    def comparison(self, comparison_id: UUID) -> ComparisonDocument:
        """Ask how a comparison stands."""
        return self._run(self._requests.comparison(comparison_id))

    def comparisons(
        self, *, state: ComparisonState | None = None, limit: int | None = None
    ) -> Iterator[ComparisonDocument]:
        """Yield comparisons, newest first, as `jobs` does jobs."""
        return self._items(self._requests.comparisons(state, limit))

    def wait_for_comparison(
        self,
        comparison_id: UUID,
        *,
        on_change: Callable[[ComparisonDocument], None] = lambda _: None,
    ) -> ComparisonDocument:
        """Wait for a comparison's end; returns its last document, whatever the end was."""
        return self._run(self._requests.wait_for_comparison(comparison_id, on_change))

    def download_comparison(
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
        return self._run(flow)

    def remove_comparison(self, comparison_id: UUID) -> None:
        """Delete a comparison, whatever its state; its jobs stay."""
        self._run(self._requests.remove_comparison(comparison_id))

    def make_batch(
        self, manifest: BatchRequest, *, idempotency_key: str | None = None
    ) -> BatchDocument:
        """Make a batch of jobs that were submitted; one manifest sent with one key is one batch."""
        return self._run(self._requests.make_batch(manifest, idempotency_key))

    def batch(self, batch_id: UUID) -> BatchDocument:
        """Ask how a batch's jobs stand."""
        return self._run(self._requests.batch(batch_id))

    def cohort(self, batch_id: UUID) -> str:
        """Fetch a batch's table: CSV, a row a case."""
        return self._run(self._requests.cohort(batch_id))

    def ready(self) -> HealthDocument:
        """Ask whether the service can work; a failed check is an answer, not an error."""
        return self._run(self._requests.ready())

    def _run(self, flow: Flow[T]) -> T:
        """Take a flow's steps to its end; it hands nothing over on its way."""
        step = resume(flow, None)
        while not isinstance(step, End):
            step = resume(flow, self._outcome(step))
        return step.value

    def _items(self, flow: Flow[None]) -> Iterator[Any]:
        """Take a flow's steps, and hand over what it hands over."""
        step = resume(flow, None)
        while not isinstance(step, End):
            if isinstance(step, Item):
                yield step.document
            step = resume(flow, self._outcome(step))

    def _outcome(self, step: Step) -> Outcome:
        try:
            return self._take(step)
        except ServiceUnreachable as error:
            return error

    def _take(self, step: Step) -> httpx.Response | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
        elif isinstance(step, Fetch):
            return self._fetch(step)
        elif isinstance(step, Call):
            return self._call(step)
        return None

    def _call(self, call: Call) -> httpx.Response:
        form = call.form
        if form is None:
            with connection_errors():
                return self._http.request(
                    call.method, call.path, headers=call.headers, content=call.content
                )
        with (
            opened_form(form.images, form.texts, form.on_bytes) as parts,
            connection_errors(),
        ):
            return self._http.request(call.method, call.path, headers=call.headers, files=parts)

    def _fetch(self, fetch: Fetch) -> httpx.Response:
        with (
            connection_errors(),
            self._http.stream("GET", fetch.path, headers=fetch.headers) as answer,
        ):
            if not answer.is_success:
                answer.read()
                return answer
            fetch.sink.begin(answer)
            # As they come: what is gathered into larger chunks is lost when the line breaks.
            for chunk in answer.iter_bytes():
                fetch.sink.write(chunk)
            return answer


def authorization(api_key: str | None) -> dict[str, str]:
    """The header that carries a key, if there is one."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
