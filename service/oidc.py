"""Bearer tokens of an identity provider (OpenID Connect): signed JWTs, checked with its keys.

Nothing is asked of the provider but its public keys, its JWK set, from a file or an https URL.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from dlb_core.contracts import Role
from dlb_core.errors import BadOption, StoreUnavailable, Unauthenticated
from dlb_core.loopback import is_loopback
from service.callers import Caller

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Signatures with a public key only: with HS256 the public key would pass for a secret."""
LEEWAY_S = 30
FRESH_S = 3600.0
"""The set is read again after so long."""
SEARCHED_EVERY_S = 60.0
"""It is read again for an unknown key at most so often: anyone can make tokens that name one."""
RETRIED_EVERY_S = 5.0
"""Where it was never read, it is asked for again at most so often: whoever waits holds a thread."""
TIMEOUT_S = 5.0
MAX_SET_BYTES = 1 << 20
logger = logging.getLogger(__name__)

ROLES = {f"dlb-{role}": role for role in Role}
"""Value of the roles claim -> role. Prefixed: other programs have an "admin" too."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Whose tokens are taken."""

    issuer: str
    audience: str
    jwks: str
    """A file's path, or an https URL."""
    roles_claim: str
    """Dotted path to a list, or a text of words, e.g. realm_access.roles."""


class KeySet:
    """The provider's public keys, read when needed and kept a while.

    Parameters
    ----------
    read : callable
        Reads the JWK set's text.
    """

    def __init__(
        self, read: Callable[[], str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at: float | None = None

    def find(self, key_id: str | None) -> jwt.PyJWK:
        """The key of this id; one without an id, if the set has but one.

        Raises
        ------
        Unauthenticated
            There is none.
        StoreUnavailable
            The set cannot be read, and was not before.
        """
        with self._lock:
            if self._is_due(key_id):
                self._renew()
            found = self._pick(key_id)
        if not self._keys:
            raise StoreUnavailable("the identity provider's keys cannot be read: try again later")
        if found is None:
            raise Unauthenticated("the token is signed with a key that its provider does not list")
        return found

    def _pick(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _is_due(self, key_id: str | None) -> bool:
        """Whether to read the set before this key is looked for in it."""
        if self._read_at is None:
            return True
        age_s = self._clock() - self._read_at
        if not self._keys:
            return age_s > RETRIED_EVERY_S
        return age_s > FRESH_S or (self._pick(key_id) is None and age_s > SEARCHED_EVERY_S)

    def _renew(self) -> None:
        """Read the set anew; the old one stays while that fails."""
        try:
            content = json.loads(self._read())
            keys = jwt.PyJWKSet.from_dict(content if isinstance(content, dict) else {}).keys
        except (OSError, ValueError, httpx.HTTPError, jwt.PyJWTError) as error:
            logger.warning("key_set_unreadable", extra={"cause": type(error).__name__})
        else:
            self._keys = {key.key_id: key for key in keys}
        self._read_at = self._clock()


class TokenVerifier:
    """Tells who sends a token."""

    def __init__(self, provider: Provider, keys: KeySet) -> None:
        self._provider = provider
        self._keys = keys

    def verify(self, token: str) -> Caller:
        """Check signature, issuer, audience and times; read subject and role.

        Raises
        ------
        Unauthenticated
            It is not a good token.
        StoreUnavailable
            The provider's keys cannot be read.
        """
        try:
            key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._provider.audience,
                issuer=self._provider.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("the token has expired: get a new one") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated("the token is not one that this service takes") from error
        owner = pseudonym(self._provider.issuer, claims["sub"])
        return Caller(owner, owner, self._role(claims))

    def _role(self, claims: dict[str, Any]) -> Role:
        """The highest of the roles that the token carries for this service."""
        found: Any = claims
        for name in self._provider.roles_claim.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        words = found.split() if isinstance(found, str) else found
        said = {word for word in words if isinstance(word, str)} if isinstance(words, list) else ()
        roles = [role for word, role in ROLES.items() if word in said]
        if not roles:
            raise Unauthenticated(
                f"the token gives no role here: its {self._provider.roles_claim} must hold one of "
                f"{', '.join(ROLES)}"
            )
        return max(roles, key=list(Role).index)


def pseudonym(issuer: str, subject: str) -> str:
    """Name a person in rows and logs without naming them; who knows the subject can work it out."""
    return "oidc:" + hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest()[:32]


def open_verifier(provider: Provider) -> TokenVerifier:
    """Make what checks a provider's tokens; nothing is read yet.

    Raises
    ------
    BadOption
        The place of its keys cannot be used.
    """
    place = urlsplit(provider.jwks)
    if place.scheme not in ("http", "https"):
        path = Path(provider.jwks)
        return TokenVerifier(provider, KeySet(lambda: path.read_text(encoding="utf-8")))
    if place.scheme == "http" and not is_loopback(place.hostname or ""):
        raise BadOption(
            "DLB_OIDC_JWKS: an http address can be forged on its way: give an https one, or a file"
        )
    return TokenVerifier(provider, KeySet(lambda: _fetch(provider.jwks)))


def _fetch(url: str) -> str:
    """Read a JWK set from its provider."""
    with httpx.stream("GET", url, timeout=TIMEOUT_S) as answer:
        answer.raise_for_status()
        content = bytearray()
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > MAX_SET_BYTES:
                raise ValueError("larger than any JWK set")
    return content.decode()
