"""Clients as they are: patient, slow, gone in mid-upload, deaf to the answer."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import httpx

from dlb_core.client import DlbClient
from dlb_core.contracts import JobState
from dlb_core.documents import API
from dlb_core.errors import ServiceUnreachable
from tests.faults.cases import Case, Manner
from tests.unit.service_kit import form, form_headers

T = TypeVar("T")
PATIENCE_S = 600.0
CHUNK_BYTES = 64
PAUSE_S = 0.02
SILENCE_S = 20.0
"""A silent client is cut off long before."""


class Seen(httpx.HTTPTransport):
    """The way to the service; counts the answers."""

    def __init__(self, statuses: "Counter[int]") -> None:
        # Loading certificates takes longer than all else here, and nothing is encrypted.
        super().__init__(verify=False)  # plain HTTP, on loopback
        self._statuses = statuses

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on."""
        answer = super().handle_request(request)
        self._statuses[answer.status_code] += 1
        return answer


@dataclass
class Account:
    """What a client knows of its case."""

    case: Case
    job: UUID | None = None
    state: JobState | None = None
    """As last seen."""
    statuses: "Counter[int]" = field(default_factory=Counter)
    """Of all answers."""
    broken_off: int = 0
    """Uploads that were not sent whole, or whose answer was not read."""
    complaints: list[str] = field(default_factory=list)

    def accept(self, job: UUID) -> None:
        """Note the job; it must be the same one each time."""
        if self.job not in (None, job):
            self.complaints.append(f"two jobs for one key: {self.job} and {job}")
        self.job = job


def follow(case: Case, url: str) -> Account:
    """Send a case, in its manner, and stay with it until its end, through whatever happens."""
    account = Account(case)
    try:
        with DlbClient(url, transport=Seen(account.statuses)) as client:
            _send_badly(account, url)
            job = patiently(
                lambda: client.submit(
                    t1w=case.t1w,
                    flair=case.flair,
                    options=case.options,
                    idempotency_key=case.key,
                )
            )
            account.accept(job.id)
            if case.manner is Manner.CANCELS:
                _cancel(account, client, url)
            account.state = patiently(lambda: client.wait(job.id)).state
    except Exception as error:
        account.complaints.append(f"{type(error).__name__}: {error}")
    return account


def patiently(ask: Callable[[], T]) -> T:
    """Ask until the service is there: what is asked is safe to repeat."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except ServiceUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _cancel(account: Account, client: DlbClient, url: str) -> None:
    """Cancel the job once it runs."""
    job = account.job
    assert job is not None
    while patiently(lambda: client.get(job)).state is JobState.ACCEPTED:
        time.sleep(0.2)

    def cancel() -> None:
        try:
            answer = http.post(f"{API}/jobs/{job}/cancel")
        except httpx.TransportError as error:
            raise ServiceUnreachable("away") from error
        if answer.status_code in (503, 507):
            raise ServiceUnreachable("busy")

    with httpx.Client(base_url=url, transport=Seen(account.statuses), timeout=60) as http:
        patiently(cancel)


def _send_badly(account: Account, url: str) -> None:
    """Do what clients should not do; whatever comes of it, the case is sent again in good order."""
    manner = account.case.manner
    body = form(account.case.form)
    if manner in (Manner.HALF, Manner.STALLED):
        account.broken_off += 1
        _raw(account, url, body, sent=len(body) // 2, hears=manner is Manner.STALLED)
    elif manner is Manner.DEAF:
        account.broken_off += 1
        _raw(account, url, body, sent=len(body), hears=False)
    elif manner is Manner.SLOW:
        _raw(account, url, body, sent=len(body), hears=True, pause_s=PAUSE_S)


def _raw(
    account: Account, url: str, body: bytes, *, sent: int, hears: bool, pause_s: float = 0.0
) -> None:
    """Send some of a request on a bare connection, and perhaps hear the answer."""
    port = int(url.rpartition(":")[2])
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SILENCE_S) as connection:
            connection.sendall(_head(account.case, len(body)))
            for start in range(0, sent, CHUNK_BYTES):
                connection.sendall(body[start : min(start + CHUNK_BYTES, sent)])
                time.sleep(pause_s)
            if hears:
                _hear(account, connection)
    except OSError:
        # The service was killed meanwhile.
        account.broken_off += 1


def _head(case: Case, length: int) -> bytes:
    lines = [
        f"POST {API}/jobs HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {length}",
        f"Idempotency-Key: {case.key}",
        *(f"{name}: {value}" for name, value in form_headers().items()),
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _hear(account: Account, connection: socket.socket) -> None:
    """Read the answer to its end; one that accepts the job names it."""
    with connection.makefile("rb") as file:
        answer = file.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        account.broken_off += 1
        return
    status = int(head.split()[1])
    account.statuses[status] += 1
    if status in (200, 202) and body:
        account.accept(UUID(json.loads(body)["id"]))


class Accounts:
    """Clients at work, a few at a time; how many jobs have ended."""

    def __init__(self, cases: list[Case], url: str, *, at_once: int) -> None:
        self._waiting = list(reversed(cases))
        self._url = url
        self._lock = threading.Lock()
        self.done: list[Account] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"client-{number}", daemon=True)
            for number in range(at_once)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    @property
    def at_work(self) -> bool:
        """Whether any client still is."""
        return any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                case = self._waiting.pop()
            account = follow(case, self._url)
            with self._lock:
                self.done.append(account)
