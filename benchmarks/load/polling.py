"""Clients that ask how their jobs stand, as often as the service asks them to."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import httpx

from dlb_core.documents import API

TIMEOUT_S = 60.0
PAUSE_S = 2.0
"""Where the service names no pause: the job has ended."""


@dataclass
class Polled:
    """What the clients have met since they were last asked."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Pollers:
    """So many clients, each with a connection and a job of its own.

    Parameters
    ----------
    url : str
    jobs : list of str
        Ids; one client for each.
    """

    def __init__(self, url: str, jobs: list[str]) -> None:
        limits = httpx.Limits(max_connections=len(jobs), max_keepalive_connections=len(jobs))
        self._http = httpx.AsyncClient(
            base_url=url, limits=limits, timeout=TIMEOUT_S, trust_env=False
        )
        self._polled = Polled()
        self._tasks = [asyncio.create_task(self._poll(job)) for job in jobs]

    def take(self) -> Polled:
        """What was met since the last time."""
        polled, self._polled = self._polled, Polled()
        return polled

    async def stop(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def _poll(self, job: str) -> None:
        await asyncio.sleep(random.uniform(0.0, PAUSE_S))  # noqa: S311  # no secret
        etag = ""
        while True:
            begun = time.monotonic()
            pause_s = PAUSE_S
            try:
                answer = await self._http.get(
                    f"{API}/jobs/{job}", headers={"If-None-Match": etag} if etag else {}
                )
            except httpx.HTTPError as error:
                self._polled.errors.append(type(error).__name__)
            else:
                if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_MODIFIED):
                    self._polled.errors.append(str(answer.status_code))
                etag = answer.headers.get("ETag", etag)
                pause_s = float(answer.headers.get("Retry-After", PAUSE_S))
            self._polled.seconds.append(time.monotonic() - begun)
            await asyncio.sleep(pause_s)
