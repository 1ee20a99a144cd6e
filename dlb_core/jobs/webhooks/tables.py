"""Tables of webhooks, beside those of the jobs (`dlb_core/jobs/models.py`)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dlb_core.jobs.models import Base


class WebhookRow(Base):
    """An address that is told of jobs' ends."""

    __tablename__ = "webhooks"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(64))
    """Whose jobs it is told of; None: those of nobody, where nobody is asked who they are."""
    everything: Mapped[bool]
    """Whether it is told of everybody's jobs: an admin's webhook."""
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(JSON)
    secrets: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """The newest first: `secret`, and `until` when it is good, null for ever. Not a digest: what
    is signed with a secret needs the secret."""
    created: Mapped[datetime]
    disabled: Mapped[str | None] = mapped_column(String(64))
    """Why nothing is sent to it any more; null: it is."""


class WebhookMessageRow(Base):
    """One message to one webhook, from its making until it was heard or given up."""

    __tablename__ = "webhook_messages"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    """The `webhook-id` header, the same for every attempt."""
    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(32))
    job_id: Mapped[UUID | None]
    comparison_id: Mapped[UUID | None]
    """What it is about, if not a job."""
    body: Mapped[str] = mapped_column(Text)
    """As it is sent, byte for byte."""
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    created: Mapped[datetime]
    next_try: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    """Whoever sends it has so long; then another may."""
    fence: Mapped[int]
    """Grows with each attempt: only the last one's outcome counts."""
    log: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """Each attempt: when, how long, status or error."""

    __table_args__ = (
        Index("ix_webhook_messages_state_next", "state", "next_try"),
        Index("ix_webhook_messages_webhook_created", "webhook_id", "created"),
    )
