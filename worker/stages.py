"""How long an attempt has been in each stage, and how long it may be."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dlb_core.contracts import Progress, Stage
from dlb_core.errors import BadOption


@dataclass(frozen=True, slots=True)
class Limits:
    """Longest stay in one stage, in seconds."""

    soft_s: float
    """The case is asked to stop, and does between two steps."""
    hard_s: float
    """The case's process is ended."""


def parse_limits(text: str) -> dict[Stage, Limits]:
    """Read limits of single stages, e.g. `registration=600:700,inference=7200:7500`.

    Raises
    ------
    BadOption
    """
    return dict(_parse_one(part) for part in text.split(",") if part.strip())


def _parse_one(text: str) -> tuple[Stage, Limits]:
    name, _, numbers = text.strip().partition("=")
    soft, _, hard = numbers.partition(":")
    try:
        stage, limits = Stage(name), Limits(float(soft), float(hard))
    except ValueError as error:
        raise BadOption(
            f"{text.strip()}: not a stage's limits; write e.g. registration=600:700"
        ) from error
    if not 0 < limits.soft_s <= limits.hard_s:
        raise BadOption(f"{text.strip()}: the soft limit must not lie above the hard one")
    return stage, limits


class Excess(StrEnum):
    """Which limit a stage has passed."""

    NONE = "none"
    SOFT = "soft"
    HARD = "hard"


class StageClock:
    """Counts the seconds of each stage.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._before: dict[str, float] = {}
        self.stage = Stage.QUEUED

    def note(self, progress: Progress) -> None:
        """Take notice of where the case is."""
        if progress.stage is not self.stage:
            self._before = self._spent()
            self.stage, self._began = progress.stage, self._clock()

    @property
    def in_stage_s(self) -> float:
        """Seconds since this stage was entered."""
        return self._clock() - self._began

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> seconds until now, rounded."""
        return {stage: round(seconds, 1) for stage, seconds in self._spent().items()}

    def excess(self, limits: Limits, special: Mapping[Stage, Limits]) -> Excess:
        """Compare the stay in this stage with its limits, or with those of all stages."""
        allowed = special.get(self.stage, limits)
        if self.in_stage_s > allowed.hard_s:
            return Excess.HARD
        if self.stage is Stage.QUEUED:
            # The process is starting, and cannot stop between two steps yet.
            return Excess.NONE
        return Excess.SOFT if self.in_stage_s > allowed.soft_s else Excess.NONE

    def _spent(self) -> dict[str, float]:
        key = self.stage.value
        return self._before | {key: self._before.get(key, 0.0) + self.in_stage_s}
