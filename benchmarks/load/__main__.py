"""Many clients at once: 200 poll their jobs while 20 upload and workers run.

    python -m benchmarks.load [--pollers 200] [--uploads 20] [--megabytes 6 60]

A real broker, API and two workers, with the tests' quick pipeline in place of the real one, on
loopback. Each size is a phase: all uploads at once, each a pair of two images of that size. The
phases end when their uploads have; nothing lasts longer than its time limit.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.load.images import write_pair
from benchmarks.load.polling import Polled, Pollers
from benchmarks.load.process import Usage
from dlb_core.artefacts import sha256_of
from dlb_core.contracts import Priority, SegmentationOptions
from dlb_core.jobs.layout import image_in
from dlb_core.jobs.store import JobStore
from tests.faults.system import System

NUM_WORKERS = 2
SMALL_MB = 0.06
SETTLE_S = 5.0
ALONE_S = 20.0
LIMIT_S = 600.0
PACE_S = 0.1
"""Seconds between two of the quick pipeline's 75 steps: the workers have jobs all the time."""


@dataclass(frozen=True)
class Phase:
    """What one phase cost."""

    name: str
    polled: Polled
    uploads_s: Sequence[float]
    errors: Sequence[str]
    seconds: float
    processor_s: float
    """Of the API, like the memory."""
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
    usage = Usage(system.api.pid)
    pairs = {megabytes: write_pair(root, megabytes) for megabytes in args.megabytes}
    pollers = Pollers(system.url, _accept_small(system, root, args.pollers))
    try:
        # Connections are made, and what is read once is read.
        await asyncio.sleep(SETTLE_S)
        phases = [await _phase("no upload", pollers, usage, _nothing())]
        for megabytes, pair in pairs.items():
            name = f"{args.uploads} uploads of 2 x {megabytes:g} MB"
            sent = _upload(system.url, pair, args.uploads, Priority.STAT)
            phases.append(await _phase(name, pollers, usage, sent))
        return phases
    finally:
        await pollers.stop()


def _accept_small(system: System, root: Path, count: int) -> list[str]:
    """A small job for each client that polls, as if it had been uploaded; returns their ids."""
    pair = dict(zip(("T1w", "FLAIR"), write_pair(root, SMALL_MB), strict=True))
    options = SegmentationOptions(label=f"pace-{PACE_S:g}")
    jobs = [uuid4() for _ in range(count)]
    with JobStore.open(system.folder.database_url) as store:
        for job in jobs:
            system.folder.inputs(job).mkdir(parents=True)
            for role, path in pair.items():
                shutil.copy(path, image_in(system.folder.inputs(job), role).with_suffix(""))
            digests = {role: sha256_of(path) for role, path in pair.items()}
            store.insert(job, options, digests, priority=Priority.RESEARCH)
    return [str(job) for job in jobs]


async def _nothing() -> dict[str, Any]:
    await asyncio.sleep(ALONE_S)
    return {"seconds": [], "errors": []}


async def _phase(
    name: str, pollers: Pollers, usage: Usage, work: Awaitable[dict[str, Any]]
) -> Phase:
    """Note what clients and API have met while some work is done."""
    pollers.take()
    usage.forget_peak()
    begun, used = time.monotonic(), usage.processor_s
    sent = await work
    return Phase(
        name=name,
        polled=pollers.take(),
        uploads_s=sent["seconds"],
        errors=sent["errors"],
        seconds=time.monotonic() - begun,
        processor_s=usage.processor_s - used,
        peak_mib=usage.peak_mib,
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
    print(
        "| phase | polls | p50 | p99 | uploads p50 | p99 | took | processor of the API "
        "| its memory, MiB | errors |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for phase in phases:
        errors = len(phase.errors) + len(phase.polled.errors)
        cells = [
            phase.name,
            str(len(phase.polled.seconds)),
            *_quantiles(phase.polled.seconds),
            *_quantiles(phase.uploads_s),
            f"{phase.seconds:.0f}",
            f"{phase.processor_s:.1f}",
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
