"""An attempt's lease: renewed in time, quiet enough for SQL, and lost for good when lost."""

from uuid import uuid4

import pytest

from dlb_core.contracts import Progress, SegmentationOptions, Stage
from dlb_core.errors import DiskFull, StoreUnavailable, TransientError
from dlb_core.jobs.records import Claim, Verdict
from worker.lease import Lease

CLAIM = Claim(uuid4(), fence=1, attempt=1, lease_s=30.0, options=SegmentationOptions())


class Store:
    """Notes what a lease asks; can be away, or take the claim away."""

    def __init__(self) -> None:
        self.notes: list[Progress | None] = []
        self.looks = 0
        self.away: type[TransientError] | None = None
        self.answer = Verdict.GO_ON

    def heartbeat(
        self,
        claim: Claim,
        progress: Progress | None = None,
        *,
        stage_s: dict[str, float] | None = None,
    ) -> bool:
        """Note a renewal."""
        self._answer()
        self.notes.append(progress)
        return self.answer is Verdict.GO_ON

    def verdict(self, claim: Claim) -> Verdict:
        """Count a look."""
        self._answer()
        self.looks += 1
        return self.answer

    def _answer(self) -> None:
        if self.away is not None:
            raise self.away("away")


class Timeline:
    """A lease, its store, and time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.store = Store()
        self.lease = Lease(
            CLAIM,
            self.store,
            heartbeat_s=5.0,
            poll_s=1.0,
            progress_s=0.5,
            clock=lambda: self.now,
        )

    def keep(self, after_s: float, progress: Progress | None = None) -> Verdict:
        """Let time pass, then keep the lease."""
        self.now += after_s
        return self.lease.keep(progress)


def networks(done: int) -> Progress:
    """Progress within inference."""
    return Progress(stage=Stage.INFERENCE, done=done, total=75)


@pytest.fixture
def timeline() -> Timeline:
    """A fresh lease."""
    return Timeline()


def test_a_silent_case_is_renewed_at_each_heartbeat(timeline: Timeline) -> None:
    """Some steps take half a minute and say nothing."""
    for _ in range(20):
        assert timeline.keep(1.0) is Verdict.GO_ON

    assert timeline.store.notes == [None] * 4


def test_fast_progress_is_noted_twice_a_second_at_most(timeline: Timeline) -> None:
    """75 networks in three seconds must not mean 75 synced writes."""
    for done in range(75):
        timeline.keep(0.04, networks(done))

    assert 5 <= len(timeline.store.notes) <= 7


def test_a_new_stage_is_noted_at_once(timeline: Timeline) -> None:
    """Stages are what a waiting user reads."""
    for stage in (Stage.READING, Stage.DENOISING, Stage.BRAIN_EXTRACTION):
        timeline.keep(0.01, Progress(stage=stage))

    assert [note.stage for note in timeline.store.notes if note is not None] == [
        Stage.READING,
        Stage.DENOISING,
        Stage.BRAIN_EXTRACTION,
    ]


def test_the_last_progress_of_a_burst_is_not_lost(timeline: Timeline) -> None:
    """It is noted once its pause is over, though nothing new was said."""
    for done in range(3):
        timeline.keep(0.01, networks(done))
    timeline.keep(0.6, networks(2))

    assert timeline.store.notes[-1] == networks(2)


def test_cancelling_is_seen_between_heartbeats(timeline: Timeline) -> None:
    """Within a second or so, not at the next renewal."""
    timeline.store.answer = Verdict.CANCELLED

    assert timeline.keep(1.0) is Verdict.CANCELLED
    assert timeline.store.notes == []


def test_a_refused_renewal_says_why(timeline: Timeline) -> None:
    """Lost and cancelled end in different ways."""
    for verdict in (Verdict.LOST, Verdict.CANCELLED):
        timeline.store.answer = verdict
        assert timeline.keep(5.0) is verdict


@pytest.mark.parametrize("fault", [StoreUnavailable, DiskFull])
def test_a_store_outage_shorter_than_the_lease_is_sat_out(
    timeline: Timeline, fault: type[TransientError]
) -> None:
    """Minutes of work must not be thrown away for a database's hiccup."""
    timeline.store.away = fault
    for _ in range(29):
        assert timeline.keep(1.0) is Verdict.GO_ON
    timeline.store.away = None

    assert timeline.keep(0.5) is Verdict.GO_ON
    assert len(timeline.store.notes) == 1


def test_a_store_outage_longer_than_the_lease_loses_it(timeline: Timeline) -> None:
    """By then another worker may have the job."""
    timeline.store.away = StoreUnavailable

    assert timeline.keep(31.0) is Verdict.LOST


def test_insisting_ends_when_a_lease_has_passed(timeline: Timeline) -> None:
    """A worker must not hang on a database that is gone."""
    answers = iter([False, True])

    def ask() -> str:
        if next(answers):
            return "done"
        timeline.now += 29.0
        raise StoreUnavailable("away")

    quick = Lease(
        CLAIM,
        timeline.store,
        heartbeat_s=5.0,
        poll_s=0.001,
        progress_s=0.5,
        clock=lambda: timeline.now,
    )
    assert quick.insist(ask) == "done"

    def never() -> str:
        timeline.now += 31.0
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        quick.insist(never)
