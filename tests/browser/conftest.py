"""A real Chromium, without a window, and the real service for it to look at."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.integration.job_harness import ROOT, kill_tree, wait_until
from tests.unit.service_kit import make_bundle

PATIENCE_MS = 120_000
"""Slow machines draw in software; a quick one needs a few seconds."""
NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Watched:
    """A page, and all that went wrong in it."""

    page: Page
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright.

    Playwright keeps an event loop running in this thread: it must end before other tests want one.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("NO CHROMIUM: the pages are untested; `make browser` installs it")
    with sync_playwright() as playwright:
        # Root may not use Chromium's own sandbox; the pages are ours.
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A page whose errors and whose breaches of the Content-Security-Policy are noted."""
    context = browser.new_context(viewport={"width": 1100, "height": 640})
    context.set_default_timeout(PATIENCE_MS)
    watched = Watched(context.new_page())
    watched.page.on("pageerror", lambda error: watched.faults.append(str(error)))
    # A breach of the policy is an error on the console, too.
    watched.page.on(
        "console",
        lambda message: watched.faults.append(message.text) if message.type == "error" else None,
    )
    yield watched
    context.close()


@dataclass(frozen=True)
class Served:
    """A running `dlb serve`."""

    url: str
    gate: Path
    """The pipeline waits in its middle until this file exists."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Broker, worker and API as a user starts them; only the pipeline is a small one."""
    root = tmp_path_factory.mktemp("served")
    output, gate = root / "output.txt", root / "gate"
    code = "import sys; from dlb_core.cli.main import main; sys.exit(main(sys.argv[1:]))"
    bundle = make_bundle(root / "weights")
    options = ["--data", str(root / "data"), "--weights", str(bundle), "--threads", "1"]
    port = _free_port()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", "--port", str(port), *options],
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "DLB_PIPELINE": "tests.browser.viewer_pipeline:segment_case",
                "DLB_TEST_GATE": str(gate),
                "DLB_MIN_FREE_MB": "0",
            },
            stdout=file,
            stderr=file,
        )
    try:
        wait_until(
            lambda: "ready at" in output.read_text(), describe=output.read_text, patience_s=120
        )
        yield Served(f"http://127.0.0.1:{port}", gate)
    finally:
        with contextlib.suppress(ProcessLookupError):
            kill_tree(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
