"""What a webhook is told: that a job has ended, and where to ask for the rest.

A message goes to an address that somebody chose once, perhaps over networks of others. So it holds
nothing that was measured or written freely; who may know asks for it with a key.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import uuid4

from dlb_core.contracts import JobState
from dlb_core.documents import API, MessageState, WebhookEvent
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.webhooks.records import EVENT_OF
from dlb_core.jobs.webhooks.tables import WebhookMessageRow, WebhookRow


def messages_of(
    job: JobRow, webhooks: Iterable[WebhookRow], now: datetime
) -> list[WebhookMessageRow]:
    """A message for each webhook that is to know of this job's end."""
    event = EVENT_OF[JobState(job.state)]
    return [
        message_row(webhook, event, _told_of(job), now, job=job)
        for webhook in webhooks
        if event in webhook.events and (webhook.everything or webhook.owner == job.owner)
    ]


def message_row(
    webhook: WebhookRow,
    event: WebhookEvent,
    data: dict[str, Any],
    now: datetime,
    *,
    job: JobRow | None = None,
) -> WebhookMessageRow:
    """A message that is to be sent now."""
    at = now if job is None or job.finished is None else job.finished
    body = {"type": event.value, "timestamp": at.isoformat(), "data": data}
    return WebhookMessageRow(
        id=f"msg_{uuid4().hex}",
        webhook_id=webhook.id,
        event=event,
        job_id=None if job is None else job.id,
        body=json.dumps(body, separators=(",", ":")),
        state=MessageState.PENDING,
        attempts=0,
        created=now,
        next_try=now,
        fence=0,
        log=[],
    )


def _told_of(job: JobRow) -> dict[str, Any]:
    path = f"{API}/jobs/{job.id}"
    successful = job.state == JobState.SUCCESSFUL
    return {
        "job": str(job.id),
        "state": job.state,
        "error_code": job.error_code,
        "links": {"job": path, "results": f"{path}/results" if successful else None},
    }
