"""Keys: shown once, kept as digests, good until revoked or expired."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from dlb_core.contracts import Role, SegmentationOptions
from dlb_core.errors import KeyNotFound
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.keys import KeyStore
from dlb_core.jobs.store import JobStore
from tests.unit.databases import fresh_database


class Clock:
    """A time that passes when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with its schema."""
    engine = open_engine(fresh_database(tmp_path / "jobs.sqlite"))
    yield engine
    engine.dispose()


@pytest.fixture
def keys(engine: Engine, clock: Clock) -> KeyStore:
    """No keys yet."""
    return KeyStore(engine, clock=clock)


def test_a_key_opens_what_it_was_made_for(keys: KeyStore) -> None:
    """What a caller may do hangs on these fields."""
    record, key = keys.create("scanner 2", Role.SUBMIT)

    found = keys.verify(key)

    assert found is not None
    assert (found.id, found.role, found.owner) == (record.id, Role.SUBMIT, record.id)
    assert key.startswith(f"dlb_{record.id}_")


def test_no_part_of_the_secret_is_kept(keys: KeyStore, tmp_path: Path) -> None:
    """Whoever reads the database, or a backup of it, must not be able to send requests."""
    _, key = keys.create("scanner 2", Role.SUBMIT)
    keys.verify(key)
    keys.close()

    secret = key.split("_", 2)[2].encode()
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert any(b"scanner 2" in content for content in files)
    assert not any(secret[start : start + 12] in content for content in files for start in (0, 20))


@pytest.mark.parametrize(
    "change",
    [
        lambda key: "",
        lambda key: "dlb",
        lambda key: "dlb__",
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key.upper(),
        lambda key: "xyz" + key[3:],
        lambda key: key.rsplit("_", 1)[0] + "_",
        lambda key: key + "\0",
        lambda key: "dlb_' OR 1=1 --_" + key.split("_", 2)[2],
        lambda key: key + "é",
    ],
)
def test_what_is_not_the_key_opens_nothing(keys: KeyStore, change: object) -> None:
    """Near misses and nonsense alike, and none ends in a traceback."""
    _, key = keys.create("scanner 2", Role.SUBMIT)

    assert callable(change)
    assert keys.verify(change(key)) is None


def test_one_keys_secret_does_not_open_anothers_door(keys: KeyStore) -> None:
    """The id is public: it alone must not decide."""
    one, _ = keys.create("one", Role.ADMIN)
    _, other = keys.create("other", Role.READ)

    assert keys.verify(f"dlb_{one.id}_{other.split('_', 2)[2]}") is None


def test_a_revoked_key_opens_nothing_from_then_on(keys: KeyStore, clock: Clock) -> None:
    """It may be in the wrong hands; a second revocation keeps the first one's time."""
    record, key = keys.create("lost laptop", Role.READ)

    first = keys.revoke(record.id)
    clock.now += timedelta(hours=1)
    again = keys.revoke(record.id)

    assert keys.verify(key) is None
    assert first.revoked == again.revoked is not None
    assert keys.any(), "the service must not fall open again"
    with pytest.raises(KeyNotFound):
        keys.revoke("nonsense")


def test_an_expired_key_opens_nothing(keys: KeyStore, clock: Clock) -> None:
    """To the moment: what was promised to end has ended."""
    _, key = keys.create("visitor", Role.READ, expires=clock.now + timedelta(days=1))

    assert keys.verify(key) is not None
    clock.now += timedelta(days=1)
    assert keys.verify(key) is None


def test_the_last_use_is_kept_to_the_hour(keys: KeyStore, clock: Clock) -> None:
    """Enough to find keys that nobody uses, without a write for every poll."""
    _, key = keys.create("scanner", Role.SUBMIT)
    first = clock.now
    keys.verify(key)
    clock.now += timedelta(minutes=59)
    keys.verify(key)

    assert [record.used for record in keys.list_keys()] == [first]
    clock.now += timedelta(minutes=1)
    keys.verify(key)
    assert [record.used for record in keys.list_keys()] == [clock.now]


def test_roles_include_those_below_them() -> None:
    """An order, not a set: there is no key that may submit and not see what came of it."""
    assert [[one.includes(other) for other in Role] for one in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_a_jobs_owner_is_known(engine: Engine) -> None:
    """What decides who sees a job."""
    jobs = JobStore(engine)
    owned, free = uuid4(), uuid4()
    jobs.insert(owned, SegmentationOptions(), {}, owner="radiology")
    jobs.insert(free, SegmentationOptions(), {})

    assert [jobs.owner_of(job) for job in (owned, free, uuid4())] == ["radiology", None, None]
