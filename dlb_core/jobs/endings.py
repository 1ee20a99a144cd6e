"""Tell of jobs' and comparisons' ends, each once: to the webhooks' messages, and to the tallies.

Whatever ends one (a worker, the dispatcher, a caller) sets one flag in the same change. Here
the flag is taken back in the transaction that writes down all that is to be known. So nothing is
lost when a process dies in between, and nothing is counted twice.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, select, true
from sqlalchemy.orm import Session

from dlb_core.contracts import FINAL_STATES
from dlb_core.jobs.comparisons.tables import ComparisonRow
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.store.sessions import Sessions
from dlb_core.jobs.tallies import count_ends
from dlb_core.jobs.webhooks.messages import messages_of, messages_of_comparison
from dlb_core.jobs.webhooks.tables import WebhookMessageRow, WebhookRow

BATCH = 100

Row = TypeVar("Row", JobRow, ComparisonRow)

logger = logging.getLogger(__name__)


class Endings(Sessions):
    """The part of the store that tells of ends. Any number of processes may do so at once."""

    def tell(self) -> int:
        """Tell of some jobs' ends; returns of how many.

        A job that was retried before its end was told is told of when it has ended again.

        Raises
        ------
        StoreUnavailable
        """
        return self._tell(JobRow, JobRow.state.in_(FINAL_STATES), messages_of, also=count_ends)

    def tell_of_comparisons(self) -> int:
        """Tell of some comparisons' ends; returns of how many.

        Raises
        ------
        StoreUnavailable
        """
        return self._tell(ComparisonRow, true(), messages_of_comparison)

    def _tell(
        self,
        table: type[Row],
        ended: ColumnElement[bool],
        messages: Callable[[Row, list[WebhookRow], datetime], list[WebhookMessageRow]],
        *,
        also: Callable[[Session, list[Row]], None] = lambda *_: None,
    ) -> int:
        untold = (
            select(table).where(table.untold.is_(True), ended).order_by(table.finished).limit(BATCH)
        )
        if self._is_empty(untold.with_only_columns(table.id)):
            return 0
        now = self._clock()
        with self._write() as session:
            rows = list(session.scalars(untold.with_for_update(skip_locked=True)))
            known = _webhooks(session)
            for row in rows:
                session.add_all(messages(row, known, now))
                row.untold = False
            also(session, rows)
        return len(rows)

    def _is_empty(self, query: Select[Any]) -> bool:
        """Whether there is nothing of this kind: mostly so, and a look costs no lock."""
        with self._read() as session:
            return session.scalar(query.limit(1)) is None

    def tell_all(self) -> None:
        """Tell of every end there is to tell.

        Raises
        ------
        StoreUnavailable
        """
        while self.tell() == BATCH:
            continue
        while self.tell_of_comparisons() == BATCH:
            continue


def _webhooks(session: Session) -> list[WebhookRow]:
    """Those that are told of anything."""
    return list(session.scalars(select(WebhookRow).where(WebhookRow.disabled.is_(None))))
