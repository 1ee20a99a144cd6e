"""Upload quotas: counted before the bytes come, exactly, over all processes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dlb_core.errors import RateLimited
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.quotas import UploadQuotas
from tests.unit.databases import fresh_database

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with its schema."""
    engine = open_engine(fresh_database(tmp_path / "jobs.sqlite"))
    yield engine
    engine.dispose()


def refused(quotas: UploadQuotas, size_bytes: int, *, owner: str = "radiology") -> bool:
    """Whether an upload is refused."""
    try:
        quotas.reserve(owner, size_bytes)
    except RateLimited:
        return True
    return False


def test_the_number_of_uploads_a_day_is_limited(engine: Engine) -> None:
    """Each owner has their own; the refusal says when to come back."""
    quotas = UploadQuotas(engine, uploads=2, size_bytes=0, clock=lambda: NOON)

    assert [refused(quotas, 10**12) for _ in range(3)] == [False, False, True]
    assert not refused(quotas, 1, owner="neurology")
    with pytest.raises(RateLimited, match="2 uploads a day") as refusal:
        quotas.reserve("radiology", 1)
    assert refusal.value.retry_after_s == 12 * 3600


def test_the_bytes_a_day_are_limited_and_corrected(engine: Engine) -> None:
    """What was announced is reserved; what did not come is given back."""
    quotas = UploadQuotas(engine, uploads=0, size_bytes=100, clock=lambda: NOON)

    assert not refused(quotas, 60)
    assert refused(quotas, 41)
    quotas.settle("radiology", -20, day=NOON.date())
    assert not refused(quotas, 60)
    assert refused(quotas, 1)


def test_a_new_day_begins_with_a_full_quota(engine: Engine) -> None:
    """A UTC day, whatever the machine's own zone."""
    now = NOON
    quotas = UploadQuotas(engine, uploads=1, size_bytes=0, clock=lambda: now)
    assert [refused(quotas, 1), refused(quotas, 1)] == [False, True]

    now += timedelta(hours=12)
    assert not refused(quotas, 1)


def test_an_upload_over_midnight_leaves_no_more_than_a_days_quota(engine: Engine) -> None:
    """What it did not use was the day's before."""
    now = NOON
    quotas = UploadQuotas(engine, uploads=0, size_bytes=100, clock=lambda: now)
    day = quotas.reserve("radiology", 100)
    now += timedelta(hours=12)
    quotas.reserve("radiology", 50)

    quotas.settle("radiology", -100, day=day)

    assert refused(quotas, 51)
    assert not refused(quotas, 50)


def test_no_limit_means_none(engine: Engine) -> None:
    """Zero switches a limit off."""
    quotas = UploadQuotas(engine, uploads=0, size_bytes=0, clock=lambda: NOON)

    assert not any(refused(quotas, 10**12) for _ in range(5))


def test_uploads_at_the_same_moment_do_not_pass_together(engine: Engine) -> None:
    """The check and the count are one change."""
    quotas = UploadQuotas(engine, uploads=5, size_bytes=0, clock=lambda: NOON)

    with ThreadPoolExecutor(8) as pool:
        refusals = list(pool.map(lambda _: refused(quotas, 1), range(16)))

    assert refusals.count(False) == 5
