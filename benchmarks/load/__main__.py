"""Many clients at once: 200 poll their jobs while 20 upload and workers run.

    python -m benchmarks.load [--pollers 200] [--uploads 20] [--megabytes 0.1 6 60]

A real broker, API and two workers, with the tests' quick pipeline in place of the real one, on
loopback. Each size is a phase: all uploads at once, each a pair of two images of that size. The
phases end when their uploads have; nothing lasts longer than its time limit.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load.images import write_pair
from benchmarks.load.memory import Memory
from benchmarks.load.polling import Polled, Pollers
from dlb_core.contracts import Priority
from tests.faults.system import System

NUM_WORKERS = 2
SMALL_MB = 0.06
ALONE_S = 20.0
LIMIT_S = 600.0
PACE_S = 0.02
"""Seconds between two of the quick pipeline's 75 steps: the workers stay busy all the time."""


@dataclass(frozen=True)
class Phase:
    """What one phase cost."""

    name: str
    polled: Polled
    uploads_s: Sequence[float]
    errors: Sequence[str]
    seconds: float
    peak_mib: float


def main() -> None:
    """Run every phase, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument("--uploads", type=int, default=20, help="at once, in each phase")
    parser.add_argument("--megabytes", type=float, nargs="+", default=[6, 60], help="an image")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        system = System(root, root / "data", num_workers=NUM_WORKERS, clock=None)
        try:
            system.start()
            phases = asyncio.run(measure(system, root, args))
            assert not system.deaths, system.deaths
        finally:
            system.stop()
    show(phases, args)
    sys.exit(any(phase.errors or phase.polled.errors for phase in phases))


async def measure(system: System, root: Path, args: argparse.Namespace) -> list[Phase]:
    """Let clients poll alone, then while others upload pairs of each size."""
    assert system.api.pid is not None
    memory = Memory(system.api.pid)
    small = write_pair(root, SMALL_MB)
    jobs: list[str] = []
    while len(jobs) < args.pollers:
        some = min(args.uploads, args.pollers - len(jobs))
        sent = await _upload(system.url, small, some, Priority.RESEARCH)
        assert not sent["errors"], sent["errors"]
        jobs += sent["jobs"]
    pollers = Pollers(system.url, jobs)
    try:
        # Connections are made, and what is read once is read.
        await asyncio.sleep(5.0)
        phases = [await _alone(pollers, memory)]
        for megabytes in args.megabytes:
            pair = await asyncio.to_thread(write_pair, root, megabytes)
            phases.append(
                await _while_uploading(
                    pollers, memory, system.url, pair, args.uploads, f"2 x {megabytes:g} MB"
                )
            )
        return phases
    finally:
        await pollers.stop()


async def _alone(pollers: Pollers, memory: Memory) -> Phase:
    pollers.take()
    memory.forget_peak()
    await asyncio.sleep(ALONE_S)
    return Phase("no upload", pollers.take(), [], [], ALONE_S, memory.peak_mib)


async def _while_uploading(
    pollers: Pollers, memory: Memory, url: str, pair: tuple[Path, Path], count: int, size: str
) -> Phase:
    pollers.take()
    memory.forget_peak()
    begun = time.monotonic()
    sent = await _upload(url, pair, count, Priority.STAT)
    return Phase(
        name=f"{count} uploads of {size}",
        polled=pollers.take(),
        uploads_s=sent["seconds"],
        errors=sent["errors"],
        seconds=time.monotonic() - begun,
        peak_mib=memory.peak_mib,
    )


async def _upload(
    url: str, pair: tuple[Path, Path], count: int, priority: Priority
) -> dict[str, Any]:
    """Upload from another process."""
    words = [url, *map(str, pair), str(count), priority.value, f"{PACE_S:g}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load.uploads", *words, stdout=asyncio.subprocess.PIPE
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    except TimeoutError:
        process.kill()
        raise
    found: dict[str, Any] = json.loads(printed)
    return found


def show(phases: Sequence[Phase], args: argparse.Namespace) -> None:
    """Print a table, and where it was measured."""
    print(
        f"{args.pollers} clients poll; {NUM_WORKERS} workers; {platform.processor() or 'cpu'}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds"
    )
    print("| phase | polls | p50 | p99 | uploads p50 | p99 | took | API memory, MiB | errors |")
    print("|---|---|---|---|---|---|---|---|---|")
    for phase in phases:
        errors = len(phase.errors) + len(phase.polled.errors)
        cells = [
            phase.name,
            str(len(phase.polled.seconds)),
            *_quantiles(phase.polled.seconds),
            *_quantiles(phase.uploads_s),
            f"{phase.seconds:.0f}",
            f"{phase.peak_mib:.0f}",
            str(errors),
        ]
        print(f"| {' | '.join(cells)} |")
        for error in sorted({*phase.errors, *phase.polled.errors}):
            print(f"  {error}")


def _quantiles(seconds: Sequence[float]) -> tuple[str, str]:
    """Median and 99th percentile."""
    if len(seconds) < 2:
        return "-", "-"
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49]:.2f}", f"{cuts[98]:.2f}"


if __name__ == "__main__":
    main()
