"""Nobody's job ends unheard: the sender is killed, the receiver is down, and all are told."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from job_harness import ROOT, wait_until
from sqlalchemy import update

from dlb_core.contracts import SegmentationOptions
from dlb_core.documents import MessageState, WebhookEvent
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.webhooks.store import WebhookStore
from dlb_core.jobs.webhooks.tables import WebhookMessageRow
from tests.unit.webhook_kit import LOOPBACK, Receiver, receiver

JOBS = 6


@contextmanager
def service(data: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m service` in a process of its own, killed at the end."""
    variables = {
        "DLB_DATA": str(data),
        "DLB_PORT": str(port),
        "DLB_REDIS_URL": "redis://127.0.0.1:1/0",
        "DLB_WEBHOOK_NETWORKS": LOOPBACK,
        "DLB_MIN_FREE_MB": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "service"],
        env=os.environ | variables,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def end_a_job(store: JobStore) -> UUID:
    """What a worker does whose case fails."""
    job_id = uuid4()
    store.insert(job_id, SegmentationOptions(), {})
    claim = store.claim(job_id, 60.0)
    assert claim is not None
    assert store.fail(claim, "quality-failed", "no")
    return job_id


@pytest.fixture
def heard() -> Iterator[Receiver]:
    """A receiver that takes its time."""
    with receiver() as running:
        running.pause_s = 0.3
        yield running


def test_a_sender_killed_in_the_middle_loses_no_message(tmp_path: Path, heard: Receiver) -> None:
    """kill -9 while one message is on its way and others wait: each job is told of all the same."""
    data = DataFolder(tmp_path / "data")
    data.create()
    store = JobStore.open(data.database_url)
    webhooks = WebhookStore.open(data.database_url)
    webhook, _ = webhooks.create(heard.url, (WebhookEvent.FAILED,), owner=None, sees=None)
    port = _free_port()

    with service(data.root, port) as first:
        jobs = {end_a_job(store) for _ in range(JOBS)}
        wait_until(lambda: len(heard.requests) >= 2)
        first.send_signal(signal.SIGKILL)
        first.wait()
    before = len(heard.requests)
    assert before < JOBS
    jobs.add(end_a_job(store))
    _let_leases_end(webhooks)
    with service(data.root, port):
        wait_until(
            lambda: webhooks.counts()[MessageState.DELIVERED] == JOBS + 1,
            describe=lambda: str(webhooks.messages(webhook.id, sees=None)),
        )
        health = httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False)

    messages = webhooks.messages(webhook.id, sees=None)
    assert {message.job_id for message in messages} == jobs
    assert len(messages) == JOBS + 1, "an end was told twice, or not at all"
    assert set(heard.ids) == {message.id for message in messages}
    assert health.is_success
    store.close()
    webhooks.close()


def _let_leases_end(webhooks: WebhookStore) -> None:
    """Spare the test a minute."""
    with webhooks._write() as session:
        session.execute(update(WebhookMessageRow).values(lease_until=None))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
