"""Whose turn it is: priorities that age.

A job's turn is the moment it came plus what its priority lets pass; the earliest turn is begun
first. So a `stat` job overtakes the routine ones of the last hours, and a research job waits
for those that come within a day of it, but for no others: nobody waits for ever.
"""

from datetime import datetime, timedelta

from dlb_core.contracts import Priority

LETS_PASS = {
    Priority.STAT: timedelta(0),
    Priority.ROUTINE: timedelta(hours=4),
    Priority.RESEARCH: timedelta(hours=24),
}


def turn_of(priority: Priority, came: datetime) -> datetime:
    """When the turn of a job falls that came at this moment."""
    return came + LETS_PASS[priority]
