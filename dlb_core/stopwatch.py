"""Measure what each stage of a case costs, and tell others how far it is."""

import resource
import time
from collections.abc import Callable

from dlb_core.contracts import Progress, ProgressCallback, Stage


class Stopwatch:
    """Passes progress on and charges the time between two reports to the earlier's stage.

    Parameters
    ----------
    on_progress : callable
        Whom to tell.
    """

    def __init__(self, on_progress: ProgressCallback) -> None:
        self._on_progress = on_progress
        self._stage = Stage.QUEUED
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self.wall_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}

    def report(self, progress: Progress) -> None:
        """Take the time of what was done until now, then pass the progress on."""
        wall, cpu = time.monotonic(), time.process_time()
        if self._stage is not Stage.QUEUED:
            key = self._stage.value
            self.wall_s[key] = self.wall_s.get(key, 0.0) + wall - self._wall
            self.cpu_s[key] = self.cpu_s.get(key, 0.0) + cpu - self._cpu
        self._stage, self._wall, self._cpu = progress.stage, wall, cpu
        self._on_progress(progress)

    def enter(self, stage: Stage) -> None:
        """Report the start of a stage that cannot be counted."""
        self.report(Progress(stage=stage))

    def networks(self, total: int) -> Callable[[int], None]:
        """A callback that reports k of `total` networks."""
        return lambda done: self.report(Progress(stage=Stage.INFERENCE, done=done, total=total))


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
