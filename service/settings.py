"""All that the service takes from its surroundings, read once, at start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dlb_core.bundled import default_bundle
from dlb_core.environment import read_settings
from dlb_core.jobs.bucket import PATTERN as BUCKET
from dlb_core.jobs.bucket import check_endpoint
from dlb_core.jobs.bucket_folder import open_folder
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.retention import Retention
from dlb_core.jobs.tracing import PATTERN
from dlb_core.jobs.webhooks.addresses import AddressPolicy

MIB = 1024 * 1024


class ServiceSettings(BaseModel):
    """Where the service keeps things, and how much it takes in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    """Folder shared with the workers, if there is no bucket."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    database_url: str | None = None
    """SQLAlchemy URL; None: SQLite in the data folder."""
    bucket: Annotated[str, Field(pattern=BUCKET)] | None = None
    """Where jobs' files are kept, `s3://name/prefix`; None: in the data folder."""
    weights: Path = Field(default_factory=default_bundle)
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    max_upload_mb: Annotated[int, Field(ge=1)] = 512
    """MiB of one image as sent."""
    max_unpacked_mb: Annotated[int, Field(ge=1)] = 4096
    """MiB that an archive of DICOM files may hold."""
    dicom_identity: Literal["remove", "keep"] = "remove"
    """Whether patient and study attributes of DICOM are kept for the results."""
    pacs_file: Path | None = None
    """TOML file of the picture archives that may be reached; None: none may."""
    min_free_mb: Annotated[int, Field(ge=0)] = 1024
    """MiB that must stay free on the data folder's disk."""
    max_waiting: Annotated[int, Field(ge=1)] = 1000
    """Jobs that may wait for a worker; more are refused until some have begun."""
    keep_results_days: Annotated[float, Field(ge=0)] = 90
    """Days that results are kept after a job's end; 0: for ever."""
    keep_inputs_days: Annotated[float, Field(ge=0)] = 7
    """Days that a failed or cancelled job's images are kept for a retry; 0: for ever."""
    keep_rows_days: Annotated[float, Field(ge=0)] = 365
    """Days that jobs without any files stay listed; 0: for ever."""
    max_event_streams: Annotated[int, Field(ge=1)] = 500
    """Streams of events that may be open at once, in each API process."""
    upload_idle_s: Annotated[float, Field(gt=0)] = 60
    """An upload that sends nothing for so long is given up."""
    worker_seen_s: Annotated[float, Field(gt=0)] = 60
    """A worker not heard of for so long counts as gone."""

    authentication: Literal["auto", "required", "off"] = "auto"
    """Whether callers need a key; auto: not on loopback, until the first key is made."""
    requests_per_minute: Annotated[int, Field(ge=0)] = 1200
    """Requests of one key, on the long run, in each API process; 0: no limit."""
    requests_at_once: Annotated[int, Field(ge=1)] = 200
    """Requests of one key that may come in one burst."""
    uploads_at_once: Annotated[int, Field(ge=0)] = 20
    """Uploads of one owner under way at a time, in each API process; 0: no limit."""
    uploads_per_day: Annotated[int, Field(ge=0)] = 2000
    """Uploads of one owner in a UTC day; 0: no limit."""
    upload_mb_per_day: Annotated[int, Field(ge=0)] = 200_000
    """MiB that one owner uploads in a UTC day; 0: no limit."""
    oidc_issuer: str | None = None
    """Identity provider whose tokens are taken, as their `iss` names it; None: none are."""
    oidc_audience: str | None = None
    """The tokens' `aud` for this service."""
    oidc_jwks: str | None = None
    """The provider's public keys, its JWK set: a file, or an https URL."""
    oidc_roles_claim: str = "roles"
    """Where tokens say what their bearer may: dotted path, e.g. realm_access.roles."""

    webhook_networks: str = ""
    """Networks that webhooks may reach although they are private, e.g. 10.1.0.0/16,10.2.3.4/32."""
    keep_messages_days: Annotated[float, Field(ge=0)] = 30
    """Days that webhooks' messages stay in the delivery log; 0: for ever."""

    traces: Annotated[str, Field(pattern=PATTERN)] = ""
    """Where spans go: `otlp`, or `file:PATH`; empty: nowhere."""

    @field_validator("webhook_networks")
    @classmethod
    def _readable_networks(cls, value: str) -> str:
        """Refuse what is no list of networks."""
        AddressPolicy.parse(value)
        return value

    @model_validator(mode="after")
    def _whole_provider(self) -> Self:
        """Refuse half a provider: its tokens would be taken unchecked, or not at all."""
        named = (self.oidc_issuer, self.oidc_audience, self.oidc_jwks)
        if any(named) and not all(named):
            raise ValueError("DLB_OIDC_ISSUER, DLB_OIDC_AUDIENCE, DLB_OIDC_JWKS: all or none")
        return self

    def open_folder(self) -> DataFolder:
        """The data folder, with the bucket behind it where there is one."""
        return open_folder(self.data, self.bucket)

    @property
    def webhook_policy(self) -> AddressPolicy:
        """Which addresses webhooks may reach."""
        return AddressPolicy.parse(self.webhook_networks)

    @property
    def retention(self) -> Retention:
        """How long what is kept."""
        return Retention(self.keep_results_days, self.keep_inputs_days, self.keep_rows_days)

    @property
    def max_upload_bytes(self) -> int:
        """Cap of one image as sent."""
        return self.max_upload_mb * MIB

    @property
    def max_unpacked_bytes(self) -> int:
        """Cap of what an archive of DICOM files holds."""
        return self.max_unpacked_mb * MIB

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
        settings = read_settings(cls, environ)
        if settings.bucket is not None:
            check_endpoint(environ)
        return settings
