"""The thread that keeps a network's lease while another one trains."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlb_core.jobs.training.records import TaskClaim, TaskKind, TaskSpec, TaskVerdict
from dlb_core.jobs.training.store import TrainingStore
from worker.training_keeper import Keeper

PATIENCE_S = 60.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrainingStore]:
    """An empty store."""
    with TrainingStore.open(f"sqlite:///{tmp_path / 'jobs.sqlite'}") as store:
        yield store


def _claim(store: TrainingStore) -> TaskClaim:
    training = store.submit("/run", {}, [TaskSpec("generic", TaskKind.GENERIC, 9)])
    claim = store.claim((training, "generic"), 600.0, worker_id="a")
    assert claim is not None
    return claim


def _keeper(store: TrainingStore, claim: TaskClaim) -> Keeper:
    return Keeper(claim, store, heartbeat_s=0.01, poll_s=0.01)


def _wait_for_stop(keeper: Keeper) -> TaskVerdict:
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if keeper.should_stop():
            break
        pause.wait(0.01)
    return keeper.verdict


def test_progress_reaches_the_store(store: TrainingStore) -> None:
    """Whoever watches sees the steps, and a lost worker's attempts are counted by them."""
    claim = _claim(store)
    pause = threading.Event()

    with _keeper(store, claim) as keeper:
        keeper.note(4, 0.25)
        for _ in range(int(PATIENCE_S / 0.01)):
            task = store.get(claim.training_id).tasks[0]
            if task.step:
                break
            pause.wait(0.01)

    assert (task.step, task.loss) == (4, 0.25)
    assert not keeper.should_stop()


def test_a_stopping_worker_ends_its_training(store: TrainingStore) -> None:
    """SIGTERM reaches the worker's main process; the one that trains hears of it here."""
    claim = _claim(store)

    with _keeper(store, claim) as keeper:
        store.worker_stopping("a")
        verdict = _wait_for_stop(keeper)

    assert verdict is TaskVerdict.WORKER_STOPPING


def test_a_cancelled_training_ends(store: TrainingStore) -> None:
    """Nobody wants the rest of its network."""
    claim = _claim(store)

    with _keeper(store, claim) as keeper:
        store.cancel("/run")
        verdict = _wait_for_stop(keeper)

    assert verdict is TaskVerdict.LOST
