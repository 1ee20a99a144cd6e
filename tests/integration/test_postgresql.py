"""The store on a genuine PostgreSQL: its promises are those it gives on SQLite, and no others.

The store's own tests are repeated here; beside them stands what only a server can get wrong.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from job_harness import ROOT, Installation, broker_binaries, wait_until
from postgresql import PostgreSql, empty, require_postgresql
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.errors import BadOption, DiskFull, StoreUnavailable
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.database import MIGRATIONS, open_engine, store_errors, upgrade
from dlb_core.jobs.keys import KeyStore
from dlb_core.jobs.models import Base, JobRow
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.tallies import Tallies, count_ends
from dlb_core.jobs.training.store import TrainingStore
from tests.unit import (
    test_comparisons_store,
    test_deliveries,
    test_jobs_clock,
    test_jobs_store,
    test_jobs_turns,
    test_keys,
    test_quotas,
    test_training_store,
    test_webhooks,
)
from tests.unit.service_kit import finish, form, form_headers, pair, service
from tests.unit.webhook_kit import Receiver, receiver

OPTIONS = SegmentationOptions()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    """A server that runs."""
    server = PostgreSql(require_postgresql())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def database(server: PostgreSql) -> Iterator[Engine]:
    """A database with its schema."""
    engine = open_engine(server.create("store"))
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database: Engine) -> Engine:
    """The same, without any rows."""
    empty(database)
    return database


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


def repeats(module: ModuleType, *, but: str = "") -> Callable[[type], type]:
    """Give a class those tests of a module that take one of the class's fixtures."""

    def fill(cls: type) -> type:
        fixtures = {name for name in vars(cls) if not name.startswith("_")}
        for name, test in vars(module).items():
            takes = inspect.signature(test).parameters if name.startswith("test_") else {}
            if name != but and fixtures & set(takes):
                setattr(cls, name, staticmethod(test))
        return cls

    return fill


@repeats(test_jobs_store)
class TestJobs:
    """Claims, leases, fences, ends, pages."""

    @pytest.fixture
    def clock(self) -> test_jobs_store.Clock:
        return test_jobs_store.Clock()

    @pytest.fixture
    def store(self, engine: Engine, clock: test_jobs_store.Clock) -> JobStore:
        return JobStore(engine, clock=clock)


@repeats(test_jobs_turns)
class TestTurns:
    """Priorities."""

    @pytest.fixture
    def clock(self) -> test_jobs_turns.Clock:
        return test_jobs_turns.Clock()

    @pytest.fixture
    def store(self, engine: Engine, clock: test_jobs_turns.Clock) -> JobStore:
        return JobStore(engine, clock=clock)


@repeats(test_jobs_clock)
class TestClock:
    """Clocks that jump."""

    @pytest.fixture
    def clock(self) -> test_jobs_clock.Clock:
        return test_jobs_clock.Clock()

    @pytest.fixture
    def store(self, engine: Engine, clock: test_jobs_clock.Clock) -> JobStore:
        return JobStore(engine, clock=clock)


@repeats(test_comparisons_store)
class TestComparisons:
    """Comparisons' claims, and what becomes of them with their jobs."""

    @pytest.fixture
    def clock(self) -> test_comparisons_store.Clock:
        return test_comparisons_store.Clock()

    @pytest.fixture
    def stores(
        self, engine: Engine, clock: test_comparisons_store.Clock
    ) -> tuple[ComparisonStore, JobStore]:
        return ComparisonStore(engine, clock=clock), JobStore(engine)

    @pytest.fixture
    def store(self, stores: tuple[ComparisonStore, JobStore]) -> ComparisonStore:
        return stores[0]


@repeats(test_training_store)
class TestTraining:
    """Trainings' tasks."""

    @pytest.fixture
    def store(self, engine: Engine) -> TrainingStore:
        return TrainingStore(engine)


@repeats(test_deliveries)
class TestDeliveries:
    """Deliveries to archives."""

    @pytest.fixture
    def bench(self, tmp_path: Path, engine: Engine) -> test_deliveries.Bench:
        return test_deliveries.Bench(tmp_path, engine)


@repeats(test_webhooks)
class TestWebhooks:
    """Webhooks' messages."""

    @pytest.fixture
    def installed(self, engine: Engine) -> test_webhooks.Installation:
        return test_webhooks.Installation(engine)

    @pytest.fixture
    def heard(self) -> Iterator[Receiver]:
        with receiver() as running:
            yield running


@repeats(test_keys, but="test_no_part_of_the_secret_is_kept")
class TestKeys:
    """Keys."""

    @pytest.fixture
    def clock(self) -> test_keys.Clock:
        return test_keys.Clock()

    @pytest.fixture
    def keys(self, engine: Engine, clock: test_keys.Clock) -> KeyStore:
        return KeyStore(engine, clock=clock)


class TestQuotas:
    """Quotas."""

    test_uploads_at_the_same_moment_do_not_pass_together = staticmethod(
        test_quotas.test_uploads_at_the_same_moment_do_not_pass_together
    )


def config_for(connection: Any) -> Config:
    """What alembic needs to migrate over a connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def test_an_old_installation_is_migrated_once_by_all_that_start(server: PostgreSql) -> None:
    """Two API processes and their workers start at the same moment, after an update."""
    url = server.create("old")
    engine = open_engine(url)
    with engine.begin() as connection:
        command.upgrade(config_for(connection), "0001")
        for number, state in enumerate(("accepted", "failed")):
            row = {"id": str(UUID(int=number)), "state": state, "created": "2026-01-01"}
            ended = {"finished": None if state == "accepted" else "2026-01-02"}
            connection.execute(text(test_jobs_turns.FIRST_VERSIONS_ROW), row | ended)

    engines = [open_engine(url) for _ in range(4)]
    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(upgrade, engines))

    with JobStore(engine) as store:
        assert store.get(UUID(int=0)).state is JobState.ACCEPTED
        assert not store.get(UUID(int=1)).keep_inputs
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            assert compare_metadata(context, Base.metadata) == []
        with engine.begin() as connection:
            command.downgrade(config_for(connection), "0001")
    for each in engines:
        each.dispose()


def test_many_who_take_whatever_comes_next_get_one_each(engine: Engine) -> None:
    """Here they really run side by side; on SQLite each waits for the one before."""
    store = JobStore(engine)
    jobs = {store.insert(uuid4(), OPTIONS, {}).id for _ in range(12)}

    with ThreadPoolExecutor(6) as pool:
        claims = list(pool.map(lambda _: store.claim(None, 30.0), range(12)))

    assert {claim.job_id for claim in claims if claim is not None} == jobs


def test_two_who_count_the_first_of_a_kind_count_both(engine: Engine) -> None:
    """Every API process tells of ends: the one that is later must not fail, and count nothing."""
    store = JobStore(engine)
    jobs = [store.insert(uuid4(), OPTIONS, {}).id for _ in range(2)]
    for job in jobs:
        claim = store.claim(job, 30.0)
        assert claim is not None
        assert store.fail(claim, "quality-failed", "too dark")

    def count(session: Session, job: UUID) -> None:
        count_ends(session, [session.get_one(JobRow, job)])
        session.flush()

    def count_at_once(job: UUID) -> None:
        with Session(engine) as session, session.begin():
            count(session, job)

    with ThreadPoolExecutor(1) as pool, Session(engine) as session, session.begin():
        count(session, jobs[0])
        other = pool.submit(count_at_once, jobs[1])
        wait_until(lambda: somebody_waits(engine), describe=lambda: str(other))
    other.result()

    tallies = Tallies(engine).read()
    assert tallies["ended"] == {"failed quality-failed": 2}
    assert tallies["attempts"] == {"failed": 2}


def somebody_waits(engine: Engine) -> bool:
    """Whether a transaction waits for another one to end."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return bool(connection.scalar(text(query)))


@pytest.mark.anyio
async def test_over_http_one_key_makes_one_job_and_a_batch_is_counted(
    tmp_path: Path, server: PostgreSql
) -> None:
    """The service itself, as a compose file would start it."""
    headers = form_headers() | {"Idempotency-Key": "a"}
    async with service(tmp_path, database_url=server.create("service")) as (client, services):
        body = form(pair())
        posts = [client.post("/v1/jobs", content=body, headers=headers) for _ in range(12)]
        answers = await asyncio.gather(*posts)
        (job,) = {answer.json()["id"] for answer in answers}
        finish(services, UUID(job))
        cases = {"cases": [{"subject": "P1", "job": job}]}
        makes = [
            client.post("/v1/batches", json=cases, headers={"Idempotency-Key": "b"})
            for _ in range(6)
        ]
        batches = await asyncio.gather(*makes)
        listed = (await client.get("/v1/batches")).json()["batches"]
        table = (await client.get(listed[0]["cohort"])).text
        metrics = await client.get("/metrics")
        health = (await client.get("/health/ready")).json()
        removed = await client.delete(f"/v1/jobs/{job}")

    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [202]
    assert sorted(answer.status_code for answer in batches) == [200] * 5 + [201]
    assert [batch["counts"] for batch in listed] == [{"successful": 1}]
    assert "P1" in table
    assert metrics.is_success
    assert {"name": "database", "status": "ok"}.items() <= next(
        check for check in health["checks"] if check["name"] == "database"
    ).items()
    assert removed.status_code == 204


def test_a_worker_works_on_what_lies_there(tmp_path: Path, server: PostgreSql) -> None:
    """A real worker, with a real broker: what it loads and how it waits is not the tests'."""
    installed = Installation(
        tmp_path,
        broker_binary=broker_binaries()["valkey"],
        database_url=server.create("worker"),
    )
    try:
        installed.start_worker()
        job = installed.wait_for_end(installed.submit())
    finally:
        installed.close()

    assert job.state is JobState.SUCCESSFUL
    assert not installed.folder.database.exists()


def test_workers_are_scaled_by_a_query_that_it_answers(engine: Engine) -> None:
    """KEDA asks it of PostgreSQL; a waiting job is to count."""
    documents = yaml.safe_load_all((ROOT / "deploy/kubernetes/scaling.yml").read_text())
    queries = [
        trigger["metadata"]["query"]
        for document in documents
        if document["kind"] == "ScaledObject"
        for trigger in document["spec"]["triggers"]
    ]
    JobStore(engine).insert(uuid4(), OPTIONS, {})

    with engine.connect() as connection:
        answers = [connection.scalar(text(query)) for query in queries]

    assert len(answers) == 2
    assert 1 in answers


def test_a_server_that_went_away_is_said_so_and_found_again(
    engine: Engine, server: PostgreSql
) -> None:
    """A restart costs its callers one repetition, and no restart of ours."""
    store = JobStore(engine)
    job = store.insert(uuid4(), OPTIONS, {}).id
    server.stop()

    with pytest.raises(StoreUnavailable):
        store.get(job)

    server.start()
    assert store.get(job).id == job


@pytest.mark.parametrize(
    ("code", "error"),
    [("53100", DiskFull), ("25006", StoreUnavailable), ("40P01", StoreUnavailable)],
    ids=["disk full", "read only, after a fail-over", "deadlock"],
)
def test_what_the_server_complains_of_is_told_in_our_words(
    engine: Engine, code: str, error: type[Exception]
) -> None:
    """Callers wait and try again, where it helps, and operators learn what to mend."""
    complaint = text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")

    with pytest.raises(error), store_errors(), engine.begin() as connection:
        connection.execute(complaint)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+pg8000://dlb:secret@127.0.0.1/dlb", "pip install"),
        ("postgres://dlb:secret@127.0.0.1/dlb", "postgresql"),
        ("secret", "postgresql"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, says: str) -> None:
    """It would stand in the log of whoever starts the service."""
    with pytest.raises(BadOption, match=says) as refused:
        open_engine(url)

    assert "secret" not in str(refused.value)
