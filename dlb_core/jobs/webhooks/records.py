"""What the store of webhooks hands out: frozen copies of rows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from dlb_core.contracts import ComparisonState, JobState
from dlb_core.documents import MessageState, WebhookEvent
from dlb_core.jobs.webhooks.tables import WebhookMessageRow, WebhookRow

EVENT_OF = {
    JobState.SUCCESSFUL: WebhookEvent.SUCCESSFUL,
    JobState.FAILED: WebhookEvent.FAILED,
    JobState.DISMISSED: WebhookEvent.DISMISSED,
}
COMPARISON_EVENT_OF = {
    ComparisonState.SUCCESSFUL: WebhookEvent.COMPARISON_SUCCESSFUL,
    ComparisonState.FAILED: WebhookEvent.COMPARISON_FAILED,
}

SECRETS = 2
"""That are live at once: the new one, and for a while the one before."""
OVERLAP = timedelta(days=1)
"""How long the one before stays live, for receivers to change over."""


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """A webhook, without its secrets."""

    id: UUID
    owner: str | None
    url: str
    events: tuple[WebhookEvent, ...]
    created: datetime
    disabled: str | None
    live_secrets: int


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One time that a message was sent."""

    at: datetime
    duration_s: float
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message as it stood when it was read."""

    id: str
    event: WebhookEvent
    job_id: UUID | None
    comparison_id: UUID | None
    state: MessageState
    attempts: int
    created: datetime
    next_try: datetime | None
    log: tuple[AttemptRecord, ...]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that is ours to send, until the lease ends."""

    id: str
    webhook_id: UUID
    fence: int
    attempts: int
    """With this one."""
    url: str
    secrets: tuple[str, ...]
    body: str


def live_secrets(row: WebhookRow, now: datetime) -> tuple[str, ...]:
    """Secrets that sign now, the newest first."""
    return tuple(
        entry["secret"]
        for entry in row.secrets
        if entry["until"] is None or datetime.fromisoformat(entry["until"]) > now
    )


def webhook_of(row: WebhookRow, now: datetime) -> WebhookRecord:
    """Copy a row."""
    return WebhookRecord(
        id=row.id,
        owner=row.owner,
        url=row.url,
        events=tuple(WebhookEvent(event) for event in row.events),
        created=row.created,
        disabled=row.disabled,
        live_secrets=len(live_secrets(row, now)),
    )


def message_of(row: WebhookMessageRow) -> MessageRecord:
    """Copy a row."""
    return MessageRecord(
        id=row.id,
        event=WebhookEvent(row.event),
        job_id=row.job_id,
        comparison_id=row.comparison_id,
        state=MessageState(row.state),
        attempts=row.attempts,
        created=row.created,
        next_try=row.next_try,
        log=tuple(_attempt(entry) for entry in row.log),
    )


def _attempt(entry: dict[str, Any]) -> AttemptRecord:
    return AttemptRecord(
        at=datetime.fromisoformat(entry["at"]),
        duration_s=entry["duration_s"],
        status=entry["status"],
        error=entry["error"],
    )
