"""Train a run's networks one after the other, beside any other process doing the same."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from dlb_core.errors import Cancelled, InputError, RunBusy
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.hierarchy import Hierarchy
from dlb_core.training.trainer import EpochResult

WAIT_S = 2.0
"""Pause before another look at a network that another process trains."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far this process is with its networks."""

    network: str
    num_steps: int
    result: EpochResult
    done: int
    """Networks that are trained, of those this process was told to train."""
    total: int
    left_s: float
    """Until all of them are trained, at the present pace."""


ProgressCallback = Callable[[Progress], None]


def train_serially(
    hierarchy: Hierarchy,
    networks: list[int],
    *,
    on_progress: ProgressCallback,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train the generic network (or what is in its place), then some of the 75.

    What is trained already is kept.

    A network that another process is at is left to it, and waited for at the end.

    Raises
    ------
    Cancelled
        `should_stop` said so.
    InputError
        A network starts from another that is neither trained nor to be trained.
    """
    _Share(hierarchy, networks, on_progress, should_stop).go()


class _Share:
    """One process's networks."""

    def __init__(
        self,
        hierarchy: Hierarchy,
        networks: list[int],
        on_progress: ProgressCallback,
        should_stop: Callable[[], bool],
    ) -> None:
        self._hierarchy, self._networks = hierarchy, networks
        self._on_progress, self._should_stop = on_progress, should_stop
        self._pending = list(networks)

    def go(self) -> None:
        needed = self._hierarchy.untrained_neighbours(self._networks)
        if needed:
            listed = ", ".join(map(str, needed))
            raise InputError(f"networks start from networks {listed}: train these too, or first")
        if self._hierarchy.first_stage:
            while not self._try(self._train_first_stage):
                self._wait()
        while self._pending:
            before = list(self._pending)
            for index in before:
                if self._try(lambda index=index: self._specialise(index)):  # type: ignore[misc]
                    self._pending.remove(index)
            if self._pending == before:
                self._wait()

    def _try(self, work: Callable[[], None]) -> bool:
        """Whether it is done; False where another process is at it."""
        try:
            work()
        except RunBusy:
            return False
        return True

    def _wait(self) -> None:
        if self._should_stop():
            raise Cancelled("training was stopped while it waited for another process")
        time.sleep(WAIT_S)

    def _train_first_stage(self) -> None:
        num_steps, stage = self._hierarchy.recipe.num_steps, self._hierarchy.first_stage or ""
        self._hierarchy.train_first_stage(
            on_epoch=lambda result: self._tell(stage, num_steps, result),
            should_stop=self._should_stop,
        )

    def _specialise(self, index: int) -> None:
        num_steps = self._hierarchy.recipe.for_network(index).num_steps
        self._hierarchy.specialise(
            index,
            on_epoch=lambda result: self._tell(NETWORK_LOCATIONS[index].name, num_steps, result),
            should_stop=self._should_stop,
        )

    def _tell(self, network: str, num_steps: int, result: EpochResult) -> None:
        specialised = network != self._hierarchy.first_stage
        # Other processes may have trained some of ours meanwhile.
        open_networks = len(set(self._networks) & set(self._hierarchy.missing()))
        later = open_networks - specialised
        steps = num_steps - result.step
        if later:
            steps += later * self._hierarchy.recipe.for_network(0).num_steps
        done = len(self._networks) - open_networks + (specialised and result.step == num_steps)
        self._on_progress(
            Progress(
                network=network,
                num_steps=num_steps,
                result=result,
                done=done,
                total=len(self._networks),
                left_s=steps / result.steps_per_s,
            )
        )
