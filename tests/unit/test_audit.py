"""The audit log: every deed and every refusal, and nobody's name."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from service_kit import BOUNDARY, finish, form, form_headers, nifti, pair, service, submit

from dlb_core.audit import AuditEntry, AuditLog, AuditOutcome
from dlb_core.contracts import Role
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.logs import JsonFormatter
from service.dependencies import Services

LOCKED = {"authentication": "required"}
ENTRY = AuditEntry(who="a", what="b", outcome=AuditOutcome.DONE)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The log, line by line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def logged(services: Services) -> list[dict[str, Any]]:
    """A service's log."""
    return lines_of(services.gate.audit.path)


def test_lines_are_added_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    """The file may be there from before; nothing in it is touched."""
    path = tmp_path / "audit" / "audit.jsonl"
    AuditLog(path).write(ENTRY)
    first = path.read_text()
    AuditLog(path).write(ENTRY)

    assert path.read_text().startswith(first)
    assert len(lines_of(path)) == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """The database lies in it, with digests of keys and labels of jobs."""
    DataFolder(tmp_path / "data").create()

    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_rotated_log_is_begun_anew(tmp_path: Path) -> None:
    """No line may go into the file that was taken away, and nobody has to be told."""
    log = AuditLog(tmp_path / "audit.jsonl")
    log.write(ENTRY)
    log.path.rename(tmp_path / "audit.jsonl.1")
    log.write(ENTRY)

    assert [len(lines_of(tmp_path / name)) for name in ("audit.jsonl.1", "audit.jsonl")] == [1, 1]


def test_a_line_that_was_cut_off_is_no_line_written(tmp_path: Path) -> None:
    """Half a line tells nobody who it was; the other log then has it whole, and the next is."""
    code = (
        "import resource, sys; from pathlib import Path; "
        "from dlb_core.audit import AuditEntry, AuditLog, AuditOutcome; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20)); "
        "entry = AuditEntry(who='a', what='b', outcome=AuditOutcome.DONE); "
        "AuditLog(Path(sys.argv[1])).write(entry)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "audit.jsonl")],
        stderr=subprocess.PIPE,
        check=False,
    )

    assert done.returncode == 1
    assert b"No space left" in done.stderr
    AuditLog(tmp_path / "audit.jsonl").write(ENTRY)
    half, whole = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert len(half) == 20
    assert json.loads(whole)["what"] == "b"


def _write_many(path: Path) -> None:
    log = AuditLog(path)
    for _ in range(200):
        log.write(AuditEntry(who=str(os.getpid()) * 20, what="x", outcome=AuditOutcome.DONE))


def test_processes_share_the_file(tmp_path: Path) -> None:
    """Several API processes and the command line write at once: each line stays whole."""
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(lines_of(path)) == 400


@pytest.mark.anyio
async def test_a_jobs_life_is_told(tmp_path: Path) -> None:
    """Who sent it, who fetched what came of it, who deleted it; polling is left out."""
    async with service(tmp_path, **LOCKED) as (client, services):
        record, key = services.gate.keys.create("scanner", Role.SUBMIT)
        client.headers["Authorization"] = f"Bearer {key}"
        job = (await submit(client)).json()["id"]
        for _ in range(3):
            await client.get(f"/v1/jobs/{job}")
        finish(services, UUID(job))
        await client.get(f"/v1/jobs/{job}/artefacts/report.html")
        await client.delete(f"/v1/jobs/{job.upper()}")
        told = logged(services)

    assert [(line["what"], line["status"], line["outcome"]) for line in told] == [
        ("POST /v1/jobs", 202, "done"),
        ("GET /v1/jobs/{job_id}/artefacts/{name}", 200, "done"),
        ("DELETE /v1/jobs/{job_id}", 204, "done"),
    ]
    assert {(line["who"], line["job"], line["address"]) for line in told} == {
        (record.id, job, "127.0.0.1")
    }
    assert told[1]["about"] == "report.html"


@pytest.mark.anyio
async def test_refusals_are_told_with_who_and_why(tmp_path: Path) -> None:
    """Somebody who tries doors is what the log is read for."""
    async with service(tmp_path, **LOCKED) as (client, services):
        reader, key = services.gate.keys.create("ward", Role.READ)
        headers = {"Authorization": f"Bearer {key}"}
        nobodys = UUID(int=7)
        await client.get("/v1/jobs")
        await client.delete(f"/v1/jobs/{nobodys}", headers=headers)
        await client.get(f"/v1/jobs/{nobodys}", headers=headers)
        await client.get("/v1/Jane_Doe", headers=headers)
        told = logged(services)

    assert [(line["who"], line["status"], line["outcome"]) for line in told] == [
        ("-", 401, "refused"),
        (reader.id, 403, "refused"),
        (reader.id, 404, "refused"),
        (reader.id, 404, "refused"),
    ]
    assert told[0]["what"] == "GET (at the door)"
    assert told[2]["job"] == str(nobodys)
    assert told[3]["what"] == "GET (no such path)"


@pytest.mark.anyio
async def test_a_log_that_cannot_be_written_is_said_in_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Results already on their way cannot be called back; the operator must learn of it."""
    async with service(tmp_path) as (client, services):
        services.gate.audit.path.parent.write_text("in the way")
        with caplog.at_level(logging.CRITICAL):
            assert (await submit(client)).status_code == 202

    critical = [r.message for r in caplog.records if r.levelno == logging.CRITICAL]
    assert critical == ["audit_failed"]


def named_after_jane(content: bytes) -> bytes:
    """A form whose files, and whose header lines, carry a patient's name."""
    return content.replace(b'name="t1w"', b'name="t1w"; filename="/scans/Jane_Doe^1970.nii.gz"')


HEADERS = {"User-Agent": "Jane_Doe", "X-Patient": "Jane_Doe", "Referer": "file:///Jane_Doe"}
BODIES = [
    named_after_jane(form(pair())),
    named_after_jane(form(pair(t1w=b"Jane_Doe" * 100))),
    named_after_jane(form(pair(), closed=False)),
    named_after_jane(form(pair(t1w=nifti()[:-9]))),
    named_after_jane(form([*pair(), ("Jane_Doe", b"x")])),
    named_after_jane(form(pair(options=b'{"label": "x", "Jane_Doe": 1}'))),
    named_after_jane(form(pair(options=b'{"label": "Jane_Doe/Jane_Doe"}'))),
    form(pair()).replace(b"Content-Disposition", b"Jane_Doe\x01", 1),
    form(pair()).replace(b"\r\n\r\n", b"\r\nContent-Type: Jane_Doe\r\nJane_Doe\r\n\r\n", 1),
    b"Jane_Doe" * 10,
]


@pytest.mark.anyio
async def test_no_name_that_was_uploaded_gets_into_any_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files are named after patients; logs are read, copied and kept by many."""
    headers = form_headers() | HEADERS
    paths = [
        "/v1/jobs?state=Jane_Doe",
        f"/v1/jobs/{UUID(int=7)}/artefacts/Jane_Doe.nii.gz",
        "/v1/models/Jane_Doe",
        "/Jane_Doe",
    ]
    with caplog.at_level(logging.DEBUG):
        async with service(tmp_path) as (client, services):
            for body in BODIES:
                await client.post("/v1/jobs", content=body, headers=headers)
            for path in paths:
                await client.get(path, headers=headers)
            told = services.gate.audit.path.read_text()

    # httpx, which sends the requests here, logs their addresses: that is the caller's own log.
    ours = [
        record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    ]
    text = "\n".join(JsonFormatter().format(record) for record in ours)
    assert told.count("POST /v1/jobs") == len(BODIES)
    assert "Jane" not in told
    assert "Jane" not in text
    assert BOUNDARY not in text
