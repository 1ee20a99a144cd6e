"""Supervised children: restarted with growing pauses, and gone when told to go."""

import os
import sys
import time
from pathlib import Path

import pytest

from dlb_core.jobs import supervisor
from dlb_core.jobs.supervisor import Child, Death

PATIENCE_S = 20.0


def watch(child: Child, deaths: int) -> list[Death]:
    """Keep a child running until it has died so often."""
    seen: list[Death] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(seen) < deaths and time.monotonic() < deadline:
        death = child.keep_running()
        seen += [death] if death is not None else []
        time.sleep(0.01)
    return seen


def test_each_death_is_told_once_and_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that cannot start must not spin the machine."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.02)
    child = Child("broken", [sys.executable, "-c", "raise SystemExit(3)"])
    child.start()

    seen = watch(child, 3)
    child.stop()

    assert [death.status for death in seen] == [3, 3, 3]
    assert [death.restart_in_s for death in seen] == [0.02, 0.04, 0.08]


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    """Ctrl-C must end in the end."""
    started = tmp_path / "started"
    code = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    )
    child = Child("stubborn", [sys.executable, "-c", code, str(started)])
    child.start()
    deadline = time.monotonic() + PATIENCE_S
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    pid = child.pid
    assert pid is not None

    child.stop(grace_s=0.1)

    assert not child.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_gets_its_variables_and_its_log(tmp_path: Path) -> None:
    """The processes of `dlb serve` are set up by variables alone."""
    log = tmp_path / "child.log"
    code = "import os; print(os.environ['DLB_DATA'])"
    child = Child("talker", [sys.executable, "-c", code], variables={"DLB_DATA": "here"}, log=log)
    child.start()
    watch(child, 1)
    child.stop()

    assert log.read_text() == "here\n"


def test_a_log_is_begun_anew_before_it_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child keeps the file open: what it says afterwards must not be lost, nor leave a hole."""
    monkeypatch.setattr(supervisor, "LONGEST_LOG", 100)
    log, go_on = tmp_path / "child.log", tmp_path / "go-on"
    code = (
        "import pathlib, sys, time; print('x' * 200, flush=True)\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\n"
        "print('after', flush=True)"
    )
    child = Child("talker", [sys.executable, "-c", code, str(go_on)], log=log)
    child.start()
    previous = log.with_suffix(".previous.log")
    deadline = time.monotonic() + PATIENCE_S
    while not previous.exists() and time.monotonic() < deadline:
        child.keep_running()
        time.sleep(0.01)
    go_on.touch()
    watch(child, 1)
    child.stop()

    assert previous.read_text() == "x" * 200 + "\n"
    assert log.read_text() == "after\n"
