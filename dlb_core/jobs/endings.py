"""Tell of jobs' ends, each once: to the tallies, and to the webhooks' messages.

Whatever ends a job (a worker, the dispatcher, a caller) sets one flag in the same change. Here
the flag is taken back in the transaction that writes down all that is to be known. So nothing is
lost when a process dies in between, and nothing is counted twice.
"""

import logging

from sqlalchemy import select

from dlb_core.contracts import FINAL_STATES
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.store.sessions import Sessions
from dlb_core.jobs.tallies import count_ends
from dlb_core.jobs.webhooks.messages import messages_of
from dlb_core.jobs.webhooks.tables import WebhookRow

BATCH = 100

logger = logging.getLogger(__name__)


class Endings(Sessions):
    """The part of the store that tells of ends. Any number of processes may do so at once."""

    def tell(self) -> int:
        """Tell of some ends; returns of how many.

        A job that was retried before its end was told is told of when it has ended again.

        Raises
        ------
        StoreUnavailable
        """
        untold = (
            select(JobRow)
            .where(JobRow.untold.is_(True), JobRow.state.in_(FINAL_STATES))
            .order_by(JobRow.finished)
            .limit(BATCH)
        )
        with self._read() as session:
            # A look costs no lock: mostly there is nothing.
            if session.scalar(untold.with_only_columns(JobRow.id).limit(1)) is None:
                return 0
        now = self._clock()
        with self._write() as session:
            jobs = list(session.scalars(untold.with_for_update(skip_locked=True)))
            webhooks = session.scalars(select(WebhookRow).where(WebhookRow.disabled.is_(None)))
            known = list(webhooks)
            for job in jobs:
                session.add_all(messages_of(job, known, now))
                job.untold = False
            count_ends(session, jobs)
        return len(jobs)

    def tell_all(self) -> None:
        """Tell of every end there is to tell.

        Raises
        ------
        StoreUnavailable
        """
        while self.tell() == BATCH:
            continue
