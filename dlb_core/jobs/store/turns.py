"""Whose turn it is: priorities that age.

A job's turn is the moment it came plus what its priority lets pass; the earliest turn is begun
first. So a `stat` job overtakes the routine ones of the last hours, and a research job waits
for those that come within a day of it, but for no others: nobody waits for ever.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_

from dlb_core.contracts import JobState, Priority
from dlb_core.jobs.models import JobRow

LETS_PASS = {
    Priority.STAT: timedelta(0),
    Priority.ROUTINE: timedelta(hours=4),
    Priority.RESEARCH: timedelta(hours=24),
}

IN_TURN = (JobRow.turn, JobRow.created, JobRow.id)
"""The order in which jobs are begun."""


def turn_of(priority: Priority, came: datetime) -> datetime:
    """When the turn of a job falls that came at this moment."""
    return came + LETS_PASS[priority]


def ready(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Condition on a job's row: it waits for nothing but a worker."""
    return (
        JobRow.state == JobState.ACCEPTED,
        or_(JobRow.not_before.is_(None), JobRow.not_before <= now),
    )
