"""Send the cases of a batch, wait for their jobs, fetch what came out, write one table.

Every step may be repeated, so a run that was killed is gone on with by running it again: cases
that were accepted are not sent again, one whose acceptance was not noted is, with its own
idempotency key, and files that are there are not fetched again.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from dlb_core.artefacts import write_text
from dlb_core.batch.cases import Case, case_name
from dlb_core.batch.ledger import Ledger
from dlb_core.client import DlbClient
from dlb_core.contracts import FINAL_STATES, JobState, Priority
from dlb_core.documents import BatchCaseDocument, BatchCaseRequest, BatchDocument, BatchRequest
from dlb_core.errors import DownloadDamaged, InputError, ServiceRefused, ServiceUnreachable

COHORT = "cohort.csv"
POLL_S = 5.0
DOWNLOADS = 3
"""Times that a file is fetched whose bytes are not those announced."""
AWAY_S = 3600.0
"""How long a service that is away or full is waited for."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a batch stands, for a display."""

    total: int
    sent: int
    ended: int = 0
    failed: int = 0
    fetched: int = 0
    now: str = ""
    """What is being done, in words."""
    share: float = 0.0
    """Of what is being done, e.g. of an upload."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A case that the service did not accept."""

    case: Case
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch."""

    batch: BatchDocument | None
    """None: not one case was accepted."""
    refused: tuple[Refused, ...]


@dataclass(slots=True)
class BatchRun:
    """One run of a batch.

    Parameters
    ----------
    client : DlbClient
    ledger : Ledger
    name : str
        The batch's, on the service.
    priority : Priority
    wanted : callable
        Told a result file's name, whether to fetch it.
    on_change : callable
        Told how the batch stands.
    """

    client: DlbClient
    ledger: Ledger
    name: str
    priority: Priority
    wanted: Callable[[str], bool]
    on_change: Callable[[Standing], None]
    retry_failed: bool = False
    """Whether jobs that have failed are tried again first."""

    def run(self, cases: tuple[Case, ...]) -> Outcome:
        """Do it all.

        Raises
        ------
        ServiceUnreachable
            The service was away for long: run it again later.
        DlbError
            As the client has it.
        """
        refused = self._send(cases)
        accepted = [case for case in cases if case.name in self.ledger.jobs]
        if not accepted:
            return Outcome(None, tuple(refused))
        batch = self._patiently(lambda: self._make(accepted))
        if self.retry_failed:
            batch = self._retry(batch)
        batch = self._gather(batch)
        table = self._patiently(lambda: self.client.cohort(batch.id))
        write_text(self.ledger.folder / COHORT, table)
        return Outcome(batch, tuple(refused))

    def _send(self, cases: tuple[Case, ...]) -> list[Refused]:
        """Upload what was not uploaded yet; what is refused does not stop the others."""
        refused: list[Refused] = []
        for case in cases:
            if case.name in self.ledger.jobs:
                continue
            try:
                self._send_one(case, len(cases))
            except InputError as error:
                refused.append(Refused(case, error.code, str(error)))
        return refused

    def _send_one(self, case: Case, total: int) -> None:
        def show(done: int, size: int) -> None:
            sent = len(self.ledger.jobs)
            words = f"sending {case.name}"
            self.on_change(Standing(total, sent, now=words, share=done / max(size, 1)))

        job = self._patiently(
            lambda: self.client.submit(
                t1w=case.t1w,
                flair=case.flair,
                options=self.ledger.head.options,
                priority=self.priority,
                idempotency_key=self.ledger.key(case.name),
                on_bytes=show,
            )
        )
        self.ledger.note(case.name, job.id)

    def _make(self, cases: list[Case]) -> BatchDocument:
        """Make the batch on the service; with other cases than last time it is another batch."""
        rows = tuple(
            BatchCaseRequest(
                subject=case.subject, session=case.session, job=self.ledger.jobs[case.name]
            )
            for case in cases
        )
        manifest = BatchRequest(name=self.name, cases=rows)
        digest = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()
        return self.client.make_batch(manifest, idempotency_key=self.ledger.key(digest))

    def _retry(self, batch: BatchDocument) -> BatchDocument:
        """Let failed jobs be tried again; whose images are no longer kept stays as it is."""
        for case in batch.cases:
            if case.state is JobState.FAILED:
                with contextlib.suppress(ServiceRefused):
                    self._patiently(partial(self.client.retry, case.job))
        return self._patiently(lambda: self.client.batch(batch.id))

    def _gather(self, batch: BatchDocument) -> BatchDocument:
        """Fetch each job's files once it has succeeded, until all jobs have ended."""
        fetched: set[str] = set()
        batch_id = batch.id
        while True:
            for case in batch.cases:
                if case.state is JobState.SUCCESSFUL and str(case.job) not in fetched:
                    self.on_change(
                        _standing(
                            batch, fetched, f"fetching {case_name(case.subject, case.session)}"
                        )
                    )
                    self._fetch(case)
                    fetched.add(str(case.job))
            self.on_change(_standing(batch, fetched, "done" if batch.ended else "waiting"))
            if batch.ended:
                return batch
            # The document of thousands of cases is long.
            time.sleep(POLL_S * (1 + batch.total / 1000))
            batch = self._patiently(lambda: self.client.batch(batch_id))

    def _fetch(self, case: BatchCaseDocument) -> None:
        """Fetch a case's files; one that was deleted meanwhile is passed over."""
        folder = self.ledger.folder / case_name(case.subject, case.session)
        for attempt in range(1, DOWNLOADS + 1):
            try:
                self._patiently(lambda: self.client.download(case.job, folder, wanted=self.wanted))
            except DownloadDamaged:
                if attempt == DOWNLOADS:
                    raise
            except ServiceRefused as refusal:
                if refusal.status not in (404, 410):
                    raise
                return
            else:
                return

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask; while the service is away or full, wait for it."""
        deadline = time.monotonic() + AWAY_S
        while True:
            try:
                return ask()
            except ServiceUnreachable as error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(max(POLL_S, error.retry_after_s or 0.0))


def _standing(batch: BatchDocument, fetched: set[str], now: str) -> Standing:
    ended = [case for case in batch.cases if case.state is None or case.state in FINAL_STATES]
    failed = [case for case in ended if case.state is not JobState.SUCCESSFUL]
    return Standing(
        total=batch.total,
        sent=batch.total,
        ended=len(ended),
        failed=len(failed),
        fetched=len(fetched),
        now=now,
    )
