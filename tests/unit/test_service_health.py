"""Health checks, the installed weights, and the settings."""

from pathlib import Path

import pytest
from service_kit import service

from dlb_core.documents import Health, HealthDocument, ModelDocument, ModelList, Problem
from dlb_core.errors import BadOption
from service import health
from service.settings import ServiceSettings


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


def statuses(document: HealthDocument) -> dict[str, Health]:
    """Name of each check -> its outcome."""
    return {check.name: check.status for check in document.checks}


@pytest.mark.anyio
async def test_without_broker_and_worker_jobs_are_still_taken(tmp_path: Path) -> None:
    """The database is the truth: a missing broker delays jobs, it does not refuse them."""
    async with service(tmp_path) as (client, _):
        answer = await client.get("/health/ready")

    document = HealthDocument.model_validate_json(answer.content)
    assert (answer.status_code, document.status) == (200, Health.DEGRADED)
    assert statuses(document) == {
        "database": Health.OK,
        "disk": Health.OK,
        "weights": Health.OK,
        "broker": Health.DEGRADED,
        "worker": Health.DEGRADED,
    }


@pytest.mark.anyio
async def test_a_balancer_may_ask_for_the_head_alone(tmp_path: Path) -> None:
    """Some ask with HEAD: a 405 would take a healthy service out of the round."""
    async with service(tmp_path) as (client, _):
        live, ready = await client.head("/health/live"), await client.head("/health/ready")

    assert (live.status_code, ready.status_code, live.content) == (200, 200, b"")


@pytest.mark.anyio
async def test_a_worker_that_was_heard_of_counts(tmp_path: Path) -> None:
    """Readiness tells an operator whether anything will be done."""
    async with service(tmp_path) as (client, services):
        services.store.worker_seen("worker-1")
        answer = await client.get("/health/ready")

    document = HealthDocument.model_validate_json(answer.content)
    assert statuses(document)["worker"] is Health.OK


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "changes"),
    [("weights", {"weights": Path("nowhere")}), ("disk", {"min_free_mb": 2**40})],
)
async def test_what_no_job_can_do_without_makes_it_unready(
    tmp_path: Path, name: str, changes: dict[str, object]
) -> None:
    """503 names the check that failed, so that the operator need not guess."""
    async with service(tmp_path, **changes) as (client, _):
        answer = await client.get("/health/ready")
        alive = await client.get("/health/live")

    document = HealthDocument.model_validate_json(answer.content)
    assert (answer.status_code, document.status) == (503, Health.FAILED)
    assert statuses(document)[name] is Health.FAILED
    assert str(tmp_path) not in answer.text
    assert alive.status_code == 200


@pytest.mark.anyio
async def test_weights_without_their_card_make_it_unready(tmp_path: Path) -> None:
    """Nobody should rely on weights that do not say what they can do."""
    async with service(tmp_path) as (client, services):
        listed = ModelList.model_validate_json((await client.get("/v1/models")).content)
        (services.settings.weights / "model_card.md").unlink()
        answer = await client.get("/health/ready")
        card = await client.get(listed.models[0].href)

    document = HealthDocument.model_validate_json(answer.content)
    detail = next(check.detail for check in document.checks if check.name == "weights")
    assert (answer.status_code, statuses(document)["weights"]) == (503, Health.FAILED)
    assert "model card" in detail
    problem = Problem.model_validate_json(card.content)
    assert (card.status_code, problem.code) == (500, "checkpoint-corrupt")


@pytest.mark.anyio
async def test_the_installed_weights_are_described(tmp_path: Path) -> None:
    """A result is worth little without knowing what made it."""
    async with service(tmp_path) as (client, _):
        listed = ModelList.model_validate_json((await client.get("/v1/models")).content)
        answer = await client.get(listed.models[0].href)

    document = ModelDocument.model_validate_json(answer.content)
    assert (document.id, document.name, document.version) == (
        "test-bundle-1.0",
        "Test Bundle",
        "1.0",
    )
    assert document.card == "# Test Bundle\n"
    assert document.manifest["description"] == "for tests"


@pytest.mark.anyio
@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"name": "x"}'])
async def test_damaged_weights_are_the_installations_fault(
    tmp_path: Path, manifest: str | None
) -> None:
    """500, with what is wrong, and no path of the server."""
    async with service(tmp_path) as (client, services):
        path = services.settings.weights / "manifest.json"
        path.unlink() if manifest is None else path.write_text(manifest)
        answer = await client.get("/v1/models")

    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.code) == (500, "checkpoint-corrupt")
    assert str(tmp_path) not in answer.text


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    """Empty variables count as not set: compose files pass them so."""
    settings = ServiceSettings.from_environment(
        {"DLB_DATA": str(tmp_path), "DLB_PORT": "9000", "DLB_DATABASE_URL": "", "PATH": "/bin"}
    )

    assert (settings.data, settings.port, settings.database_url) == (tmp_path, 9000, None)


@pytest.mark.parametrize(
    ("environ", "named"),
    [({}, "DLB_DATA"), ({"DLB_DATA": "d", "DLB_MAX_UPLOAD_MB": "much"}, "DLB_MAX_UPLOAD_MB")],
)
def test_a_setting_that_cannot_be_used_is_named(environ: dict[str, str], named: str) -> None:
    """An operator must see which variable to mend."""
    with pytest.raises(BadOption, match=named):
        ServiceSettings.from_environment(environ)


@pytest.mark.parametrize("environ", [{}, {"DLB_DATA": "unused", "DLB_PORT": "1"}])
def test_the_containers_check_fails_where_nothing_answers(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a missing setting nor a dead service may pass for a live one."""
    monkeypatch.delenv("DLB_DATA", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert health.main() == 1
