"""Keys to the API: who may do what, and whose jobs they see.

A key is `dlb_<id>_<secret>`. The secret holds 256 random bits, so a plain SHA-256 of the key is
what the database keeps: slow hashes and salts make guessable passwords costly to guess, and there
is nothing here that anyone could guess. A key is shown once, when it is made.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update

from dlb_core.contracts import Role
from dlb_core.errors import KeyNotFound
from dlb_core.jobs.key_tables import ApiKeyRow
from dlb_core.jobs.store.sessions import Sessions

PREFIX = "dlb"
ID_BYTES = 6
SECRET_BYTES = 32
NOTED_EVERY = timedelta(hours=1)
"""How exactly a key's last use is kept: a write for every request would wear out the disk."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it stands, without its secret; times are UTC."""

    id: str
    name: str
    role: Role
    owner: str
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    used: datetime | None

    def is_live(self, now: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class KeyStore(Sessions):
    """Keys in SQL. Safe to share between threads.

    Every method raises `StoreUnavailable` where the database does not answer.
    """

    def create(
        self,
        name: str,
        role: Role,
        *,
        owner: str | None = None,
        expires: datetime | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key.

        Parameters
        ----------
        name : str
            For people; may be anything short.
        role : Role
        owner : str, optional
            Whose jobs it submits and sees. None: nobody's but its own.
        expires : datetime, optional
            From then on it opens nothing.

        Returns
        -------
        (KeyRecord, str)
            The record, and the key itself, which nobody can read again.
        """
        key_id = secrets.token_hex(ID_BYTES)
        key = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        row = ApiKeyRow(
            id=key_id,
            digest=digest_of(key),
            name=name,
            role=role,
            owner=owner or key_id,
            created=self._clock(),
            expires=expires,
        )
        with self._write() as session:
            session.add(row)
            session.flush()
            return _record_of(row), key

    def verify(self, key: str) -> KeyRecord | None:
        """Find the live key that this is; None: there is none. Notes that it was used."""
        parts = key.split("_", 2)
        if len(parts) != 3 or parts[0] != PREFIX:
            return None
        now = self._clock()
        with self._read() as session:
            row = session.get(ApiKeyRow, parts[1])
            if row is None or not hmac.compare_digest(row.digest, digest_of(key)):
                return None
            record = _record_of(row)
        if not record.is_live(now):
            return None
        if record.used is None or record.used <= now - NOTED_EVERY:
            self._note_use(record.id, now)
        return record

    def list_keys(self) -> list[KeyRecord]:
        """All keys, oldest first."""
        query = select(ApiKeyRow).order_by(ApiKeyRow.created, ApiKeyRow.id)
        with self._read() as session:
            return [_record_of(row) for row in session.scalars(query)]

    _was_made = False

    def any(self) -> bool:
        """Whether a key was ever made; a revoked one counts: it shut the door once.

        Rows of keys stay, so that the answer yes is asked for once.
        """
        if not self._was_made:
            with self._read() as session:
                self._was_made = session.scalar(select(ApiKeyRow.id).limit(1)) is not None
        return self._was_made

    def revoke(self, key_id: str) -> KeyRecord:
        """Make a key open nothing from now on; its jobs stay.

        Raises
        ------
        KeyNotFound
        """
        with self._write() as session:
            row = session.get(ApiKeyRow, key_id)
            if row is None:
                raise KeyNotFound("no key of this id: `dlb keys list` shows those there are")
            row.revoked = row.revoked or self._clock()
            session.flush()
            return _record_of(row)

    def _note_use(self, key_id: str, now: datetime) -> None:
        with self._write() as session:
            session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(used=now))


def digest_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _record_of(row: ApiKeyRow) -> KeyRecord:
    """Copy a row."""
    return KeyRecord(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        owner=row.owner,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        used=row.used,
    )
