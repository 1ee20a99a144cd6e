"""The table of comparisons, beside those of the jobs (`dlb_core/jobs/models.py`)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dlb_core.jobs.models import Base


class ComparisonRow(Base):
    """A comparison of two jobs' results."""

    __tablename__ = "comparisons"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(64))
    first_job: Mapped[UUID]
    second_job: Mapped[UUID]
    """No foreign keys: a job that was deleted is missed, and the comparison goes with it."""
    label: Mapped[str] = mapped_column(String(64))
    ignore_differences: Mapped[bool]
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    """Grows with every claim; only the claim that holds the last one can write."""
    lease_until: Mapped[datetime | None]
    created: Mapped[datetime]
    updated: Mapped[datetime]
    finished: Mapped[datetime | None]
    sent: Mapped[datetime | None]
    """When a hint was last put into the broker."""
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    artefacts: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    totals: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    idempotency: Mapped[str | None] = mapped_column(String(64))
    """Digest of the owner and the key that came with the request, if one did."""
    content: Mapped[str | None] = mapped_column(String(64))
    """Digest of what was asked for."""
    untold: Mapped[bool] = mapped_column(default=False)
    """It has ended, and the webhooks do not know (`endings.py`)."""

    __table_args__ = (
        UniqueConstraint("idempotency", name="uq_comparisons_idempotency"),
        Index("ix_comparisons_untold", "untold"),
        Index("ix_comparisons_state_created", "state", "created"),
        Index("ix_comparisons_owner_created", "owner", "created"),
    )
