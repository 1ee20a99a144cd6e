"""How long a case may stay in a stage."""

from pathlib import Path

import pytest

from dlb_core.contracts import Progress, Stage
from dlb_core.errors import BadOption
from worker.settings import WorkerSettings
from worker.stages import Excess, Limits, StageClock, parse_limits


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_stage_has_the_seconds_spent_in_it() -> None:
    """Also a stage that comes twice, and reports of progress within one."""
    time = Time()
    stages = StageClock(time)
    for stage, seconds in [
        (Stage.READING, 2),
        (Stage.INFERENCE, 30),
        (Stage.INFERENCE, 12),
        (Stage.READING, 1),
    ]:
        stages.note(Progress(stage=stage))
        time.now += seconds

    assert stages.seconds == {"queued": 0.0, "reading": 3.0, "inference": 42.0}


def test_limits_are_passed_one_after_the_other() -> None:
    """Asked first, ended later; progress to another stage starts the count anew."""
    time = Time()
    stages = StageClock(time)
    stages.note(Progress(stage=Stage.REGISTRATION))
    limits, found = Limits(10, 20), []
    for now in (9.0, 11.0, 21.0):
        time.now = now
        found.append(stages.excess(limits, {}))
    stages.note(Progress(stage=Stage.INFERENCE))

    assert found == [Excess.NONE, Excess.SOFT, Excess.HARD]
    assert stages.excess(limits, {}) is Excess.NONE


def test_a_stage_may_have_limits_of_its_own() -> None:
    """Inference on a CPU takes longer than everything else."""
    time = Time()
    stages = StageClock(time)
    stages.note(Progress(stage=Stage.INFERENCE))
    time.now = 100.0
    own = parse_limits("registration=1:2, inference=200:300")

    assert stages.excess(Limits(10, 20), own) is Excess.NONE
    assert stages.excess(Limits(10, 20), {}) is Excess.HARD


@pytest.mark.parametrize("text", ["registration", "no_stage=1:2", "inference=5:4", "inference=0:1"])
def test_limits_that_cannot_be_meant_are_refused(text: str, tmp_path: Path) -> None:
    """A typing error must not leave a stage without limits."""
    with pytest.raises(BadOption):
        parse_limits(text)
    with pytest.raises(BadOption, match="DLB_STAGE_LIMITS"):
        WorkerSettings.from_environment({"DLB_DATA": str(tmp_path), "DLB_STAGE_LIMITS": text})
