"""Trainings in SQL: order of their tasks, leases, fences, and what ends them."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from dlb_core.errors import InputError
from dlb_core.jobs.store.sessions import utc_now
from dlb_core.jobs.training.records import (
    TaskClaim,
    TaskKind,
    TaskSpec,
    TaskState,
    TaskVerdict,
    TrainingState,
)
from dlb_core.jobs.training.store import TrainingStore

TASKS = [
    TaskSpec("generic", TaskKind.GENERIC, 10),
    TaskSpec("network-00", TaskKind.NETWORK, 5),
    TaskSpec("network-01", TaskKind.NETWORK, 5),
    TaskSpec("bundle", TaskKind.BUNDLE, 1),
]
LEASE_S = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrainingStore]:
    """An empty store."""
    with TrainingStore.open(f"sqlite:///{tmp_path / 'jobs.sqlite'}") as store:
        yield store


def _submit(store: TrainingStore) -> UUID:
    return store.submit("/runs/first", {"seed": 1}, TASKS)


def _claim(store: TrainingStore, training: UUID, name: str, worker: str = "a") -> TaskClaim:
    claim = store.claim((training, name), LEASE_S, worker_id=worker)
    assert claim is not None, f"{name} cannot be claimed"
    return claim


def _ready(store: TrainingStore) -> list[str]:
    return [name for _, name in store.due_for_dispatch(utc_now(), None)]


def _expire(store: TrainingStore, max_attempts: int = 3) -> list[str]:
    later = utc_now() + timedelta(seconds=LEASE_S + 1)
    return [name for _, name in store.requeue_expired(later, max_attempts)]


def test_each_kind_begins_when_the_one_before_is_done(store: TrainingStore) -> None:
    """A network without the generic weights, or a bundle of 74, would be nothing."""
    training = _submit(store)
    order = [_ready(store)]
    for name in ("generic", "network-01", "network-00", "bundle"):
        assert store.finish(_claim(store, training, name))
        order.append(_ready(store))

    assert order == [
        ["generic"],
        ["network-00", "network-01"],
        ["network-00"],
        ["bundle"],
        [],
    ]
    assert store.get(training).state is TrainingState.SUCCESSFUL


def test_a_task_is_claimed_once(store: TrainingStore) -> None:
    """A doubled message must find nothing."""
    training = _submit(store)
    _claim(store, training, "generic")

    assert store.claim((training, "generic"), LEASE_S, worker_id="b") is None
    assert store.claim((training, "bundle"), LEASE_S, worker_id="b") is None


def test_a_worker_that_lost_its_lease_can_write_nothing(store: TrainingStore) -> None:
    """It was frozen, and thaws while another one trains its network."""
    training = _submit(store)
    frozen = _claim(store, training, "generic")
    assert _expire(store) == ["generic"]
    successor = _claim(store, training, "generic", "b")

    writes = (
        store.heartbeat(frozen, step=9, loss=0.1),
        store.finish(frozen),
        store.fail(frozen, "x", "x"),
        store.release(frozen),
    )

    assert writes == (False,) * 4
    assert store.verdict(frozen) is TaskVerdict.LOST
    assert store.get(training).tasks[0].step == 0
    assert store.finish(successor)


def test_dying_at_one_spot_again_and_again_fails_the_training(store: TrainingStore) -> None:
    """Memory that is too small does not grow; the cause must reach who waits."""
    training = _submit(store)
    for _ in range(3):
        store.heartbeat(_claim(store, training, "generic"), step=4, loss=0.5)
        _expire(store)
    # The first of the three came further than any before, so one more is due.
    store.heartbeat(_claim(store, training, "generic"), step=4, loss=0.5)
    _expire(store)

    record = store.get(training)
    assert (record.state, record.error_code) == (TrainingState.FAILED, "worker-died")
    assert record.error_message is not None
    assert "generic: its workers died" in record.error_message
    assert "3 times at step 4" in record.error_message
    assert {task.state for task in record.tasks[1:]} == {TaskState.DISMISSED}


def test_a_worker_may_be_lost_any_number_of_times_while_steps_are_made(
    store: TrainingStore,
) -> None:
    """Machines that are taken away every hour still train in the end."""
    training = _submit(store)
    for step in range(1, 9):
        store.heartbeat(_claim(store, training, "generic"), step=step, loss=0.5)
        assert _expire(store) == ["generic"]

    assert store.get(training).state is TrainingState.RUNNING


def test_a_failed_task_ends_the_others(store: TrainingStore) -> None:
    """Hours of 73 networks for a bundle that cannot come would be wasted."""
    training = _submit(store)
    store.finish(_claim(store, training, "generic"))
    failing = _claim(store, training, "network-00")
    running = _claim(store, training, "network-01", "b")

    store.fail(failing, "checkpoint-corrupt", "the checkpoint is damaged")

    assert store.verdict(running) is TaskVerdict.LOST
    record = store.get(training)
    assert record.error_message == "network-00: the checkpoint is damaged"


def test_a_worker_that_stops_is_told_and_gives_its_network_back(store: TrainingStore) -> None:
    """An orderly stop costs no attempt."""
    training = _submit(store)
    for _ in range(5):
        claim = _claim(store, training, "generic", "stopping")
        store.worker_stopping("stopping")
        assert store.verdict(claim) is TaskVerdict.WORKER_STOPPING
        assert store.release(claim)

    assert _claim(store, training, "generic").attempt == 1


def test_the_same_command_finds_the_same_training(store: TrainingStore) -> None:
    """And another plan in the same folder is refused until the first has ended."""
    first = _submit(store)

    assert _submit(store) == first
    with pytest.raises(InputError, match="another training"):
        store.submit("/runs/first", {"seed": 2}, TASKS)
    assert store.cancel("/runs/first")
    assert store.get(first).state is TrainingState.DISMISSED
    assert store.submit("/runs/first", {"seed": 2}, TASKS) != first
    assert not store.cancel("/runs/second")


def test_a_hint_is_sent_again_only_when_it_is_stale(store: TrainingStore) -> None:
    """Else a long queue would fill the broker with copies."""
    training = _submit(store)
    now = utc_now()
    store.mark_sent([(training, "generic")], now)

    assert store.due_for_dispatch(now, None) == []
    assert store.due_for_dispatch(now, timedelta(seconds=30)) == []
    later = now + timedelta(seconds=31)
    assert store.due_for_dispatch(later, timedelta(seconds=30)) == [(training, "generic")]
    assert store.count_ready() == 1
