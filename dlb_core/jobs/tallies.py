"""Numbers that only grow: how jobs ended, and how long their stages took.

They are counted in the transaction that tells of a job's end, so each end counts once, over all
processes and restarts, and they outlast the jobs' rows.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dlb_core.contracts import JobState, Outcome
from dlb_core.jobs.models import AttemptRow, JobRow
from dlb_core.jobs.store.sessions import Sessions
from dlb_core.jobs.store.turns import ready
from dlb_core.jobs.tally_tables import TallyRow

ENDED = "ended"
"""Label: state, and the error's code or `-`."""
STAGE_COUNT, STAGE_SUM, STAGE_WITHIN = "stage_count", "stage_sum_s", "stage_within_s"
"""Label: the stage; of the last, stage and bound."""
ATTEMPTS = "attempts"
"""Label: the outcome."""
BOUNDS_S = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)
WAITING, WHOLE = "waiting", "whole_job"
"""Beside the stages: from acceptance to the first attempt, and to the end."""

Tally = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Jobs that wait for nothing but a worker."""

    jobs: int
    oldest_s: float
    """How long the first of them has waited; 0 where none does."""


class Tallies(Sessions):
    """Reads them."""

    def waiting(self) -> Waiting:
        """How many jobs wait, and for how long."""
        now = self._clock()
        query = select(func.count(), func.min(JobRow.created)).where(*ready(now))
        with self._read() as session:
            count, oldest = session.execute(query).one()
        return Waiting(count, 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0))

    def read(self) -> dict[str, dict[str, float]]:
        """Name -> label -> number."""
        found: dict[str, dict[str, float]] = {}
        with self._read() as session:
            for row in session.scalars(select(TallyRow)):
                found.setdefault(row.name, {})[row.label] = row.value
        return found


def count_ends(session: Session, jobs: list[JobRow]) -> None:
    """Add jobs that have ended to the numbers."""
    tally: Tally = Counter()
    for job in jobs:
        _count(tally, job)
    # A row that another process changes meanwhile is waited for; in one order, so that no two
    # wait for each other.
    for (name, label), amount in sorted(tally.items()):
        if _add(session, name, label, amount):
            continue
        try:
            with session.begin_nested():
                session.add(TallyRow(name=name, label=label, value=amount))
        except IntegrityError:
            # Another process counted the first of its kind at the same moment.
            _add(session, name, label, amount)


def _add(session: Session, name: str, label: str, amount: float) -> bool:
    """Add to a number; False: there is no such number yet."""
    statement = (
        update(TallyRow)
        .where(TallyRow.name == name, TallyRow.label == label)
        .values(value=TallyRow.value + amount)
        .execution_options(synchronize_session=False)
    )
    return cast("CursorResult[Any]", session.execute(statement)).rowcount == 1


def _count(tally: Tally, job: JobRow) -> None:
    tally[ENDED, f"{job.state} {job.error_code or '-'}"] += 1
    for attempt in job.log:
        # Those before a retry were counted when the job ended the last time.
        if not attempt.told:
            attempt.told = True
            tally[ATTEMPTS, attempt.outcome or "unknown"] += 1
    if job.state != JobState.SUCCESSFUL or job.finished is None:
        return
    last = next((each for each in job.log if each.outcome == Outcome.SUCCESSFUL), None)
    if last is not None:
        _count_stages(tally, job, last)


def _count_stages(tally: Tally, job: JobRow, last: AttemptRow) -> None:
    """Count the times of a job that succeeded."""
    assert job.finished is not None
    first = min(attempt.started for attempt in job.log)
    seconds = last.stage_s | {
        WAITING: max((first - job.created).total_seconds(), 0.0),
        WHOLE: max((job.finished - job.created).total_seconds(), 0.0),
    }
    for stage, spent in seconds.items():
        tally[STAGE_COUNT, stage] += 1
        tally[STAGE_SUM, stage] += spent  # type: ignore[assignment]  # a counter of floats
        for bound in BOUNDS_S:
            tally[STAGE_WITHIN, f"{stage} {bound}"] += spent <= bound
