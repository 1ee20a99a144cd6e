"""Table of what has happened to jobs in all, beside those of the jobs (`models.py`)."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from dlb_core.jobs.models import Base


class TallyRow(Base):
    """A number that only grows; it outlives the jobs that it was counted from."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    label: Mapped[str] = mapped_column(String(96), primary_key=True)
    """E.g. `failed out-of-memory`, or `inference 60` (at most so many seconds)."""
    value: Mapped[float]
