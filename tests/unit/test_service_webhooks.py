"""Webhooks over HTTP: made, watched, replayed; each caller's own."""

import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from anyio import sleep
from service_kit import service, submit
from standardwebhooks import Webhook
from webhook_kit import LOOPBACK, Receiver, receiver

from dlb_core.contracts import Role
from dlb_core.documents import (
    MessageList,
    Problem,
    WebhookDocument,
    WebhookList,
    WebhookWithSecret,
)
from dlb_core.jobs.webhooks.store import MOST


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


async def heard_all(heard: Receiver, count: int) -> None:
    """Wait for messages to come."""
    for _ in range(1000):
        if len(heard.requests) >= count:
            return
        await sleep(0.02)
    raise AssertionError(f"{len(heard.requests)} of {count} came")


@pytest.mark.anyio
async def test_a_webhook_lives_from_its_making_to_its_end(tmp_path: Path) -> None:
    """Everything that a customer's operator does with it, over the API alone."""
    with receiver() as heard:
        async with service(tmp_path, webhook_networks=LOOPBACK) as (client, services):
            made = await client.post(
                "/v1/webhooks", json={"url": heard.url, "events": ["job.dismissed"]}
            )
            webhook = WebhookWithSecret.model_validate_json(made.content)
            tried = await client.post(f"{webhook.href}/test")
            await heard_all(heard, 1)
            job = UUID((await submit(client)).json()["id"])
            await client.delete(f"/v1/jobs/{job}")
            await heard_all(heard, 2)
            log = MessageList.model_validate_json((await client.get(webhook.messages)).content)
            replayed = await client.post(log.messages[0].replay)
            await heard_all(heard, 3)
            rotated = await client.post(f"{webhook.href}/rotate")
            shown = WebhookDocument.model_validate_json((await client.get(webhook.href)).content)
            gone = await client.delete(webhook.href)
            after = await client.get(webhook.href)
            audit = services.gate.audit.path.read_text()

    assert (made.status_code, made.headers["Location"]) == (201, webhook.href)
    assert (tried.status_code, replayed.status_code, gone.status_code) == (202, 202, 204)
    told = [Webhook(webhook.secret).verify(body, headers) for headers, body in heard.requests]
    assert [each["type"] for each in told] == ["webhook.test", "job.dismissed", "job.dismissed"]
    assert told[1]["data"]["job"] == str(job)
    assert heard.ids[1] == heard.ids[2] == log.messages[0].id
    assert log.messages[0].job == job
    assert rotated.json()["secret"] != webhook.secret
    assert shown.live_secrets == 2
    assert "secret" not in shown.model_dump()
    assert after.status_code == 404
    lines = {line["what"]: line for line in map(json.loads, audit.splitlines())}
    for what in ("POST /v1/webhooks", "DELETE /v1/webhooks/{webhook_id}"):
        assert lines[what]["about"] == str(webhook.id)
        assert "job" not in lines[what]
    assert heard.url not in audit


@pytest.mark.anyio
async def test_by_default_nothing_inside_the_house_is_called(tmp_path: Path) -> None:
    """Whoever has a key could else use the service to knock at other doors."""
    async with service(tmp_path) as (client, _):
        answers = [
            await client.post("/v1/webhooks", json={"url": url})
            for url in ("http://127.0.0.1/", "https://169.254.169.254/", "https://localhost:6379")
        ]
        wrong = await client.post("/v1/webhooks", json={"url": "https://x", "events": ["y"]})
        large = await client.post("/v1/webhooks", content=b" " * 70_000)
        listed = await client.get("/v1/webhooks")

    problems = [Problem.model_validate_json(answer.content) for answer in (*answers, wrong)]
    assert [(each.status, each.code) for each in problems] == [(422, "bad-option")] * 4
    assert {each.errors[0].field for each in problems[:3]} == {"url"}
    assert large.status_code == 413
    assert listed.json() == {"webhooks": []}


@pytest.mark.anyio
async def test_an_owner_has_so_many_webhooks_and_no_more(tmp_path: Path) -> None:
    """Each end is told to all of them: a thousand would make a weapon of one job."""
    async with service(tmp_path, webhook_networks=LOOPBACK) as (client, services):
        made = [
            services.webhooks.create("http://127.0.0.1:1/", (), owner=None, sees=None)
            for _ in range(MOST)
        ]
        wanted = {"url": "http://127.0.0.1:1/", "events": ["job.failed"]}
        refused = await client.post("/v1/webhooks", json=wanted)
        services.webhooks.create("http://127.0.0.1:1/", (), owner="another", sees="another")
        services.webhooks.remove(made[0][0].id, sees=None)
        accepted = await client.post("/v1/webhooks", json=wanted)

    assert Problem.model_validate_json(refused.content).code == "bad-option"
    assert (refused.status_code, accepted.status_code) == (422, 201)


@pytest.mark.anyio
async def test_anothers_webhook_does_not_exist(tmp_path: Path) -> None:
    """Its address may hold a token, its log names jobs."""
    async with service(tmp_path, webhook_networks=LOOPBACK) as (client, services):
        keys = services.gate.keys
        mine, other, admin = (
            {"Authorization": f"Bearer {keys.create(role.value, role)[1]}"}
            for role in (Role.SUBMIT, Role.SUBMIT, Role.ADMIN)
        )
        made = await client.post("/v1/webhooks", json={"url": "http://127.0.0.1:1/"}, headers=mine)
        href = made.json()["href"]
        client.headers.update(other)
        message = f"{href}/messages/{uuid4().hex}/replay"
        seen = [
            await client.get(href),
            await client.get(f"{href}/messages"),
            await client.post(f"{href}/test"),
            await client.post(f"{href}/rotate"),
            await client.post(message),
            await client.delete(href),
        ]
        listed = WebhookList.model_validate_json((await client.get("/v1/webhooks")).content)
        everybodys = await client.get("/v1/webhooks", headers=admin)
        none = await client.post(message, headers=mine)
        pending = await client.get(f"{href}/messages?state=pending", headers=mine)

    assert {answer.status_code for answer in seen} == {404}
    assert listed.webhooks == ()
    assert len(everybodys.json()["webhooks"]) == 1
    assert none.status_code == 404
    assert pending.json() == {"messages": []}
