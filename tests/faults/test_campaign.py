"""Processes are killed, the disk fills, the clock jumps: every accepted job ends exactly once.

`make faults` runs the same at length.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import campaign
from tests.faults.campaign import LONG, SHORT, Fault
from tests.faults.cases import make_cases
from tests.faults.clock import NEEDS_COMPILER, find_clock
from tests.faults.judge import judge, table, unexpected_statuses, wait_until_tidy
from tests.faults.system import System, kill, tree_of
from tests.integration.job_harness import wait_until
from tests.unit.small_disk import NEEDS_ROOT, mounted

NUM_JOBS = int(os.environ.get("DLB_FAULT_JOBS", "8"))
SEED = int(os.environ.get("DLB_FAULT_SEED", "5"))
AT_ONCE = int(os.environ.get("DLB_FAULT_CLIENTS", "4"))
NUM_WORKERS = 2
DISK_MB = 64
LATER_S = 7200
"""What crashes left is removed after an hour."""
UNFORESEEN = ("raised unexpected", "Unrecoverable error", "dispatch_failed", "unexpectedly")
"""What logs say of faults that nobody thought of."""
IS_LONG = NUM_JOBS >= 100


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    """A place for the data, and whether it may be filled."""
    folder = tmp_path / "disk"
    with mounted(folder, megabytes=DISK_MB) as allowed:
        yield folder, allowed


def test_every_accepted_job_ends_once_whatever_dies(
    tmp_path: Path, disk: tuple[Path, bool]
) -> None:
    """The promise of the whole service, kept by real processes under real faults."""
    clock = find_clock(tmp_path / "clock")
    place, may_fill = disk
    missing = {
        Fault.DISK: None if may_fill else NEEDS_ROOT,
        Fault.CLOCK: NEEDS_COMPILER if clock is None else None,
    }
    left_out = {fault: reason for fault, reason in missing.items() if reason is not None}
    faults = campaign.schedule(LONG if IS_LONG else SHORT, but=set(left_out))
    system = System(tmp_path, place / "data", num_workers=NUM_WORKERS, clock=clock)
    begun = time.monotonic()
    try:
        system.start()
        cases = make_cases(tmp_path / "cases", NUM_JOBS)
        accounts, caused = campaign.run(system, cases, faults, seed=SEED, at_once=AT_ONCE)
        wait_until(system.answers)
        verdict = judge(system, accounts.done, tmp_path / "downloads")
        print(table(verdict, caused, system, seconds=time.monotonic() - begun))  # noqa: T201
        if clock is not None:
            clock.set_ahead(LATER_S)
            kill(tree_of(system.api))
            wait_until_tidy(system)
    finally:
        system.stop()

    assert verdict.complaints == []
    assert (verdict.accepted, verdict.lost, verdict.doubled) == (NUM_JOBS, 0, 0)
    assert sum(verdict.ends.values()) == NUM_JOBS
    assert verdict.verified == verdict.ends["successful"] > 0
    assert unexpected_statuses(verdict) == {}
    assert [death for death in system.deaths if death.status != -9] == []
    logs = "".join(path.read_text() for path in system.logs.iterdir())
    assert [fault for fault in UNFORESEEN if fault in logs] == []
    if left_out:
        pytest.skip(f"PASSED, BUT WITHOUT: {', '.join(left_out.values())}")
