"""Find out who sends a request, from its Authorization header.

`Bearer` carries an API key or an identity provider's token. `Basic` is for people in a browser,
which knows no other way to ask: any user name, and the key as the password.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

from dlb_core.contracts import Role
from dlb_core.errors import Forbidden, Unauthenticated
from dlb_core.jobs.keys import PREFIX, KeyStore
from dlb_core.loopback import is_loopback
from service.callers import ANONYMOUS, Caller
from service.oidc import TokenVerifier

Mode = Literal["auto", "required", "off"]
READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Tells callers apart, or lets everybody in where that is allowed."""

    mode: Mode
    host: str
    """Where the service listens."""
    keys: KeyStore
    tokens: TokenVerifier | None

    def is_required(self) -> bool:
        """Whether callers must say who they are.

        In mode `auto` they need not while the service can be reached from this machine only, no
        key was ever made and no identity provider is named.

        Raises
        ------
        StoreUnavailable
        """
        if self.mode != "auto":
            return self.mode == "required"
        return not is_loopback(self.host) or self.tokens is not None or self.keys.any()

    def authenticate(self, authorization: str | None) -> Caller:
        """Tell who sends a request, by its Authorization header.

        Raises
        ------
        Unauthenticated
            Nobody that we know.
        StoreUnavailable
        """
        if not self.is_required():
            return ANONYMOUS
        scheme, _, credentials = (authorization or "").partition(" ")
        if is_basic(authorization):
            return self._holder_of(_password(credentials))
        if scheme.lower() != "bearer" or not credentials:
            raise Unauthenticated("send your key with the request: `Authorization: Bearer dlb_...`")
        if credentials.startswith(f"{PREFIX}_"):
            return self._holder_of(credentials)
        if self.tokens is not None:
            return self.tokens.verify(credentials)
        raise Unauthenticated("this is no key of this service: its keys begin with dlb_")

    def _holder_of(self, key: str) -> Caller:
        record = self.keys.verify(key)
        if record is None:
            raise Unauthenticated("the key is unknown, revoked or expired: ask for a new one")
        return Caller(record.id, record.owner, record.role)


def is_basic(authorization: str | None) -> bool:
    """Whether these are credentials that a browser sends by itself, with every request."""
    return (authorization or "").partition(" ")[0].lower() == "basic"


def _password(credentials: str) -> str:
    """The password of Basic credentials; empty where they are none."""
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text.partition(":")[2]


def require_role(caller: Caller, method: str) -> None:
    """Insist that the caller may use this method.

    Raises
    ------
    Forbidden
    """
    needed = Role.READ if method in READING else Role.SUBMIT
    if not caller.role.includes(needed):
        raise Forbidden(f"this key may only {caller.role}: the request needs one that may {needed}")
