"""All that stands between a request and the routes, opened once, at the app's start."""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Engine

from dlb_core.audit import AuditLog
from dlb_core.jobs.keys import KeyStore
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.quotas import UploadQuotas
from service.authentication import Authenticator
from service.oidc import Provider, TokenVerifier, open_verifier
from service.rate_limits import AtOnce, TokenBuckets
from service.settings import MIB, ServiceSettings

FAILURES_PER_MINUTE = 60
"""Refused keys of one address that are logged and answered one by one."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Keys, limits, and the log of who came through."""

    keys: KeyStore
    authenticator: Authenticator
    requests: TokenBuckets
    failures: TokenBuckets
    uploads: AtOnce
    quotas: UploadQuotas
    audit: AuditLog

    @classmethod
    def open(cls, settings: ServiceSettings, data: DataFolder, engine: Engine) -> Self:
        """Make it, on the job store's database.

        Raises
        ------
        BadOption
            The identity provider's settings cannot be used.
        """
        keys = KeyStore(engine)
        tokens = _verifier(settings)
        return cls(
            keys=keys,
            authenticator=Authenticator(settings.authentication, settings.host, keys, tokens),
            requests=TokenBuckets(settings.requests_per_minute, settings.requests_at_once),
            failures=TokenBuckets(FAILURES_PER_MINUTE, FAILURES_PER_MINUTE),
            uploads=AtOnce(settings.uploads_at_once),
            quotas=UploadQuotas(
                engine,
                uploads=settings.uploads_per_day,
                size_bytes=settings.upload_mb_per_day * MIB,
            ),
            audit=AuditLog(data.audit),
        )


def _verifier(settings: ServiceSettings) -> TokenVerifier | None:
    """What checks an identity provider's tokens, if one is named."""
    if not (settings.oidc_issuer and settings.oidc_audience and settings.oidc_jwks):
        return None
    return open_verifier(
        Provider(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            jwks=settings.oidc_jwks,
            roles_claim=settings.oidc_roles_claim,
        )
    )
