"""Upload one pair many times at once, in a process of its own: prints JSON.

    python -m benchmarks.load.uploads URL T1W FLAIR COUNT PRIORITY PACE

The clients that poll must not wait for those that upload, or their own process would be measured.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from dlb_core.client import AsyncDlbClient
from dlb_core.contracts import Priority, SegmentationOptions
from dlb_core.errors import DlbError


async def upload(
    url: str, t1w: Path, flair: Path, *, count: int, priority: Priority, pace_s: float
) -> dict[str, Any]:
    """Send the pair `count` times at once; seconds of each, ids of the jobs, errors."""
    options = SegmentationOptions(label=f"pace-{pace_s:g}")
    seconds: list[float] = []
    jobs: list[str] = []
    errors: list[str] = []

    async def send(client: AsyncDlbClient) -> None:
        begun = time.monotonic()
        try:
            job = await client.submit(t1w=t1w, flair=flair, options=options, priority=priority)
        except DlbError as error:
            errors.append(f"{error.code}: {error}")
            return
        seconds.append(time.monotonic() - begun)
        jobs.append(str(job.id))

    # One attempt: an upload that had to be repeated is an error here.
    async with AsyncDlbClient(url, attempts=1) as client:
        await asyncio.gather(*(send(client) for _ in range(count)))
    return {"seconds": seconds, "jobs": jobs, "errors": errors}


def main() -> None:
    """Upload, and print what came of it."""
    url, t1w, flair, count, priority, pace_s = sys.argv[1:]
    sent = upload(
        url,
        Path(t1w),
        Path(flair),
        count=int(count),
        priority=Priority(priority),
        pace_s=float(pace_s),
    )
    print(json.dumps(asyncio.run(sent)))


if __name__ == "__main__":
    main()
