"""Whether a case was killed for want of memory, from what the kernel counts."""

import signal
from pathlib import Path

import pytest

from dlb_core.errors import CaseCrashed, CaseKilled, OutOfMemory
from worker.death import cause_of_death
from worker.memory import OomCounters, is_out_of_memory, resident_mb

V1 = ("4:memory:/jobs/7\n", "sys/fs/cgroup/memory/jobs/7/memory.oom_control")
V1_IN_CONTAINER = ("4:memory:/jobs/7\n", "sys/fs/cgroup/memory/memory.oom_control")
V2 = ("0::/jobs/7\n", "sys/fs/cgroup/jobs/7/memory.events")
V2_IN_CONTAINER = ("0::/\n", "sys/fs/cgroup/memory.events")
MACHINE = ("", "proc/vmstat")


def write(root: Path, groups: str, file: str, kills: int) -> None:
    """A file system as the kernel shows it."""
    for name, text in (
        ("proc/self/cgroup", groups),
        (file, f"low 0\noom 3\noom_kill {kills}\noom_group_kill 0\n"),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(("groups", "file"), [V1, V1_IN_CONTAINER, V2, V2_IN_CONTAINER, MACHINE])
def test_a_kill_that_the_kernel_counted_is_want_of_memory(
    tmp_path: Path, groups: str, file: str
) -> None:
    """Each kind of control group, as the host and as a container sees it, and none at all."""
    write(tmp_path, groups, file, 2)
    counters = OomCounters(tmp_path)
    before = cause_of_death(-signal.SIGKILL, counters=counters, held_mb=None)

    write(tmp_path, groups, file, 3)
    after = cause_of_death(-signal.SIGKILL, counters=counters, held_mb=3900)

    assert type(before) is CaseKilled
    assert type(after) is OutOfMemory
    assert "3900 MiB" in str(after)


def test_where_nothing_is_counted_memory_is_the_likely_cause(tmp_path: Path) -> None:
    """It must not be claimed, nor ruled out."""
    cause = cause_of_death(-signal.SIGKILL, counters=OomCounters(tmp_path), held_mb=None)

    assert type(cause) is CaseKilled
    assert "most likely because memory ran out" in str(cause)


@pytest.mark.parametrize(("status", "words"), [(-signal.SIGSEGV, "SIGSEGV"), (1, "status 1")])
def test_a_crash_is_no_want_of_memory(tmp_path: Path, status: int, words: str) -> None:
    """Also when something else on the machine was killed for it meanwhile."""
    write(tmp_path, *MACHINE, 0)
    counters = OomCounters(tmp_path)
    write(tmp_path, *MACHINE, 1)

    cause = cause_of_death(status, counters=counters, held_mb=None)

    assert type(cause) is CaseCrashed
    assert words in str(cause)


def test_the_memory_of_a_process_is_read(tmp_path: Path) -> None:
    """And one that is gone has none."""
    status = tmp_path / "proc/7/status"
    status.parent.mkdir(parents=True)
    status.write_text("Name:\tpython\nVmHWM:\t  9999999 kB\nVmRSS:\t 2097152 kB\n")

    assert resident_mb(7, tmp_path) == 2048
    assert resident_mb(8, tmp_path) is None


def test_a_processors_allocator_that_fails_is_told_from_other_faults() -> None:
    """PyTorch says so in a plain RuntimeError; a training is tried again for it, too."""
    allocator = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    assert is_out_of_memory(allocator)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
