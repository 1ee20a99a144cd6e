"""What a webhook is told: that a job or a comparison has ended, and where to ask for the rest.

A message goes to an address that somebody chose once, perhaps over networks of others. So it holds
nothing that was measured or written freely; who may know asks for it with a key.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from dlb_core.contracts import ComparisonState, JobState
from dlb_core.documents import API, MessageState, WebhookEvent
from dlb_core.jobs.comparisons.tables import ComparisonRow
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.webhooks.records import COMPARISON_EVENT_OF, EVENT_OF
from dlb_core.jobs.webhooks.tables import WebhookMessageRow, WebhookRow


def messages_of(
    job: JobRow, webhooks: Iterable[WebhookRow], now: datetime
) -> list[WebhookMessageRow]:
    """A message for each webhook that is to know of this job's end."""
    event = EVENT_OF[JobState(job.state)]
    return [
        message_row(webhook, event, _told_of(job), now, at=job.finished, job_id=job.id)
        for webhook in _listeners(webhooks, event, job.owner)
    ]


def messages_of_comparison(
    comparison: ComparisonRow, webhooks: Iterable[WebhookRow], now: datetime
) -> list[WebhookMessageRow]:
    """A message for each webhook that is to know of this comparison's end."""
    event = COMPARISON_EVENT_OF[ComparisonState(comparison.state)]
    told, at = _told_of_comparison(comparison), comparison.finished
    return [
        message_row(webhook, event, told, now, at=at, comparison_id=comparison.id)
        for webhook in _listeners(webhooks, event, comparison.owner)
    ]


def message_row(
    webhook: WebhookRow,
    event: WebhookEvent,
    data: dict[str, Any],
    now: datetime,
    *,
    at: datetime | None = None,
    job_id: UUID | None = None,
    comparison_id: UUID | None = None,
) -> WebhookMessageRow:
    """A message that is to be sent now, about what happened `at` some time, or now."""
    body = {"type": event.value, "timestamp": (at or now).isoformat(), "data": data}
    return WebhookMessageRow(
        id=f"msg_{uuid4().hex}",
        webhook_id=webhook.id,
        event=event,
        job_id=job_id,
        comparison_id=comparison_id,
        body=json.dumps(body, separators=(",", ":")),
        state=MessageState.PENDING,
        attempts=0,
        created=now,
        next_try=now,
        fence=0,
        log=[],
    )


def _listeners(
    webhooks: Iterable[WebhookRow], event: WebhookEvent, owner: str | None
) -> list[WebhookRow]:
    """Those that are to know of this event of this owner's."""
    return [
        webhook
        for webhook in webhooks
        if event in webhook.events and (webhook.everything or webhook.owner == owner)
    ]


def _told_of(job: JobRow) -> dict[str, Any]:
    path = f"{API}/jobs/{job.id}"
    successful = job.state == JobState.SUCCESSFUL
    return {
        "job": str(job.id),
        "state": job.state,
        "error_code": job.error_code,
        "links": {"job": path, "results": f"{path}/results" if successful else None},
    }


def _told_of_comparison(comparison: ComparisonRow) -> dict[str, Any]:
    return {
        "comparison": str(comparison.id),
        "state": comparison.state,
        "error_code": comparison.error_code,
        "links": {"comparison": f"{API}/comparisons/{comparison.id}"},
    }
