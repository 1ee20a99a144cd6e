"""What ended a case's process that gave no outcome: the cause that the caller reads."""

import signal

from dlb_core.errors import CaseCrashed, CaseKilled, OutOfMemory, StageFailed
from worker.memory import ADVICE, OomCounters


def cause_of_death(status: int, *, counters: OomCounters, held_mb: int | None) -> StageFailed:
    """Name the cause.

    Parameters
    ----------
    status : int
        As `subprocess` gives it: the exit status, or minus the signal that killed it.
    counters : OomCounters
        Made before the process was started.
    held_mb : int or None
        Memory that it held when last looked at.
    """
    held = "" if held_mb is None else f" (it held {held_mb} MiB when last looked at)"
    if status == -signal.SIGKILL:
        return _killed(counters, held)
    if status < 0:
        name = signal.Signals(-status).name
        return CaseCrashed(
            f"the process working on this case crashed with {name}{held}: see the worker's log"
        )
    return CaseCrashed(
        f"the process working on this case ended without a result (exit status {status}){held}: "
        "see the worker's log"
    )


def _killed(counters: OomCounters, held: str) -> StageFailed:
    if counters.have_grown():
        return OutOfMemory(
            f"memory ran out, and the kernel killed the process working on this case{held}: "
            f"{ADVICE}"
        )
    if counters.are_kept:
        return CaseKilled(
            f"the process working on this case was killed from outside{held}; the kernel counts "
            "no want of memory: see who sends SIGKILL"
        )
    return CaseKilled(
        f"the process working on this case was killed{held}, most likely because memory ran out: "
        f"{ADVICE}"
    )
