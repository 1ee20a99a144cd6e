"""Deliveries to archives: ordered once, tried until given up, replayed, and fenced."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dlb_core.artefacts import DICOM_SEG
from dlb_core.contracts import ArtefactEntry, SegmentationOptions
from dlb_core.errors import DeliveryNotFound, JobNotFound, ResultsExpired
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.deliveries.courier import PAUSES_S, DeliveryCourier
from dlb_core.jobs.deliveries.store import DeliveryStore
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.store import JobStore
from dlb_core.pacs.archives import Archive
from dlb_core.pacs.documents import DeliveryState
from tests.unit.databases import fresh_database

AWAY = {"main": Archive(url="http://127.0.0.1:1/dicom-web")}


class Bench:
    """A data folder, its stores, and a clock that a test moves."""

    def __init__(self, root: Path, engine: Engine) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.engine = engine
        self.folder = DataFolder(root)
        self.folder.create()
        self.jobs = JobStore(engine, clock=self.clock)
        self.store = DeliveryStore(engine, clock=self.clock)

    def clock(self) -> datetime:
        """What time it is."""
        return self.now

    def job(self, *, artefact: str = DICOM_SEG) -> UUID:
        """A job that has succeeded, with one file."""
        job_id = uuid4()
        self.jobs.insert(job_id, SegmentationOptions(), {})
        claim = self.jobs.claim(job_id, 30.0, worker_id="w")
        assert claim is not None
        folder = self.folder.attempt(job_id, claim.fence)
        folder.mkdir(parents=True)
        (folder / artefact).write_bytes(b"no DICOM")
        entry = ArtefactEntry(name=artefact, media_type="x", size_bytes=8, sha256="0" * 64)
        assert self.jobs.finish(claim, [entry], {})
        return job_id

    def courier(self) -> DeliveryCourier:
        """Whoever sends, to an archive that is not there."""
        return DeliveryCourier(self.store, AWAY, self.folder, clock=self.clock)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench."""
    engine = open_engine(fresh_database(tmp_path / "jobs.sqlite"))
    yield Bench(tmp_path, engine)
    engine.dispose()


def test_the_same_order_given_twice_is_one_delivery(bench: Bench) -> None:
    """A caller that repeats itself must not flood an archive."""
    job_id = bench.job()

    first, second = bench.store.order(job_id, "main"), bench.store.order(job_id, "main")

    assert first == second
    assert bench.store.of_job(job_id) == [first]
    with pytest.raises(JobNotFound):
        bench.store.order(uuid4(), "main")


def test_a_delivery_waits_for_its_jobs_success(bench: Bench) -> None:
    """It is ordered with the job, hours before there is anything to deliver."""
    job_id = uuid4()
    bench.jobs.insert(job_id, SegmentationOptions(), {})
    bench.store.order(job_id, "main")

    assert bench.store.take(lease_s=60) is None


def test_an_archive_that_is_away_is_tried_for_two_days_and_can_be_replayed(bench: Bench) -> None:
    """Archives are down for a weekend now and then; nobody should have to notice."""
    job_id = bench.job()
    delivery = bench.store.order(job_id, "main")
    began = bench.now
    while bench.store.of_job(job_id)[0].state is DeliveryState.PENDING:
        bench.courier().run_once()
        bench.now = bench.store.of_job(job_id)[0].next_try or bench.now

    ended = bench.store.of_job(job_id)[0]
    assert (ended.state, ended.attempts) == (DeliveryState.FAILED, len(PAUSES_S) + 1)
    assert timedelta(days=1.5) < bench.now - began < timedelta(days=3)
    assert all(attempt.error for attempt in ended.log)

    again = bench.store.replay(job_id, delivery.id)
    assert (again.state, again.attempts) == (DeliveryState.PENDING, 0)
    assert bench.store.take(lease_s=60) is not None
    with pytest.raises(DeliveryNotFound):
        bench.store.replay(bench.job(), delivery.id)


def test_a_sender_that_died_is_followed_by_another_and_its_word_no_longer_counts(
    bench: Bench,
) -> None:
    """Two that send at once agree on the outcome: the last one's."""
    job_id = bench.job()
    bench.store.order(job_id, "main")
    zombie = bench.store.take(lease_s=60)
    assert zombie is not None
    assert bench.store.take(lease_s=60) is None, "it is being sent"

    bench.now += timedelta(seconds=61)
    second = bench.store.take(lease_s=60)

    assert second is not None
    assert not bench.store.note(zombie, DeliveryState.FAILED, error="late")
    assert bench.store.note(second, DeliveryState.DELIVERED)
    assert bench.store.of_job(job_id)[0].delivered == bench.now


def test_what_can_never_be_delivered_says_why(bench: Bench) -> None:
    """A job that came as NIfTI has nothing for an archive; so has one whose archive was removed."""
    nifti, orphan = bench.job(artefact="report.json"), bench.job()
    bench.store.order(nifti, "main")
    bench.store.order(orphan, "removed")

    bench.courier().run_once()

    (given_up,) = bench.store.of_job(nifti)
    assert "did not come as DICOM" in (given_up.log[0].error or "")
    assert given_up.state is DeliveryState.FAILED, "another attempt would go no better"
    assert "no archive of this name" in (bench.store.of_job(orphan)[0].log[0].error or "")


def test_a_fault_that_nobody_foresaw_is_noted_and_holds_nobody_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken again for ever with an empty log, nobody would learn of it."""
    jobs = [bench.job(), bench.job()]
    for job_id in jobs:
        bench.store.order(job_id, "main")

    def broken(*_: object) -> None:
        raise ValueError("text of a library")

    monkeypatch.setattr("dlb_core.pacs.send.send", broken)
    bench.courier().run_once()

    for job_id in jobs:
        (delivery,) = bench.store.of_job(job_id)
        assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 1)
        assert "ValueError" in (delivery.log[0].error or "")
        assert delivery.next_try is not None
        assert delivery.next_try > bench.now


def test_what_is_no_longer_kept_is_no_longer_on_its_way(bench: Bench) -> None:
    """A delivery that says "pending" for ever would be waited for."""
    job_id = bench.job()
    waiting = bench.store.order(job_id, "main")

    bench.jobs.expire_results(bench.now + timedelta(days=1))

    (ended,) = bench.store.of_job(job_id)
    assert (ended.state, ended.next_try) == (DeliveryState.FAILED, None)
    assert "no longer kept" in (ended.log[-1].error or "")
    with pytest.raises(ResultsExpired):
        bench.store.replay(job_id, waiting.id)
    with pytest.raises(ResultsExpired):
        bench.store.order(job_id, "another")


def test_an_order_waits_for_an_expiry_that_is_under_way(bench: Bench) -> None:
    """Else it would be of results that are gone, and wait for ever."""
    job_id = bench.job()
    with ThreadPoolExecutor(1) as pool:
        with Session(bench.engine) as session, session.begin():
            row = session.get(JobRow, job_id, with_for_update=True)
            assert row is not None
            row.expired = bench.now
            session.flush()
            order = pool.submit(bench.store.order, job_id, "main")
            # Time enough for an order that does not wait.
            wait([order], timeout=0.3)

        with pytest.raises(ResultsExpired):
            order.result()
    assert bench.store.of_job(job_id) == []


def test_deliveries_go_with_their_job(bench: Bench) -> None:
    """What is forgotten leaves nothing behind."""
    job_id = bench.job()
    bench.store.order(job_id, "main")

    bench.jobs.remove(job_id)

    assert bench.store.of_job(job_id) == []
