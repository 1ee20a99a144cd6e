"""All that the service takes from its surroundings, read once, at start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from dlb_core.bundled import default_bundle
from dlb_core.environment import read_settings

MIB = 1024 * 1024


class ServiceSettings(BaseModel):
    """Where the service keeps things, and how much it takes in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[Path, Field(description="folder shared with the workers")]
    redis_url: str = "redis://127.0.0.1:6379/0"
    database_url: str | None = None
    """SQLAlchemy URL; None: SQLite in the data folder."""
    weights: Path = Field(default_factory=default_bundle)
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    max_upload_mb: Annotated[int, Field(ge=1)] = 512
    """MiB of one image as sent."""
    min_free_mb: Annotated[int, Field(ge=0)] = 1024
    """MiB that must stay free on the data folder's disk."""
    max_waiting: Annotated[int, Field(ge=1)] = 1000
    """Jobs that may wait for a worker; more are refused until some have begun."""
    upload_idle_s: Annotated[float, Field(gt=0)] = 60
    """An upload that sends nothing for so long is given up."""
    worker_seen_s: Annotated[float, Field(gt=0)] = 60
    """A worker not heard of for so long counts as gone."""

    @property
    def max_upload_bytes(self) -> int:
        """Cap of one image as sent."""
        return self.max_upload_mb * MIB

    @property
    def min_free_bytes(self) -> int:
        """Room that must be left on the disk."""
        return self.min_free_mb * MIB

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables DLB_<FIELD>, e.g. DLB_DATA; empty ones count as not set.

        Raises
        ------
        BadOption
            DLB_DATA is missing, or a value cannot be used; the variable is named.
        """
        return read_settings(cls, environ)
