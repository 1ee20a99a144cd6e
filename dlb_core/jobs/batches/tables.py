"""Tables of batches, beside those of the jobs (`dlb_core/jobs/models.py`)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dlb_core.jobs.models import Base


class BatchRow(Base):
    """A batch."""

    __tablename__ = "batches"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime]
    idempotency: Mapped[str | None] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(String(64))
    """Digest of name and rows."""
    cases: Mapped[list["BatchCaseRow"]] = relationship(
        order_by="BatchCaseRow.position",
        lazy="selectin",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    __table_args__ = (
        UniqueConstraint("idempotency", name="uq_batches_idempotency"),
        Index("ix_batches_owner_created", "owner", "created"),
    )


class BatchCaseRow(Base):
    """One case of a batch."""

    __tablename__ = "batch_cases"

    batch_id: Mapped[UUID] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    subject: Mapped[str] = mapped_column(String(64))
    session: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[UUID]
    """No foreign key: a job that was deleted is missed here, and its row says so."""
