"""Tables of trainings, beside those of the jobs (`dlb_core.jobs.models`)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dlb_core.jobs.models import Base, WorkerColumns


class TrainingRow(Base):
    """One training, from its first network to its bundle."""

    __tablename__ = "trainings"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    active_key: Mapped[str | None] = mapped_column(String(64), unique=True)
    """Digest of the run folder's path while the training goes on: one at a time in a folder."""
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)
    """`dlb_core.training.plan.Plan`."""
    state: Mapped[str] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime]
    finished: Mapped[datetime | None]
    tasks: Mapped[list["TrainingTaskRow"]] = relationship(order_by="TrainingTaskRow.position")


class TrainingTaskRow(Base):
    """The generic network, one of the 75, or the bundle."""

    __tablename__ = "training_tasks"

    training_id: Mapped[UUID] = mapped_column(ForeignKey("trainings.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    position: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    num_steps: Mapped[int]
    step: Mapped[int] = mapped_column(default=0)
    """The furthest that any attempt has come."""
    loss: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    """In a row that came no further than the one before."""
    fence: Mapped[int] = mapped_column(default=0)
    """Grows with every claim; only the claim that holds the last one can write."""
    worker_id: Mapped[str] = mapped_column(String(64), default="")
    lease_until: Mapped[datetime | None]
    sent: Mapped[datetime | None]
    """When a message was last put into the broker."""
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]


class TrainingWorkerRow(WorkerColumns):
    """A worker of trainings; those of jobs have a table of their own."""

    __tablename__ = "training_workers"
