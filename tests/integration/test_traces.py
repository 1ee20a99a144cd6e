"""One trace leads from a caller's request to the worker's stages, over three processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from job_harness import ROOT, Installation, broker_binaries, kill_tree, wait_until
from test_serve import _free_port, _image

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


def spans_of(path: Path) -> list[dict[str, Any]]:
    """Spans, as the processes wrote them."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_request_queue_attempt_and_stages_are_one_trace(tmp_path: Path) -> None:
    """Why did this job take so long? One picture answers, if nothing falls out of it."""
    installed = Installation(tmp_path, broker_binary=broker_binaries()["valkey"])
    spans, port = tmp_path / "spans.jsonl", _free_port()
    api = subprocess.Popen(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env=os.environ
        | {
            "DLB_DATA": str(installed.folder.root),
            "DLB_REDIS_URL": installed.broker.url,
            "DLB_PORT": str(port),
            "DLB_TRACES": f"file:{spans}",
            "DLB_MIN_FREE_MB": "0",
        },
        stderr=subprocess.DEVNULL,
    )
    try:
        installed.start_worker(DLB_TRACES=f"file:{spans}")
        wait_until(lambda: _is_alive(port))
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/jobs",
            headers={"traceparent": CALLER},
            files={"t1w": ("Jane_Doe.nii.gz", _image()), "flair": ("b.nii.gz", _image())},
            trust_env=False,
            timeout=30,
        )
        job = answer.json()["id"]
        installed.wait_for_end(UUID(job))
        wait_until(lambda: '"name": "attempt"' in spans.read_text())
    finally:
        kill_tree(api)
        installed.close()

    found = [span for span in spans_of(spans) if span["context"]["trace_id"] == f"0x{TRACE}"]
    named = {span["name"]: span for span in found}
    assert {"POST /v1/jobs", "queue", "attempt", "stage inference"} <= named.keys()
    request, attempt = named["POST /v1/jobs"], named["attempt"]
    assert request["parent_id"] == "0xb7ad6b7169203331"
    assert attempt["parent_id"] == named["queue"]["parent_id"] == request["context"]["span_id"]
    assert named["stage inference"]["parent_id"] == attempt["context"]["span_id"]
    assert attempt["attributes"]["dlb.job_id"] == job
    assert attempt["attributes"]["dlb.outcome"] == "successful"
    assert named["queue"]["start_time"] < attempt["start_time"]
    services = {span["resource"]["attributes"]["service.name"] for span in found}
    assert services == {"dlb-api", "dlb-worker"}
    assert "Jane" not in spans.read_text()
    lines = [json.loads(line) for line in installed.log.read_text().splitlines() if "{" in line]
    ended = next(line for line in lines if line["event"] == "job_successful")
    assert (ended["trace_id"], ended["job_id"]) == (TRACE, job)


def _is_alive(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False).is_success
    except httpx.HTTPError:
        return False
