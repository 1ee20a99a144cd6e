"""Tables of the job store.

SQL holds the truth about jobs; the broker holds hints. Times are UTC. The schema is made by
the migrations beside this file: change both together (a test compares them).
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from dlb_core.contracts import Priority


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; kept without its zone because SQLite has no type for zones."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware, any zone -> naive UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Naive UTC -> aware UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {datetime: UtcDateTime}  # noqa: RUF012  # SQLAlchemy's own protocol


class JobRow(Base):
    """One request to segment one case."""

    __tablename__ = "jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str] = mapped_column(String(32))
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=1)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    inputs: Mapped[dict[str, str]] = mapped_column(JSON)
    """Role -> SHA-256 of the file as uploaded."""
    attempts: Mapped[int] = mapped_column(default=0)
    """Attempts that count against the limit; one given back in an orderly stop does not."""
    fence: Mapped[int] = mapped_column(default=0)
    """Grows with every claim; only the claim that holds the last one can write."""
    lease_until: Mapped[datetime | None]
    worker_id: Mapped[str] = mapped_column(String(64), default="")
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]
    updated: Mapped[datetime]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    sent: Mapped[datetime | None]
    """When a message was last put into the broker; None: not since it was last accepted."""
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    artefacts: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    totals: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    owner: Mapped[str | None] = mapped_column(String(64))
    """Who submitted it and sees it; None: submitted where nobody is asked who they are."""
    idempotency: Mapped[str | None] = mapped_column(String(64))
    """Digest of the owner and the key that came with the request, if one did."""
    content: Mapped[str | None] = mapped_column(String(64))
    """Digest of what was asked for: images, options, priority."""
    priority: Mapped[str] = mapped_column(String(16), default=Priority.ROUTINE)
    turn: Mapped[datetime]
    """Waiting jobs are begun in this order: when it came, plus what its priority lets pass."""
    not_before: Mapped[datetime | None]
    """A job that waits is not begun earlier: the pause before another attempt."""
    heartbeat: Mapped[datetime | None]
    """When its worker was last heard of."""
    keep_inputs: Mapped[bool] = mapped_column(default=True)
    """Whether its images are to stay after its end, for a retry."""
    expired: Mapped[datetime | None]
    """When its results were removed because their time was over."""
    untold: Mapped[bool] = mapped_column(default=False)
    """It has ended, and neither tallies nor webhooks know (`endings.py`)."""
    trace: Mapped[str | None] = mapped_column(String(64))
    """W3C traceparent of the request that submitted it."""
    log: Mapped[list["AttemptRow"]] = relationship(
        order_by="AttemptRow.fence",
        lazy="selectin",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    __table_args__ = (
        Index("ix_jobs_created_id", "created", "id"),
        Index("ix_jobs_state_created", "state", "created"),
        UniqueConstraint("idempotency", name="uq_jobs_idempotency"),
        Index("ix_jobs_state_turn", "state", "turn"),
        Index("ix_jobs_owner_created", "owner", "created"),
        Index("ix_jobs_untold", "untold"),
    )


class AttemptRow(Base):
    """One claim of a job, and what became of it."""

    __tablename__ = "attempts"

    job_id: Mapped[UUID] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    fence: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str] = mapped_column(String(64))
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    stage: Mapped[str] = mapped_column(String(32))
    """The last one it was in."""
    stage_s: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    """Seconds spent in each stage."""
    told: Mapped[bool] = mapped_column(default=False)
    """It is among the tallies."""


class WorkerColumns(Base):
    """A worker that has said it lives."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    seen: Mapped[datetime]
    stopping: Mapped[bool] = mapped_column(default=False)
    """It was told to stop: it is to give back what it works on."""


class WorkerRow(WorkerColumns):
    """A worker of jobs."""

    __tablename__ = "workers"
