"""The table of deliveries, beside those of the jobs (`dlb_core/jobs/models.py`)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dlb_core.jobs.models import Base


class DeliveryRow(Base):
    """A job's results on their way to one archive."""

    __tablename__ = "deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    archive: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    created: Mapped[datetime]
    delivered: Mapped[datetime | None]
    next_try: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    """Whoever sends it has so long; then another may."""
    fence: Mapped[int]
    """Grows with each attempt and replay: only the last one's outcome counts."""
    log: Mapped[list[dict[str, Any]]] = mapped_column(JSON)

    __table_args__ = (
        UniqueConstraint("job_id", "archive", name="uq_deliveries_job_archive"),
        Index("ix_deliveries_state_next", "state", "next_try"),
    )
