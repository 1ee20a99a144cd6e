"""The dispatcher: every waiting job gets a hint, and no outage stops it for good."""

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dlb_core.contracts import JobState, Priority, SegmentationOptions
from dlb_core.errors import StoreUnavailable
from dlb_core.jobs.dispatcher import Dispatcher
from dlb_core.jobs.layout import DataFolder, image_in
from dlb_core.jobs.leftovers import remove_leftovers
from dlb_core.jobs.queue import JobQueue
from dlb_core.jobs.store import JobStore


class Queue:
    """A broker in memory that can be away, or lose what it holds."""

    def __init__(self) -> None:
        self.waiting: list[UUID] = []
        self.away = False
        self.room = 1000
        self.arrived = threading.Event()
        self._asked = 0
        self._changed = threading.Condition()

    def wait_for_rounds(self, number: int) -> None:
        """Wait until a dispatcher has asked so many times more."""
        with self._changed:
            goal = self._asked + number
            assert self._changed.wait_for(lambda: self._asked >= goal, timeout=10)

    def send(self, job_id: UUID) -> None:
        """Keep a hint."""
        if self.away or len(self.waiting) >= self.room:
            raise StoreUnavailable("away")
        self.waiting.append(job_id)
        self.arrived.set()

    def length(self) -> int:
        """Count the hints."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
        if self.away:
            raise StoreUnavailable("away")
        return len(self.waiting)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder."""
    folder = DataFolder(tmp_path / "data")
    folder.create()
    return folder


@pytest.fixture
def store(folder: DataFolder) -> Iterator[JobStore]:
    """A job store in it."""
    with JobStore.open(folder.database_url) as store:
        yield store


@pytest.fixture
def queue() -> Queue:
    """An empty queue."""
    return Queue()


def make_dispatcher(
    store: JobStore, queue: Queue, folder: DataFolder, *, stale_after_s: float = 0.0
) -> Dispatcher:
    """A dispatcher for which every hint is stale at once, unless told otherwise."""
    return Dispatcher(
        store, queue, folder, stale_after_s=stale_after_s, interval_s=0.01, max_attempts=1
    )


def accept(store: JobStore, folder: DataFolder) -> UUID:
    """Insert a job with its files."""
    job_id = uuid4()
    folder.inputs(job_id).mkdir(parents=True)
    image_in(folder.inputs(job_id), "T1w").write_bytes(b"scan")
    store.insert(job_id, SegmentationOptions(), {})
    return job_id


def test_each_new_job_gets_one_hint_in_order(
    store: JobStore, queue: Queue, folder: DataFolder
) -> None:
    """First come, first served; a second round sends nothing new."""
    jobs = [accept(store, folder) for _ in range(3)]
    dispatcher = make_dispatcher(store, queue, folder, stale_after_s=60)

    dispatcher.run_once()
    dispatcher.run_once()

    assert queue.waiting == jobs


def test_a_lost_hint_is_sent_again(store: JobStore, queue: Queue, folder: DataFolder) -> None:
    """Redis may forget everything."""
    job_id = accept(store, folder)
    dispatcher = make_dispatcher(store, queue, folder)
    dispatcher.run_once()
    queue.waiting.clear()

    dispatcher.run_once()

    assert queue.waiting == [job_id]


def test_hints_that_wait_their_turn_are_not_doubled(
    store: JobStore, queue: Queue, folder: DataFolder
) -> None:
    """A busy week must not fill the broker with copies."""
    for _ in range(3):
        accept(store, folder)
    dispatcher = make_dispatcher(store, queue, folder)

    for _ in range(20):
        dispatcher.run_once()

    assert len(queue.waiting) == 3


def test_a_broker_that_breaks_off_costs_no_hint(
    store: JobStore, queue: Queue, folder: DataFolder
) -> None:
    """What was sent is noted, what was not is sent later: none twice, none never."""
    jobs = [accept(store, folder) for _ in range(3)]
    dispatcher = make_dispatcher(store, queue, folder, stale_after_s=60)
    queue.room = 2
    with pytest.raises(StoreUnavailable):
        dispatcher.run_once()

    queue.room = 1000
    dispatcher.run_once()

    assert queue.waiting == jobs


def test_the_thread_outlives_an_outage_and_says_so_once(
    store: JobStore, queue: Queue, folder: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """A night without Redis must not fill the disk with logs."""
    queue.away = True
    job_id = accept(store, folder)
    dispatcher = make_dispatcher(store, queue, folder)
    with caplog.at_level("INFO"):
        dispatcher.start()
        queue.wait_for_rounds(5)
        queue.away = False
        assert queue.arrived.wait(10)
        queue.wait_for_rounds(2)
        dispatcher.stop()

    assert queue.waiting == [job_id]
    events = [record.message for record in caplog.records]
    assert events.count("dispatch_interrupted") == 1
    assert events.count("dispatch_resumed") == 1


def test_waking_sends_a_new_job_without_waiting_for_the_next_round(
    store: JobStore, queue: Queue, folder: DataFolder
) -> None:
    """A user who has just submitted looks at the screen."""
    dispatcher = Dispatcher(store, queue, folder, interval_s=3600)
    dispatcher.start()
    job_id = accept(store, folder)
    dispatcher.wake()

    assert queue.arrived.wait(10)
    dispatcher.stop()
    assert queue.waiting == [job_id]


def test_files_of_a_job_that_fails_here_are_tidied(
    store: JobStore, queue: Queue, folder: DataFolder
) -> None:
    """No worker is left to do it: the images stay for a retry, half results do not."""
    failed, cancelled = accept(store, folder), accept(store, folder)
    for job_id in (failed, cancelled):
        store.claim(job_id, lease_s=-1.0)
        folder.attempt(job_id, 1).mkdir(parents=True)
    store.request_cancel(cancelled)

    make_dispatcher(store, queue, folder).run_once()

    assert store.get(failed).state is JobState.FAILED
    assert image_in(folder.inputs(failed), "T1w").exists()
    assert not folder.attempt(failed, 1).exists()
    assert store.get(cancelled).state is JobState.DISMISSED
    assert not folder.job(cancelled).exists()


def test_jobs_are_hinted_at_in_the_order_of_their_turns(
    store: JobStore, queue: Queue, folder: DataFolder
) -> None:
    """Whoever looks at the broker sees what comes next."""
    research, routine, stat = (
        store.insert(uuid4(), SegmentationOptions(), {}, priority=priority).id
        for priority in (Priority.RESEARCH, Priority.ROUTINE, Priority.STAT)
    )

    make_dispatcher(store, queue, folder).run_once()

    assert queue.waiting == [stat, routine, research]


def test_a_job_that_pauses_gets_no_hint(store: JobStore, queue: Queue, folder: DataFolder) -> None:
    """Its hint would be spent on nothing."""
    claim = store.claim(accept(store, folder), 30.0)
    assert claim is not None
    store.retry_or_fail(claim, "disk-full", "no room", max_attempts=2, pause_s=3600)

    make_dispatcher(store, queue, folder).run_once()

    assert queue.waiting == []


def test_leftovers_of_ended_jobs_go_and_everything_else_stays(
    store: JobStore, folder: DataFolder
) -> None:
    """A worker killed between the job's end and the clean-up leaves scans behind."""
    waiting, dismissed, done = (accept(store, folder) for _ in range(3))
    store.request_cancel(dismissed)
    store.claim(done, 30.0)
    store.requeue_expired(store.get(done).created.replace(year=2100), 3)
    claim = store.claim(done, 30.0)
    assert claim is not None
    store.finish(claim, [], {})
    for fence in (1, 2):
        folder.attempt(done, fence).mkdir(parents=True)
    unknown = folder.inputs(uuid4())
    unknown.mkdir(parents=True)

    remove_leftovers(store, folder)

    assert image_in(folder.inputs(waiting), "T1w").exists()
    assert not folder.job(dismissed).exists()
    assert not folder.inputs(done).exists()
    assert [path.name for path in folder.attempt(done, 2).parent.iterdir()] == ["2"]
    assert unknown.exists()


def test_a_broker_that_is_away_is_said_so_at_once() -> None:
    """The dispatcher retries by itself: the publisher must not hang in it."""
    queue = JobQueue("redis://127.0.0.1:1/0")
    for call in (queue.ping, queue.length, lambda: queue.send(uuid4())):
        with pytest.raises(StoreUnavailable):
            call()
    queue.close()
