"""Threads that one kind of work may use at once: everything else must not wait for it."""

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar


class Lane:
    """Holds one kind of work back while enough of it is under way.

    Parameters
    ----------
    name : str
    at_once : int
    """

    def __init__(self, name: str, at_once: int) -> None:
        self._limiter: RunVar[CapacityLimiter] = RunVar(name)
        self.at_once = at_once

    def limiter(self) -> CapacityLimiter:
        """For `run_sync`; one for each event loop."""
        try:
            return self._limiter.get()
        except LookupError:
            made = CapacityLimiter(self.at_once)
            self._limiter.set(made)
            return made
