"""Webhooks and their messages in SQL.

A message is a row before it is sent, and whoever sends it holds a lease; so a process that dies
loses nothing, and two that send at once agree on the outcome. A message may arrive twice, with
one and the same id.
"""

import base64
import secrets
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import CursorResult, Select, delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from dlb_core.documents import MessageState, WebhookEvent
from dlb_core.errors import BadOption, MessageNotFound, WebhookNotFound
from dlb_core.jobs.store.sessions import Sessions
from dlb_core.jobs.webhooks.messages import message_row
from dlb_core.jobs.webhooks.records import (
    OVERLAP,
    SECRETS,
    AttemptRecord,
    MessageRecord,
    Outgoing,
    WebhookRecord,
    live_secrets,
    message_of,
    webhook_of,
)
from dlb_core.jobs.webhooks.tables import WebhookMessageRow, WebhookRow

KEPT_ATTEMPTS = 20
MOST = 20
"""Webhooks of one owner."""
GONE = "gone"
"""Why a webhook is disabled that answered 410."""


class WebhookStore(Sessions):
    """Webhooks. Safe to share between threads.

    Every method raises `StoreUnavailable` where the database does not answer. `sees` is the owner
    whose webhooks may be seen; None: everybody's.
    """

    def create(
        self, url: str, events: tuple[WebhookEvent, ...], *, owner: str | None, sees: str | None
    ) -> tuple[WebhookRecord, str]:
        """Make a webhook; returns it and its secret, which is not shown again.

        Raises
        ------
        BadOption
            The owner has as many as one may have: each end is told to all of them.
        """
        secret = new_secret()
        now = self._clock()
        row = WebhookRow(
            id=uuid4(),
            owner=owner,
            everything=sees is None,
            url=url,
            events=[event.value for event in events],
            secrets=[{"secret": secret, "until": None}],
            created=now,
        )
        of_owner = select(func.count()).select_from(WebhookRow).where(WebhookRow.owner == owner)
        with self._write() as session:
            if session.scalars(of_owner).one() >= MOST:
                raise BadOption(f"there are {MOST} webhooks already: delete one first")
            session.add(row)
            session.flush()
            return webhook_of(row, now), secret

    def all(self, *, sees: str | None) -> list[WebhookRecord]:
        """Webhooks, oldest first."""
        query = select(WebhookRow).order_by(WebhookRow.created, WebhookRow.id)
        if sees is not None:
            query = query.where(WebhookRow.owner == sees)
        with self._read() as session:
            return [webhook_of(row, self._clock()) for row in session.scalars(query)]

    def get(self, webhook_id: UUID, *, sees: str | None) -> WebhookRecord:
        """Read a webhook.

        Raises
        ------
        WebhookNotFound
        """
        with self._read() as session:
            return webhook_of(_existing(session, webhook_id, sees), self._clock())

    def remove(self, webhook_id: UUID, *, sees: str | None) -> None:
        """Forget a webhook and its messages.

        Raises
        ------
        WebhookNotFound
        """
        with self._write() as session:
            session.delete(_existing(session, webhook_id, sees))

    def rotate(self, webhook_id: UUID, *, sees: str | None) -> tuple[WebhookRecord, str]:
        """Give a webhook a new secret; the one before signs too, for a day. Enables it again.

        Raises
        ------
        WebhookNotFound
        """
        now, secret = self._clock(), new_secret()
        with self._write() as session:
            row = _existing(session, webhook_id, sees)
            before = live_secrets(row, now)[: SECRETS - 1]
            until = (now + OVERLAP).isoformat()
            row.secrets = [
                {"secret": secret, "until": None},
                *({"secret": old, "until": until} for old in before),
            ]
            row.disabled = None
            session.flush()
            return webhook_of(row, now), secret

    def send_test(self, webhook_id: UUID, *, sees: str | None) -> MessageRecord:
        """Queue a message that says nothing.

        Raises
        ------
        WebhookNotFound
        """
        now = self._clock()
        with self._write() as session:
            row = _existing(session, webhook_id, sees)
            message = message_row(row, WebhookEvent.TEST, {"webhook": str(row.id)}, now)
            session.add(message)
            session.flush()
            return message_of(message)

    def messages(
        self,
        webhook_id: UUID,
        *,
        sees: str | None,
        state: MessageState | None = None,
        limit: int = 100,
    ) -> list[MessageRecord]:
        """The delivery log, newest first.

        Raises
        ------
        WebhookNotFound
        """
        row = WebhookMessageRow
        query = (
            select(row)
            .where(row.webhook_id == webhook_id)
            .order_by(row.created.desc(), row.id)
            .limit(limit)
        )
        if state is not None:
            query = query.where(row.state == state)
        with self._read() as session:
            _existing(session, webhook_id, sees)
            return [message_of(message) for message in session.scalars(query)]

    def replay(self, webhook_id: UUID, message_id: str, *, sees: str | None) -> MessageRecord:
        """Send a message again, whatever became of it; its id stays.

        Raises
        ------
        WebhookNotFound, MessageNotFound
        """
        with self._write() as session:
            _existing(session, webhook_id, sees)
            row = session.get(WebhookMessageRow, message_id)
            if row is None or row.webhook_id != webhook_id:
                raise MessageNotFound("no such message: it never was, or it was removed")
            row.state, row.attempts, row.next_try = MessageState.PENDING, 0, self._clock()
            session.flush()
            return message_of(row)

    def take(self, limit: int, *, lease_s: float) -> list[Outgoing]:
        """Take due messages to send, at most one of each webhook that none is being sent to."""
        now = self._clock()
        taken = []
        with self._write() as session:
            for message, webhook in session.execute(_first_due(now, limit)):
                message.fence += 1
                message.attempts += 1
                message.lease_until = now + timedelta(seconds=lease_s)
                taken.append(
                    Outgoing(
                        id=message.id,
                        webhook_id=webhook.id,
                        fence=message.fence,
                        attempts=message.attempts,
                        url=webhook.url,
                        secrets=live_secrets(webhook, now),
                        body=message.body,
                    )
                )
        return taken

    def note(
        self,
        message: Outgoing,
        attempt: AttemptRecord,
        *,
        state: MessageState,
        next_try: datetime | None = None,
    ) -> bool:
        """Note what became of an attempt; False: another took the message over meanwhile."""
        with self._write() as session:
            row = session.get(WebhookMessageRow, message.id, with_for_update=True)
            if row is None or row.fence != message.fence:
                return False
            entry = {
                "at": attempt.at.isoformat(),
                "duration_s": attempt.duration_s,
                "status": attempt.status,
                "error": attempt.error,
            }
            row.log = [*row.log, entry][-KEPT_ATTEMPTS:]
            row.lease_until = None
            row.state, row.next_try = state, next_try
            return True

    def disable(self, webhook_id: UUID, why: str) -> None:
        """Send nothing to a webhook any more, until its secret is renewed."""
        statement = update(WebhookRow).where(WebhookRow.id == webhook_id).values(disabled=why)
        with self._write() as session:
            session.execute(statement)

    def counts(self) -> dict[MessageState, int]:
        """How many messages are in each state."""
        row = WebhookMessageRow
        query = select(row.state, func.count()).group_by(row.state)
        with self._read() as session:
            found = {MessageState(state): count for state, count in session.execute(query)}
        return {state: found.get(state, 0) for state in MessageState}

    def forget(self, before: datetime) -> int:
        """Remove messages of long ago that are not to be sent any more."""
        row = WebhookMessageRow
        old = delete(row).where(row.created < before, row.state != MessageState.PENDING)
        with self._write() as session:
            return cast("CursorResult[Any]", session.execute(old)).rowcount


def new_secret() -> str:
    """A secret as Standard Webhooks writes them: 256 random bits."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _first_due(now: datetime, limit: int) -> Select[WebhookMessageRow, WebhookRow]:
    """Each webhook's first due message: however many wait for one, the others get their turn."""
    row, other, sent = WebhookMessageRow, aliased(WebhookMessageRow), aliased(WebhookMessageRow)
    first = (
        select(other.id)
        .where(
            other.webhook_id == WebhookRow.id,
            other.state == MessageState.PENDING,
            other.next_try <= now,
        )
        .order_by(other.next_try, other.id)
        .limit(1)
        .correlate(WebhookRow)
        .scalar_subquery()
    )
    being_sent = (
        select(sent.id)
        .where(sent.webhook_id == WebhookRow.id, sent.lease_until >= now)
        .correlate(WebhookRow)
        .exists()
    )
    return (
        select(row, WebhookRow)
        .select_from(WebhookRow)
        .join(row, row.id == first)
        .where(
            WebhookRow.disabled.is_(None),
            ~being_sent,
            # Again, for what another has taken since: this row is looked at once it is locked.
            row.state == MessageState.PENDING,
            row.next_try <= now,
            or_(row.lease_until.is_(None), row.lease_until < now),
        )
        .order_by(row.next_try, row.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=row)
    )


def _existing(session: Session, webhook_id: UUID, sees: str | None) -> WebhookRow:
    row = session.get(WebhookRow, webhook_id)
    if row is None or (sees is not None and row.owner != sees):
        raise WebhookNotFound("no such webhook: it never was, or it was removed")
    return row
