"""A comparison that ends without results says so, and as soon as it can."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dlb_core.contracts import ComparisonState
from dlb_core.errors import JobNotFound, StoreUnavailable
from dlb_core.jobs.comparisons.records import ComparisonClaim
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.database import open_engine, upgrade
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore
from worker.comparison import run_comparison
from worker.settings import WorkerSettings


class Faltering(ComparisonStore):
    """Does not answer when it is first told how a comparison ended."""

    faltered = False

    def fail(self, claim: ComparisonClaim, code: str, message: str) -> bool:
        self._falter()
        return super().fail(claim, code, message)

    def release(self, claim: ComparisonClaim) -> bool:
        self._falter()
        return super().release(claim)

    def _falter(self) -> None:
        if not self.faltered:
            self.faltered = True
            raise StoreUnavailable("the connection broke off")


class Without(JobStore):
    """Jobs that cannot be looked at, for one reason or another."""

    cause: Exception

    def get(self, job_id: UUID) -> JobRecord:
        raise self.cause


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    settings = WorkerSettings(data=tmp_path / "data", poll_s=0.01)
    settings.folder.create()
    return settings


@pytest.fixture
def stores(settings: WorkerSettings) -> Iterator[tuple[Faltering, Without]]:
    engine = open_engine(settings.store_url)
    upgrade(engine)
    yield Faltering(engine), Without(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("cause", "state", "code"),
    [
        (JobNotFound("no such job"), ComparisonState.FAILED, "not-found"),
        (RuntimeError("a fault of ours"), ComparisonState.FAILED, "internal-error"),
        (StoreUnavailable("away"), ComparisonState.ACCEPTED, None),
    ],
    ids=["final", "unexpected", "passing"],
)
def test_a_moment_without_the_store_costs_no_lease(
    stores: tuple[Faltering, Without],
    settings: WorkerSettings,
    cause: Exception,
    state: ComparisonState,
    code: str | None,
) -> None:
    """Else its caller waits for five minutes more, and an attempt is gone."""
    store, jobs = stores
    jobs.cause = cause
    comparison_id = store.insert(uuid4(), uuid4(), owner=None).id

    run_comparison(comparison_id, store=store, jobs=jobs, settings=settings)

    record = store.get(comparison_id, sees=None)
    assert store.faltered
    assert (record.state, record.error_code) == (state, code)
