"""Tell many listeners when jobs change, with one look at the store for all of them."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from uuid import UUID

from anyio.to_thread import run_sync

from dlb_core.contracts import FINAL_STATES
from dlb_core.errors import StreamsExhausted, TransientError
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
LONGEST_S = 600.0
"""A stream ends after so long; who reconnects shows a key that must still be good."""
SIGN_OF_LIFE_EVERY_S = 15.0
"""Proxies close connections on which nothing comes for a minute or so."""


class JobFeed:
    """Looks at the jobs that somebody listens to, while somebody does; within one event loop.

    Parameters
    ----------
    store : JobStore
    max_listeners : int
        More are refused.
    longest_s : float
        No stream lasts longer, by much.
    """

    def __init__(
        self, store: JobStore, *, max_listeners: int, longest_s: float = LONGEST_S
    ) -> None:
        self._store = store
        self._max_listeners = max_listeners
        self._longest_s = longest_s
        self._listeners: Counter[UUID] = Counter()
        self._latest: dict[UUID, JobRecord | None] = {}
        self._looked = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._begun = self._done = 0
        """Looks so far."""

    async def close(self) -> None:
        """End every stream."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        async with self._looked:
            self._looked.notify_all()

    def require_place(self) -> None:
        """Refuse a listener too many, before anything is answered.

        Raises
        ------
        StreamsExhausted
        """
        if self._listeners.total() >= self._max_listeners:
            raise StreamsExhausted("too many streams of events are open: poll the job instead")

    async def follow(self, first: JobRecord, *, is_known: bool) -> AsyncIterator[JobRecord | None]:
        """Yield a job now and each time it has changed, until it has ended, is gone, or for long.

        Parameters
        ----------
        first : JobRecord
            As it was just read.
        is_known : bool
            Whether the listener has it already.

        Yields
        ------
        JobRecord or None
            None when nothing has changed, at once and now and then: a sign of life.
        """
        known, until = first, asyncio.get_running_loop().time() + self._longest_s
        with self._listening(first.id) as joined:
            yield None if is_known else first
            while known.state not in FINAL_STATES and not self._closing:
                if asyncio.get_running_loop().time() > until:
                    return
                if not await self._is_news(known, joined):
                    yield None
                    continue
                latest = self._latest.get(known.id, known)
                if latest is None:
                    return
                if latest != known:
                    yield latest
                    known = latest

    @contextmanager
    def _listening(self, job_id: UUID) -> Iterator[int]:
        """Count a listener; the first one starts the looks, and without any they end.

        Yields the number of the look that was last begun: what it and earlier ones find may be
        older than what the listener knows.
        """
        self._listeners[job_id] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            yield self._begun
        finally:
            self._listeners[job_id] -= 1
            if self._listeners[job_id] == 0:
                del self._listeners[job_id]

    async def _is_news(self, known: JobRecord, joined: int) -> bool:
        """Wait until a job is another than the one known, or gone; False after a while."""

        def is_news() -> bool:
            seen = self._done > joined and known.id in self._latest
            return self._closing or (seen and self._latest[known.id] != known)

        try:
            async with asyncio.timeout(SIGN_OF_LIFE_EVERY_S), self._looked:
                await self._looked.wait_for(is_news)
        except TimeoutError:
            return False
        return True

    async def _look(self) -> None:
        """Look again and again, while anybody listens."""
        while self._listeners:
            self._begun += 1
            wanted = list(self._listeners)
            try:
                found = await run_sync(self._store.get_many, wanted)
            except TransientError as error:
                logger.warning("events_interrupted", extra={"cause": str(error)})
            else:
                async with self._looked:
                    self._latest = {job_id: found.get(job_id) for job_id in wanted}
                    self._done = self._begun
                    self._looked.notify_all()
            await asyncio.sleep(LOOK_EVERY_S)
