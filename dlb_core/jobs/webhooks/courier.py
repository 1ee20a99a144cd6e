"""Send what is due, again and again until it was heard or is given up.

Any number of couriers may run, and each may die at any point: a message is a row until its
receiver has said yes.
"""

import logging
import random
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import httpcore
from standardwebhooks import Webhook

from dlb_core.documents import MessageState
from dlb_core.jobs.rounds import Repeated
from dlb_core.jobs.store.sessions import utc_now
from dlb_core.jobs.webhooks.addresses import AddressPolicy, AddressRefused, GuardedBackend
from dlb_core.jobs.webhooks.records import AttemptRecord, Outgoing
from dlb_core.jobs.webhooks.store import GONE, WebhookStore

logger = logging.getLogger(__name__)

PAUSES_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""After each attempt that failed, as Standard Webhooks recommends: three days in all."""
LONGEST_PAUSE_S = 86_400.0
SENDERS = 4
LIMIT_S = 10.0
"""A receiver that takes longer has not heard."""
LEASE_S = 60.0


class Courier(Repeated):
    """Sends messages, once or in a thread of its own.

    Parameters
    ----------
    store : WebhookStore
    policy : AddressPolicy
        Which addresses may be reached.
    pauses_s : sequence of float
        After each attempt that failed; after the last one the message is given up.
    lease_s : float
        A message whose sender died is sent again after so long.
    interval_s : float
        Pause between looks.
    """

    def __init__(
        self,
        store: WebhookStore,
        policy: AddressPolicy,
        *,
        pauses_s: tuple[float, ...] = PAUSES_S,
        lease_s: float = LEASE_S,
        interval_s: float = 1.0,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(name="webhooks", interval_s=interval_s)
        self._store, self._policy = store, policy
        self._pauses_s, self._lease_s, self._clock = pauses_s, lease_s, clock

    def run_once(self) -> None:
        """Send everything that is due.

        Raises
        ------
        StoreUnavailable
        """
        while not self._rounds.stopping:
            due = self._store.take(SENDERS, lease_s=self._lease_s)
            if not due:
                return
            with ThreadPoolExecutor(SENDERS) as senders:
                list(senders.map(self._deliver, due))

    def _deliver(self, message: Outgoing) -> None:
        """Send one message, and note what came of it."""
        began, at = time.monotonic(), self._clock()
        status, error, retry_after_s = None, None, 0.0
        try:
            status, retry_after_s = send(message, self._policy, at=at)
        except AddressRefused as refusal:
            error = str(refusal)
        except (
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            ssl.SSLError,
        ) as fault:
            error = type(fault).__name__
        except Exception as fault:
            # Unnoted, it would be sent again for ever, and hold up those behind it.
            logger.exception("webhook_failed_unexpectedly", extra={"message_id": message.id})
            error = type(fault).__name__
        attempt = AttemptRecord(at, round(time.monotonic() - began, 3), status, error)
        self._note(message, attempt, retry_after_s)

    def _note(self, message: Outgoing, attempt: AttemptRecord, retry_after_s: float) -> None:
        state, next_try = self._fate(message, attempt, retry_after_s)
        noted = self._store.note(message, attempt, state=state, next_try=next_try)
        if attempt.status == 410:
            self._store.disable(message.webhook_id, GONE)
        logger.info(
            "webhook_attempted",
            extra={
                "message_id": message.id,
                "webhook": message.webhook_id,
                "attempt": message.attempts,
                "status": attempt.status,
                "cause": attempt.error,
                "state": state.value if noted else "taken over",
            },
        )

    def _fate(
        self, message: Outgoing, attempt: AttemptRecord, retry_after_s: float
    ) -> tuple[MessageState, datetime | None]:
        """What becomes of a message after an attempt."""
        if attempt.status is not None and 200 <= attempt.status < 300:
            return MessageState.DELIVERED, None
        if attempt.status == 410 or message.attempts > len(self._pauses_s):
            return MessageState.FAILED, None
        # Receivers that came back must not be met by everything at once.
        chance = random.uniform(0.8, 1.2)  # noqa: S311  # no secret
        pause_s = max(self._pauses_s[message.attempts - 1] * chance, retry_after_s)
        return MessageState.PENDING, self._clock() + timedelta(seconds=pause_s)


def send(message: Outgoing, policy: AddressPolicy, *, at: datetime) -> tuple[int, float]:
    """Send a message once; nothing is followed, and no more is read than the answer's head.

    Returns
    -------
    (int, float)
        The answer's status, and the seconds that it asks to wait.

    Raises
    ------
    AddressRefused
        Its host may not be reached.
    httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError
        It was not reached, or did not answer.
    """
    backend = GuardedBackend(policy, encrypted=message.url.startswith("https:"), limit_s=LIMIT_S)
    with (
        httpcore.ConnectionPool(network_backend=backend) as pool,
        pool.stream(
            "POST",
            message.url,
            headers=signed_headers(message, at=at),
            content=message.body.encode(),
            extensions={"timeout": {"connect": LIMIT_S, "pool": LIMIT_S}},
        ) as answer,
    ):
        return answer.status, _retry_after_s(dict(answer.headers))


def signed_headers(message: Outgoing, *, at: datetime) -> list[tuple[bytes, bytes]]:
    """The headers of Standard Webhooks: one signature for each live secret."""
    signatures = [
        Webhook(secret).sign(msg_id=message.id, timestamp=at, data=message.body)
        for secret in message.secrets
    ]
    headers = {
        "content-type": "application/json",
        "user-agent": "deeplesionbrain-webhooks",
        "webhook-id": message.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    host = httpcore.URL(message.url)
    port = b"" if host.port is None else b":%d" % host.port
    return [
        (b"host", host.host + port),
        *((name.encode(), value.encode()) for name, value in headers.items()),
    ]


def _retry_after_s(headers: dict[bytes, bytes]) -> float:
    """Seconds that an answer asks to wait; 0 where it does not."""
    lower = {name.lower(): value for name, value in headers.items()}
    text = lower.get(b"retry-after", b"").decode("latin-1").strip()
    if text.isdecimal():
        return min(float(text[:9]), LONGEST_PAUSE_S)
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(at - time.time(), 0.0), LONGEST_PAUSE_S)
