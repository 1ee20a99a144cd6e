"""A seeded, random campaign of faults against a whole installation under work."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import psutil

from tests.faults.cases import Case
from tests.faults.clients import Accounts
from tests.faults.system import System, cases_of, choose, kill, tree_of
from tests.unit.small_disk import fill

AHEAD_S = 5400
BUSY_PATIENCE_S = 20.0


class Fault(StrEnum):
    """What is done to the installation."""

    WORKER = "kill -9 of a worker, all of it"
    PART = "kill -9 of one process of a worker"
    CASE = "kill -9 of a running case"
    API = "kill -9 of the API"
    BROKER = "kill -9 of the broker"
    FROZEN = "a worker frozen beyond its lease"
    DISK = "the disk full"
    CLOCK = "the clock 90 min ahead, then back"


SHORT = dict.fromkeys(Fault, 1) | {Fault.FROZEN: 0}
LONG = {
    Fault.WORKER: 12,
    Fault.PART: 10,
    Fault.CASE: 10,
    Fault.API: 12,
    Fault.BROKER: 10,
    Fault.FROZEN: 3,
    Fault.DISK: 4,
    Fault.CLOCK: 4,
}


@dataclass
class Caused:
    """What was really done."""

    faults: "Counter[Fault]" = field(default_factory=Counter)
    hints_before: int = 0
    """Messages that waited in the broker when it was killed, where that was known."""
    hints_after: int = 0
    """Of these, still waiting when it was back: workers may have taken some meanwhile."""


def run(
    system: System, cases: list[Case], faults: list[Fault], *, seed: int, at_once: int
) -> tuple[Accounts, Caused]:
    """Let clients work, and cause the faults at random moments while they do.

    The k-th fault comes once a random number of jobs have ended, and a random pause later.
    """
    dice = random.Random(seed)  # noqa: S311  # what dies when, no secret
    dice.shuffle(faults)
    moments = sorted(dice.randrange(len(cases)) for _ in faults)
    accounts = Accounts(cases, system.url, at_once=at_once)
    caused = Caused()
    accounts.start()
    for fault, moment in zip(faults, moments, strict=True):
        while len(accounts.done) < moment and accounts.at_work:
            time.sleep(0.1)
        _wait_for_work(system, accounts)
        time.sleep(dice.uniform(0.0, 1.5))
        if CAUSES[fault](system, dice, caused):
            caused.faults[fault] += 1
    while accounts.at_work:
        time.sleep(0.2)
    return accounts, caused


def _wait_for_work(system: System, accounts: Accounts) -> None:
    """Faults in an idle installation tell little."""
    deadline = time.monotonic() + BUSY_PATIENCE_S
    while not cases_of(system) and accounts.at_work and time.monotonic() < deadline:
        time.sleep(0.1)


def _kill_worker(system: System, dice: random.Random, _: Caused) -> bool:
    return kill(tree_of(dice.choice(system.workers))) > 0


def _kill_part(system: System, dice: random.Random, _: Caused) -> bool:
    return kill(choose(dice, lambda: tree_of(dice.choice(system.workers)))) > 0


def _kill_case(system: System, dice: random.Random, _: Caused) -> bool:
    return kill(choose(dice, lambda: cases_of(system))) > 0


def _kill_api(system: System, _: random.Random, __: Caused) -> bool:
    return kill(tree_of(system.api)) > 0


def _kill_broker(system: System, _: random.Random, caused: Caused) -> bool:
    """Its own supervisor starts it again, on its append-only file."""
    pid = system.broker.pid
    if pid is None:
        return False
    before = system.hints()
    killed = kill([psutil.Process(pid)])
    if before:
        caused.hints_before += before
        caused.hints_after += min(before, _hints_when_back(system))
    return killed > 0


def _hints_when_back(system: System) -> int:
    deadline = time.monotonic() + BUSY_PATIENCE_S
    while time.monotonic() < deadline:
        found = system.hints()
        if found is not None:
            return found
        time.sleep(0.05)
    return 0


def _freeze(system: System, dice: random.Random, _: Caused) -> bool:
    """The other workers take its job; thawed, it must publish nothing."""
    processes = tree_of(dice.choice(system.workers))
    _each(processes, psutil.Process.suspend)
    time.sleep(13.0)
    _each(processes, psutil.Process.resume)
    return bool(processes)


def _each(processes: list[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        try:
            act(process)
        except psutil.NoSuchProcess:
            continue


def _fill_disk(system: System, dice: random.Random, _: Caused) -> bool:
    """Not a byte is left for uploads, results, the database and the broker's file."""
    filler = system.folder.root.parent / "filler"
    fill(filler, leaving=0)
    time.sleep(dice.uniform(1.0, 3.0))
    filler.unlink()
    return True


def _set_clock(system: System, dice: random.Random, _: Caused) -> bool:
    assert system.clock is not None
    system.clock.set_ahead(AHEAD_S)
    time.sleep(dice.uniform(2.0, 4.0))
    system.clock.set_ahead(0)
    return True


CAUSES: dict[Fault, Callable[[System, random.Random, Caused], bool]] = {
    Fault.WORKER: _kill_worker,
    Fault.PART: _kill_part,
    Fault.CASE: _kill_case,
    Fault.API: _kill_api,
    Fault.BROKER: _kill_broker,
    Fault.FROZEN: _freeze,
    Fault.DISK: _fill_disk,
    Fault.CLOCK: _set_clock,
}
"""Each says whether there was something to do it to."""


def schedule(counts: dict[Fault, int], *, but: set[Fault]) -> list[Fault]:
    """So many faults of each kind, without those that cannot be caused here."""
    return [fault for fault, count in counts.items() if fault not in but for _ in range(count)]
