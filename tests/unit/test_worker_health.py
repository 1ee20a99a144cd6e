"""The health check of a worker's container."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.store import JobStore
from worker import health
from worker.liveness import host_name


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    """A job store where this process's settings point."""
    monkeypatch.setenv("DLB_DATA", str(tmp_path))
    with JobStore.open(DataFolder(tmp_path).database_url) as store:
        yield store


def test_only_a_worker_of_this_host_counts(store: JobStore) -> None:
    """Another container's worker says nothing about this one's."""
    assert health.main() == 1
    store.worker_seen("dlb-1@another-host")
    assert health.main() == 1
    store.worker_seen(f"dlb-2@{host_name()}")
    assert health.main() == 0


def test_a_worker_that_stops_is_not_healthy(store: JobStore) -> None:
    """It takes no more jobs."""
    store.worker_seen(f"dlb-1@{host_name()}")
    store.worker_stopping(f"dlb-1@{host_name()}")

    assert health.main() == 1


def test_settings_that_cannot_be_used_are_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misconfigured container must show as such, not crash its check."""
    monkeypatch.delenv("DLB_DATA", raising=False)

    assert health.main() == 1
