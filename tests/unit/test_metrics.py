"""/metrics: numbers that are true, last, and are those that dashboard and alerts ask for."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from service_kit import finish, make_bundle, service, submit, until

from dlb_core.artefacts import sha256_of
from dlb_core.contracts import Role
from dlb_core.documents import HealthDocument
from service.dependencies import Services

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
NAME = re.compile(r"\b(?:dlb|process)_[a-z_]+\b")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


def numbers(answer: httpx.Response) -> dict[str, float]:
    """`name{label=value}` -> number, as Prometheus reads them."""
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def one_success_one_failure(client: httpx.AsyncClient, services: Services) -> UUID:
    """Two jobs that ended; returns the good one. Both are told of."""
    good, bad = [UUID((await submit(client)).json()["id"]) for _ in range(2)]
    finish(services, good)
    claim = services.store.claim(bad, 60.0)
    assert claim is not None
    services.store.retry_or_fail(claim, "out-of-memory", "no", max_attempts=1)
    told_of(services, "successful -", "failed out-of-memory")
    return good


def told_of(services: Services, *ends: str) -> None:
    """Wait until the service has told of these ends."""
    services.endings.wake()
    until(lambda: set(ends) <= services.tallies.read().get("ended", {}).keys())


@pytest.mark.anyio
async def test_they_say_what_happened_once_and_do_not_forget(tmp_path: Path) -> None:
    """A counter that falls when an old job is deleted would show ends that never were."""
    async with service(tmp_path) as (client, services):
        good = await one_success_one_failure(client, services)
        await submit(client)
        services.store.worker_seen("worker-1")
        before = numbers(await client.get("/metrics"))
        await client.delete(f"/v1/jobs/{good}")
        after = numbers(await client.get("/metrics"))

    expected = {
        "dlb_jobs{state=accepted}": 1,
        "dlb_queue_depth{}": 1,
        "dlb_workers_alive{}": 1,
        "dlb_jobs_ended_total{code=-,state=successful}": 1,
        "dlb_jobs_ended_total{code=out-of-memory,state=failed}": 1,
        "dlb_attempts_total{outcome=failed}": 1,
        "dlb_stage_seconds_count{stage=whole_job}": 1,
        "dlb_stage_seconds_bucket{le=+Inf,stage=waiting}": 1,
        "dlb_check_ok{check=broker}": 0,
        "dlb_check_ok{check=database}": 1,
        "dlb_http_request_seconds_count{method=POST,route=/v1/jobs,status=2xx}": 3,
    }
    assert {name: before[name] for name in expected} == expected
    assert "dlb_broker_hints{}" not in before
    assert any(name.startswith("dlb_model_info{name=Test Bundle,sha256=") for name in before)
    kept = [name for name in before if name.startswith(("dlb_jobs_ended", "dlb_stage"))]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after["dlb_jobs{state=successful}"] == 0


@pytest.mark.anyio
async def test_an_attempt_counts_once_though_its_job_is_retried(tmp_path: Path) -> None:
    """Failures counted again at each end would look like a service that gets worse."""
    async with service(tmp_path) as (client, services):
        job = UUID((await submit(client)).json()["id"])
        for code in ("out-of-memory", "time-limit"):
            claim = services.store.claim(job, 60.0)
            assert claim is not None
            services.store.fail(claim, code, "no")
            told_of(services, f"failed {code}")
            assert (await client.post(f"/v1/jobs/{job}/retry")).is_success
        finish(services, job)
        told_of(services, "successful -")
        found = numbers(await client.get("/metrics"))

    attempts = {name: value for name, value in found.items() if "dlb_attempts_total" in name}
    assert attempts == {
        "dlb_attempts_total{outcome=failed}": 2,
        "dlb_attempts_total{outcome=successful}": 1,
    }


@pytest.mark.anyio
async def test_words_that_are_no_method_share_one_row(tmp_path: Path) -> None:
    """Each row stays for ever: a stranger who makes words up could fill the memory with them."""
    async with service(tmp_path) as (client, _):
        for word in ("BREW", "WHEN", "LONGER-WORD"):
            await client.request(word, "/v1/jobs")
        found = numbers(await client.get("/metrics"))

    refused = [name for name in found if "_count{" in name and "status=4xx" in name]
    assert refused == ["dlb_http_request_seconds_count{method=(other),route=/v1/jobs,status=4xx}"]


@pytest.mark.anyio
async def test_stage_times_come_from_the_attempt_that_succeeded(tmp_path: Path) -> None:
    """A histogram whose buckets do not add up shows percentiles of nothing."""
    async with service(tmp_path) as (client, services):
        job = UUID((await submit(client)).json()["id"])
        claim = services.store.claim(job, 60.0)
        assert claim is not None
        services.store.finish(claim, [], {}, stage_s={"inference": 45.0, "reporting": 2.0})
        told_of(services, "successful -")
        found = numbers(await client.get("/metrics"))

    buckets = {
        float(re.search(r"le=([^,]+)", name)[1]): value  # type: ignore[index]
        for name, value in found.items()
        if name.startswith("dlb_stage_seconds_bucket") and "inference" in name
    }
    assert buckets[30.0] == 0
    assert buckets[60.0] == buckets[float("inf")] == 1
    assert found["dlb_stage_seconds_sum{stage=inference}"] == 45.0
    assert found["dlb_stage_seconds_sum{stage=reporting}"] == 2.0


@pytest.mark.anyio
async def test_where_keys_are_asked_for_numbers_need_one_too(tmp_path: Path) -> None:
    """How busy a hospital is, and with which failures, is not for everybody."""
    async with service(tmp_path) as (client, services):
        key = services.gate.keys.create("prometheus", Role.READ)[1]
        refused = await client.get("/metrics")
        answer = await client.get("/metrics", headers={"Authorization": f"Bearer {key}"})

    assert (refused.status_code, answer.status_code) == (401, 200)
    assert "dlb_queue_depth 0.0" in answer.text


@pytest.mark.anyio
async def test_dashboard_and_alerts_ask_for_numbers_that_there_are(tmp_path: Path) -> None:
    """A renamed number leaves an empty panel, and an alert that never comes."""
    async with service(tmp_path) as (client, services):
        await one_success_one_failure(client, services)
        services.deliveries.order(services.store.list_jobs(limit=1)[0][0].id, "main")
        found = numbers(await client.get("/metrics"))
        there = {name.partition("{")[0] for name in found}

    assert found["dlb_deliveries{state=pending}"] == 1
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    asked = set(NAME.findall(" ".join(_expressions(dashboard, rules))))
    assert len(asked) >= 10
    assert asked <= there
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [(x, y) for place in places for x, y in _cells(place)]
    assert len(cells) == len(set(cells)), "two panels lie on each other"


@pytest.mark.anyio
async def test_weights_that_were_altered_make_it_unready_until_they_are_mended(
    tmp_path: Path,
) -> None:
    """Every job would fail, hours later: better to say so now."""
    folder = make_bundle(tmp_path / "weights")
    weights = folder / "generic.safetensors"
    weights.write_bytes(b"weights")
    entry = {"file": weights.name, "size_bytes": 7, "sha256": sha256_of(weights)}
    manifest = {"name": "T", "version": "1", "description": "d", "networks": [entry]}

    def checked(answer: httpx.Response) -> tuple[int, str]:
        document = HealthDocument.model_validate_json(answer.content)
        return answer.status_code, next(c.detail for c in document.checks if c.name == "weights")

    async with service(tmp_path) as (client, _):
        (folder / "manifest.json").write_text(json.dumps(manifest))
        sound = checked(await client.get("/health/ready"))
        weights.write_bytes(b"wEights")
        altered = checked(await client.get("/health/ready"))
        weights.unlink()
        missing = checked(await client.get("/health/ready"))
        weights.write_bytes(b"weights")
        mended = checked(await client.get("/health/ready"))

    assert sound[0] == mended[0] == 200
    assert (altered[0], missing[0]) == (503, 503)
    assert "altered" in altered[1]
    assert "missing" in missing[1]


def _expressions(dashboard: dict[str, Any], rules: dict[str, Any]) -> Iterable[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def _cells(place: dict[str, int]) -> Iterable[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y
