"""Requests a caller may send: a token bucket each, in this process's memory.

What it holds across processes: each API process counts for itself, so with n of them a caller has
up to n times the rate. That is enough for what it is for, keeping one runaway script from taking
the service from the others; what must hold exactly, the upload quota, is counted in SQL.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_CALLERS = 10_000


class AtOnce:
    """What each caller has under way; use it from one thread only.

    Parameters
    ----------
    most : int
        More at once are refused; 0: no limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    def begin(self, caller: str) -> bool:
        """Count one more, unless it is one too many."""
        if self._most and self._under_way[caller] >= self._most:
            return False
        self._under_way[caller] += 1
        return True

    def end(self, caller: str) -> None:
        """Count one less."""
        self._under_way[caller] -= 1
        if not self._under_way[caller]:
            del self._under_way[caller]


@dataclass(slots=True)
class _Bucket:
    """What one caller has left."""

    tokens: float
    filled: float
    """When it was last filled, on the clock."""


class TokenBuckets:
    """A bucket a caller; use it from one thread only.

    Parameters
    ----------
    per_minute : int
        Tokens a minute; 0: no limit.
    burst : int
        Tokens of a full bucket: requests that may come at once.
    clock : callable
        Seconds; never runs backwards.
    """

    def __init__(
        self, per_minute: int, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate_s = per_minute / 60
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str) -> int:
        """Take a token; returns 0, or the seconds to wait where there is none."""
        if self._rate_s == 0:
            return 0
        bucket = self._bucket(caller)
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0
        return max(1, math.ceil((1 - bucket.tokens) / self._rate_s))

    def _bucket(self, caller: str) -> _Bucket:
        """The caller's bucket, filled up to now."""
        now = self._clock()
        bucket = self._buckets.setdefault(caller, _Bucket(self._burst, now))
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._rate_s)
        bucket.filled = now
        self._buckets.move_to_end(caller)
        if len(self._buckets) > MOST_CALLERS:
            # The one unheard of for longest; its bucket has most likely filled up again.
            self._buckets.popitem(last=False)
        return bucket
