"""Tell many listeners when jobs or comparisons change, with one look at the store for all."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar
from uuid import UUID

from anyio.to_thread import run_sync

from dlb_core.contracts import ENDED_COMPARISONS, FINAL_STATES
from dlb_core.errors import StreamsExhausted, TransientError
from dlb_core.jobs.comparisons.records import ComparisonRecord
from dlb_core.jobs.records import JobRecord

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
LONGEST_S = 600.0
"""A stream ends after so long; who reconnects shows a key that must still be good."""
SIGN_OF_LIFE_EVERY_S = 15.0
"""Proxies close connections on which nothing comes for a minute or so."""


Record = TypeVar("Record", JobRecord, ComparisonRecord)
ENDED: frozenset[str] = FINAL_STATES | ENDED_COMPARISONS


class Feed(Generic[Record]):
    """Looks at the records that somebody listens to, while somebody does; within one event loop.

    Parameters
    ----------
    read : callable
        Reads those of some records that exist.
    max_listeners : int
        More are refused.
    longest_s : float
        No stream lasts longer, by much.
    """

    def __init__(
        self,
        read: Callable[[list[UUID]], dict[UUID, Record]],
        *,
        max_listeners: int,
        longest_s: float = LONGEST_S,
    ) -> None:
        self._read: Callable[[list[UUID]], dict[UUID, Record]] = read
        self._max_listeners = max_listeners
        self._longest_s = longest_s
        self._listeners: Counter[UUID] = Counter()
        self._latest: dict[UUID, Record | None] = {}
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
            raise StreamsExhausted("too many streams of events are open: poll instead")

    async def follow(self, first: Record, *, is_known: bool) -> AsyncIterator[Record | None]:
        """Yield a record now and after each change, until it has ended, is gone, or for long.

        Parameters
        ----------
        first : JobRecord or ComparisonRecord
            As it was just read.
        is_known : bool
            Whether the listener has it already.

        Yields
        ------
        JobRecord, ComparisonRecord or None
            None when nothing has changed, at once and now and then: a sign of life.
        """
        known, until = first, asyncio.get_running_loop().time() + self._longest_s
        with self._listening(first.id) as joined:
            yield None if is_known else first
            while known.state not in ENDED and not self._closing:
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
    def _listening(self, record_id: UUID) -> Iterator[int]:
        """Count a listener; the first one starts the looks, and without any they end.

        Yields the number of the look that was last begun: what it and earlier ones find may be
        older than what the listener knows.
        """
        self._listeners[record_id] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            yield self._begun
        finally:
            self._listeners[record_id] -= 1
            if self._listeners[record_id] == 0:
                del self._listeners[record_id]

    async def _is_news(self, known: Record, joined: int) -> bool:
        """Wait until a record is another than the one known, or gone; False after a while."""

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
                found = await run_sync(self._read, wanted)
            except TransientError as error:
                logger.warning("events_interrupted", extra={"cause": str(error)})
            else:
                async with self._looked:
                    self._latest = {each: found.get(each) for each in wanted}
                    self._done = self._begun
                    self._looked.notify_all()
            await asyncio.sleep(LOOK_EVERY_S)
