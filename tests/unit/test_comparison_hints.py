"""Hints at comparisons share the jobs' queue; none may be lost in it for good."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from dlb_core.contracts import SegmentationOptions
from dlb_core.jobs.comparisons.dispatcher import OVERDUE_AFTER_S, ComparisonDispatcher
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.database import open_engine, upgrade
from dlb_core.jobs.embedded_redis import EmbeddedRedis
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.queue import ComparisonQueue
from dlb_core.jobs.store import JobStore


class Bench:
    """One comparison, what looks after it, and the queue, in which nobody reads."""

    def __init__(self, root: Path, broker_url: str) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.folder = DataFolder(root)
        self.folder.create()
        self.engine = open_engine(self.folder.database_url)
        upgrade(self.engine)
        jobs = JobStore(self.engine)
        self.store = ComparisonStore(self.engine, clock=lambda: self.now)
        self.queue = ComparisonQueue(broker_url)
        ids = [jobs.insert(uuid4(), SegmentationOptions(), {}).id for _ in range(2)]
        self.comparison_id = self.store.insert(ids[0], ids[1], owner=None).id

    def look(self, *, later_s: float = 0.0) -> int:
        """How many hints wait after another round of the dispatcher."""
        self.now += timedelta(seconds=later_s)
        ComparisonDispatcher(self.store, self.queue, self.folder).run_once()
        return self.queue.length()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench with a broker of its own."""
    broker = EmbeddedRedis(tmp_path / "broker")
    broker.start()
    try:
        bench = Bench(tmp_path / "data", broker.url)
        yield bench
        bench.queue.close()
        bench.engine.dispose()
    finally:
        broker.stop()


def test_a_hint_lost_from_a_queue_that_is_never_empty_is_sent_again(bench: Bench) -> None:
    """Jobs may fill the queue for days; the comparison must not wait for its first quiet hour."""
    assert bench.look() == 1
    assert bench.look(later_s=OVERDUE_AFTER_S - 1) == 1, "it may only be waiting its turn"

    assert bench.look(later_s=2) == 2
    assert bench.look(later_s=1) == 2


def test_one_given_back_gets_another_hint_at_once(bench: Bench) -> None:
    """Its first hint is used up: without another nobody would look at it."""
    assert bench.look() == 1
    claim = bench.store.claim(bench.comparison_id, 30.0)
    assert claim is not None

    assert bench.store.release(claim)

    assert bench.look(later_s=1) == 2
