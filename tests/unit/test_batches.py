"""Batches over HTTP: made of jobs that are there, watched, and read as one table."""

import csv
import io
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from service_kit import finish, service, submit
from sqlalchemy import Engine, event

from dlb_core.contracts import Role
from dlb_core.documents import BatchDocument, BatchPage, Problem
from dlb_core.errors import BadOption
from dlb_core.jobs.batches import store
from service.manifests import read_manifest


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


def manifest(*jobs: object, **changes: Any) -> dict[str, Any]:
    """A good one, of these jobs."""
    cases = [{"subject": f"sub-{n}", "job": str(job)} for n, job in enumerate(jobs)]
    return {"name": "trial 7", "cases": cases} | changes


def read_table(answer: httpx.Response) -> list[dict[str, str]]:
    """The cohort's rows."""
    return list(csv.DictReader(io.StringIO(answer.text)))


@contextmanager
def statements() -> Iterator[list[str]]:
    """What the database is asked meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.anyio
async def test_one_table_tells_of_every_case_whatever_became_of_it(tmp_path: Path) -> None:
    """A case that is missing in the table is missed in the study."""
    async with service(tmp_path) as (client, services):
        jobs = [UUID((await submit(client)).json()["id"]) for _ in range(4)]
        answer = await client.post("/v1/batches", json=manifest(*jobs))
        batch = BatchDocument.model_validate_json(answer.content)
        waiting = await client.get(batch.href)
        again = await client.get(batch.href, headers={"If-None-Match": waiting.headers["ETag"]})

        finish(services, jobs[0])
        claim = services.store.claim(jobs[1], 60.0)
        assert claim is not None
        services.store.fail(claim, "quality-failed", "too dark")
        await client.delete(f"/v1/jobs/{jobs[2]}")
        finish(services, jobs[3])
        await client.delete(f"/v1/jobs/{jobs[3]}")
        ended = await client.get(batch.href)
        table = await client.get(batch.cohort)

    assert (answer.status_code, answer.headers["Location"]) == (201, batch.href)
    assert batch.counts == {"accepted": 4}
    assert waiting.headers["Retry-After"] == "5"
    assert again.status_code == 304
    document = BatchDocument.model_validate_json(ended.content)
    assert document.ended
    assert "Retry-After" not in ended.headers
    assert document.counts == {"deleted": 1, "dismissed": 1, "failed": 1, "successful": 1}
    rows = read_table(table)
    assert [row["state"] for row in rows] == ["successful", "failed", "dismissed", "deleted"]
    assert [row["subject"] for row in rows] == ["sub-0", "sub-1", "sub-2", "sub-3"]
    assert (rows[0]["brain_volume_ml"], rows[0]["lesion_count"]) == ("1200.0", "0")
    assert (rows[1]["error_code"], rows[1]["lesion_count"]) == ("quality-failed", "")


@pytest.mark.anyio
async def test_a_spreadsheets_table_is_a_manifest_too(tmp_path: Path) -> None:
    """Study nurses keep lists in spreadsheets, with a byte-order mark and empty lines."""
    async with service(tmp_path) as (client, _):
        job = (await submit(client)).json()["id"]
        answer = await client.post(
            "/v1/batches",
            params={"name": "visit 2"},
            headers={"Content-Type": "text/csv; charset=utf-8"},
            content=f"\ufeffsubject,session,job\r\n\r\nP001,ses-2,{job}\r\n".encode(),
        )

    batch = BatchDocument.model_validate_json(answer.content)
    assert (batch.name, batch.total) == ("visit 2", 1)
    assert (batch.cases[0].subject, batch.cases[0].session) == ("P001", "ses-2")


@pytest.mark.anyio
async def test_a_batch_sent_twice_is_one_and_forgetting_it_keeps_the_jobs(tmp_path: Path) -> None:
    """A client that lost the answer sends again; a list of jobs is not the jobs."""
    key = {"Idempotency-Key": "trial-7"}
    async with service(tmp_path) as (client, _):
        job = (await submit(client)).json()["id"]
        first = await client.post("/v1/batches", json=manifest(job), headers=key)
        second = await client.post("/v1/batches", json=manifest(job), headers=key)
        other = await client.post("/v1/batches", json=manifest(job, name="x"), headers=key)
        listed = await client.get("/v1/batches")
        gone = await client.delete(first.json()["href"])
        after = await client.get(first.json()["href"])
        kept = await client.get(f"/v1/jobs/{job}")

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert Problem.model_validate_json(other.content).code == "idempotency-conflict"
    assert len(BatchPage.model_validate_json(listed.content).batches) == 1
    assert (gone.status_code, after.status_code, kept.status_code) == (204, 404, 200)


@pytest.mark.anyio
async def test_batches_are_listed_by_pages_and_counted_without_their_cases(
    tmp_path: Path,
) -> None:
    """A registry with a thousand large batches must not read every case to show twenty names."""
    async with service(tmp_path) as (client, services):
        jobs = [UUID((await submit(client)).json()["id"]) for _ in range(3)]
        made = [
            (await client.post("/v1/batches", json=manifest(*jobs, name=name))).json()
            for name in ("first", "second", "third")
        ]
        for job in jobs[:2]:
            finish(services, job)
        await client.delete(f"/v1/jobs/{jobs[1]}")
        with statements() as asked:
            first = await client.get("/v1/batches?limit=2")
        page = BatchPage.model_validate_json(first.content)
        assert page.next is not None
        rest = BatchPage.model_validate_json((await client.get(page.next)).content)
        again = await client.get(
            "/v1/batches?limit=2", headers={"If-None-Match": first.headers["ETag"]}
        )
        foreign = await client.get("/v1/batches?before=nonsense")

    listed = [*page.batches, *rest.batches]
    assert [batch.name for batch in listed] == ["third", "second", "first"]
    assert [str(batch.id) for batch in listed] == [batch["id"] for batch in reversed(made)]
    assert rest.next is None
    assert page.batches[0].counts == {"accepted": 1, "deleted": 1, "successful": 1}
    assert (page.batches[0].total, page.batches[0].ended) == (3, False)
    assert not any("batch_cases.subject" in statement for statement in asked)
    assert again.status_code == 304
    assert Problem.model_validate_json(foreign.content).code == "bad-option"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 422, "bad-option"),
        (b'{"cases": []}', "application/json", 422, "bad-option"),
        (b'{"cases": 1}', "application/json", 422, "bad-option"),
        (b"[]", "application/json", 422, "bad-option"),
        (
            b'{"cases": [{"subject": "P1", "job": "%(job)s", "x": 1}]}',
            "application/json",
            422,
            "bad-option",
        ),
        (b"subject;job\nP1;x\n", "text/csv", 422, "bad-option"),
        (b"subject,job\n=cmd(),%(job)s\n", "text/csv", 422, "bad-option"),
        (b"subject,job\nP1,%(job)s\nP2,%(job)s\n", "text/csv", 422, "bad-option"),
        (b"subject,job\nP1,%(job)s,more\n", "text/csv", 422, "bad-option"),
        (b"subject,job\n\xff,%(job)s\n", "text/csv", 422, "bad-option"),
        (b"subject,job\nP1,%(none)s\n", "text/csv", 404, "not-found"),
        (b" " * (4 * 1024 * 1024 + 1), "application/json", 413, "upload-too-large"),
    ],
)
async def test_a_manifest_that_cannot_be_used_makes_nothing(
    tmp_path: Path, body: bytes, kind: str, status: int, code: str
) -> None:
    """Half a batch would be a table with holes."""
    async with service(tmp_path) as (client, _):
        job = (await submit(client)).json()["id"].encode()
        content = body.replace(b"%(job)s", job).replace(b"%(none)s", str(uuid4()).encode())
        answer = await client.post("/v1/batches", content=content, headers={"Content-Type": kind})
        listed = await client.get("/v1/batches")

    assert (answer.status_code, Problem.model_validate_json(answer.content).code) == (status, code)
    assert listed.json() == {"batches": [], "next": None}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"cases": [' + b"{}," * 300_000 + b"{}]}", "application/json"),
        (b'{"cases": [{' + b",".join(b'"%d":1' % n for n in range(60_000)) + b"}]}", "text/json"),
        (b"subject,job\n" + b"a\n" * 500_000, "text/csv"),
    ],
    ids=["cases", "fields", "rows"],
)
def test_a_manifest_of_nothing_but_mistakes_takes_little_memory(body: bytes, kind: str) -> None:
    """Complained of one by one, four megabytes of mistakes would take gigabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(BadOption) as refused:
            read_manifest(body, content_type=kind, name="")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 1 <= len(refused.value.fields) <= 20
    assert most < 64 * 1024 * 1024


@pytest.mark.anyio
async def test_an_owner_has_so_many_batches_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job would do for as many rows as the disk holds."""
    monkeypatch.setattr(store, "MOST", 1)
    async with service(tmp_path) as (client, _):
        job = (await submit(client)).json()["id"]
        first = await client.post("/v1/batches", json=manifest(job))
        refused = await client.post("/v1/batches", json=manifest(job, name="another"))
        await client.delete(first.json()["href"])
        after = await client.post("/v1/batches", json=manifest(job, name="another"))

    assert Problem.model_validate_json(refused.content).code == "bad-option"
    assert [answer.status_code for answer in (first, refused, after)] == [201, 422, 201]


@pytest.mark.anyio
async def test_nobody_batches_or_sees_anothers_jobs(tmp_path: Path) -> None:
    """A batch must not be a way around the ownership of jobs."""
    async with service(tmp_path) as (client, services):
        keys = services.gate.keys
        mine, other = (
            {"Authorization": f"Bearer {keys.create(name, Role.SUBMIT)[1]}"} for name in "ab"
        )
        client.headers.update(mine)
        job = (await submit(client)).json()["id"]
        batch = (await client.post("/v1/batches", json=manifest(job))).json()
        client.headers.update(other)
        stolen = await client.post("/v1/batches", json=manifest(job))
        seen = [await client.get(batch[link]) for link in ("href", "cohort")]
        removed = await client.delete(batch["href"])
        listed = await client.get("/v1/batches")

    assert [answer.status_code for answer in (stolen, *seen, removed)] == [404] * 4
    assert listed.json() == {"batches": [], "next": None}
