"""Tokens of an identity provider: taken only if signed by it, for us, and for now."""

import base64
import contextlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from service_kit import service

from dlb_core.contracts import Role
from dlb_core.errors import BadOption, StoreUnavailable, Unauthenticated
from service.oidc import (
    MAX_SET_BYTES,
    RETRIED_EVERY_S,
    SEARCHED_EVERY_S,
    KeySet,
    Provider,
    TokenVerifier,
    open_verifier,
    pseudonym,
)

ISSUER, AUDIENCE = "https://login.hospital.example", "dlb"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


def jwk_set(**keys: Any) -> str:
    """Public keys by id, as a provider publishes them."""
    entries = []
    for key_id, key in keys.items():
        algorithm = (
            jwt.algorithms.ECAlgorithm
            if isinstance(key, ec.EllipticCurvePrivateKey)
            else jwt.algorithms.RSAAlgorithm
        )
        entry = json.loads(algorithm.to_jwk(key.public_key()))
        entries.append(entry | {"kid": key_id, "use": "sig"})
    return json.dumps({"keys": entries})


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim out."""
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "jane.doe@hospital.example",
        "iat": now,
        "exp": now + 300,
        "roles": ["dlb-submit", "mail"],
    }
    return {key: value for key, value in (said | changes).items() if value is not None}


def token(
    said: dict[str, Any], *, key: Any = KEY, key_id: str | None = "a", algorithm: str = "RS256"
) -> str:
    """A signed token."""
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode(said, key, algorithm=algorithm, headers=headers)


def verifier(text: str | None = None, *, roles_claim: str = "roles") -> TokenVerifier:
    """What checks this provider's tokens."""
    provider = Provider(ISSUER, AUDIENCE, "unused", roles_claim)
    found = jwk_set(a=KEY, e=EC_KEY) if text is None else text
    return TokenVerifier(provider, KeySet(lambda: found))


def test_a_good_token_tells_who_and_what() -> None:
    """The subject is a person: rows and logs hold a pseudonym that only fits them."""
    caller = verifier().verify(token(claims()))

    assert caller.role is Role.SUBMIT
    assert caller.owner == caller.id == pseudonym(ISSUER, "jane.doe@hospital.example")
    assert "jane" not in caller.id
    assert caller.id != pseudonym("https://other.example", "jane.doe@hospital.example")
    signed_otherwise = token(claims(), key=EC_KEY, key_id="e", algorithm="ES256")
    assert verifier().verify(signed_otherwise).id == caller.id


def forged_with_the_public_key() -> str:
    """The oldest trick: HS256, with what everybody knows as its secret."""
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # By hand: the library refuses to make such a token.
    parts = ({"alg": "HS256", "kid": "a"}, claims())
    signed = b".".join(base64url(json.dumps(part).encode()) for part in parts)
    signature = hmac.digest(public, signed, "sha256")
    return (signed + b"." + base64url(signature)).decode()


def base64url(data: bytes) -> bytes:
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.mark.parametrize(
    "bad",
    [
        token(claims(exp=int(time.time()) - 3600)),
        token(claims(exp=None)),
        token(claims(nbf=int(time.time()) + 3600)),
        token(claims(iss="https://evil.example")),
        token(claims(iss=None)),
        token(claims(aud="another-program")),
        token(claims(aud=None)),
        token(claims(sub=None)),
        token(claims(), key=OTHER_KEY),
        token(claims(), key_id="unknown"),
        token(claims(), key_id=None),
        token(claims(), key=EC_KEY, algorithm="ES256"),
        jwt.encode(claims(), None, algorithm="none", headers={"kid": "a"}),
        forged_with_the_public_key(),
        token(claims())[:-5] + "AAAAA",
        token(claims()).replace(".", "", 1),
        "a.b.c",
        "é",
        "",
    ],
)
def test_any_other_token_is_refused(bad: str) -> None:
    """Expired, early, another's, for another, unsigned, forged, cut off."""
    with pytest.raises(Unauthenticated):
        verifier().verify(bad)


@pytest.mark.parametrize(
    ("path", "said", "role"),
    [
        ("roles", {"roles": ["dlb-read"]}, Role.READ),
        ("roles", {"roles": ["dlb-read", "dlb-admin", "dlb-submit"]}, Role.ADMIN),
        ("scope", {"scope": "openid dlb-submit"}, Role.SUBMIT),
        ("realm_access.roles", {"realm_access": {"roles": ["dlb-admin"]}}, Role.ADMIN),
        ("roles", {"roles": ["admin", "submit"]}, None),
        ("roles", {"roles": []}, None),
        ("roles", {"roles": None}, None),
        ("roles", {"roles": 7}, None),
        ("roles", {"roles": [["dlb-admin"], {}]}, None),
        ("roles.more", {"roles": "dlb-admin"}, None),
    ],
)
def test_the_role_comes_from_the_claim(path: str, said: dict[str, Any], role: Role | None) -> None:
    """Another program's "admin" is none here, and no role is no entry."""
    check = verifier(roles_claim=path)
    if role is None:
        with pytest.raises(Unauthenticated, match="role"):
            check.verify(token(claims(**said)))
    else:
        assert check.verify(token(claims(**said))).role is role


class Provided:
    """A provider's key set that can change and fail, and a time that passes when told to."""

    def __init__(self) -> None:
        self.text = jwk_set(a=KEY)
        self.reads = 0
        self.now = 0.0
        self.keys = KeySet(self.read, clock=lambda: self.now)

    def read(self) -> str:
        """Read it."""
        self.reads += 1
        if not self.text:
            raise OSError
        return self.text


def test_a_new_key_is_found_without_a_restart_and_not_searched_for_too_often() -> None:
    """Providers change their keys; anyone can send tokens that name keys which do not exist."""
    provided = Provided()
    provided.keys.find("a")
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            provided.keys.find("b")
    assert provided.reads == 1

    provided.text = jwk_set(b=OTHER_KEY)
    provided.now += SEARCHED_EVERY_S + 1
    assert provided.keys.find("b").key_id == "b"
    with pytest.raises(Unauthenticated):
        provided.keys.find("a")
    assert provided.reads == 2


def test_a_provider_that_is_away_locks_nobody_out_whose_key_is_known() -> None:
    """The keys of an hour ago are as good as they were; without any there is no telling."""
    provided = Provided()
    provided.keys.find("a")
    provided.text = ""
    provided.now += 1e6
    assert provided.keys.find("a").key_id == "a"

    never = Provided()
    never.text = ""
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            never.keys.find("a")
    assert never.reads == 1, "each of them would wait for the provider"
    never.text = jwk_set(a=KEY)
    never.now += RETRIED_EVERY_S + 1
    assert never.keys.find("a").key_id == "a"


class _Provider(BaseHTTPRequestHandler):
    """Serves a key set, and other things than a key set."""

    def do_GET(self) -> None:
        """Answer by the path."""
        good = jwk_set(a=KEY).encode()
        bodies = {"/keys": good, "/long": good + b" " * (MAX_SET_BYTES + 1)}
        self.send_response(200 if self.path in bodies else 302)
        self.send_header("Location", "/keys")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(bodies.get(self.path, b""))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("path", "good"), [("keys", True), ("long", False), ("moved", False)])
def test_keys_are_fetched_from_the_providers_own_address(path: str, good: bool) -> None:
    """From there alone, and no more of them than there can be."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/{path}"
        check = open_verifier(Provider(ISSUER, AUDIENCE, url, "roles"))
        if good:
            assert check.verify(token(claims())).role is Role.SUBMIT
        else:
            with pytest.raises(StoreUnavailable):
                check.verify(token(claims()))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"keys": []}', '{"keys": [{"kty": "x"}]}']
)
def test_a_broken_key_set_lets_nobody_in(text: str) -> None:
    """Nor does it end in a traceback."""
    with pytest.raises(StoreUnavailable):
        verifier(text).verify(token(claims()))


def test_keys_are_not_fetched_over_a_line_that_can_be_forged(tmp_path: Path) -> None:
    """Whoever forges the key set signs their own tokens."""
    with pytest.raises(BadOption, match="https"):
        open_verifier(Provider(ISSUER, AUDIENCE, "http://login.example/jwks", "roles"))


@pytest.mark.anyio
async def test_the_service_takes_tokens_and_keys_side_by_side(tmp_path: Path) -> None:
    """People come with tokens, programs with keys; each sees their own jobs."""
    (tmp_path / "jwks.json").write_text(jwk_set(a=KEY))
    settings = {
        "oidc_issuer": ISSUER,
        "oidc_audience": AUDIENCE,
        "oidc_jwks": str(tmp_path / "jwks.json"),
    }
    async with service(tmp_path, **settings) as (client, services):
        _, key = services.gate.keys.create("a program", Role.READ)
        statuses = [
            (await client.get("/v1/jobs", headers={"Authorization": f"Bearer {credentials}"}))
            for credentials in (token(claims()), key, token(claims(), key=OTHER_KEY))
        ]
        without = await client.get("/v1/jobs")

    assert [answer.status_code for answer in [*statuses, without]] == [200, 200, 401, 401]
