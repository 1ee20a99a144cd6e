"""Tables of keys to the API, beside those of the jobs (`models.py`)."""

from datetime import date, datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from dlb_core.jobs.models import Base


class ApiKeyRow(Base):
    """A key to the API; its secret is not kept, only the digest."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    """Public part of the key: names it in lists and in the audit log."""
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the whole key."""
    name: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    owner: Mapped[str] = mapped_column(String(64))
    """Whose jobs it submits and sees; its own id unless told otherwise."""
    created: Mapped[datetime]
    expires: Mapped[datetime | None]
    revoked: Mapped[datetime | None]
    used: Mapped[datetime | None]
    """When it was last used, to the hour."""


class UploadUsageRow(Base):
    """What one owner has uploaded on one day (UTC)."""

    __tablename__ = "upload_usage"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    uploads: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
