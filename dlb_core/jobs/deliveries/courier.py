"""Send what is due to the archives, again and again until it was taken or is given up.

Any number of couriers may run, and each may die at any point: a delivery is a row until its
archive has taken it.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from dlb_core import artefacts
from dlb_core.errors import DlbError, StageFailed
from dlb_core.jobs.deliveries.store import DeliveryStore, Outgoing
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.results import bring_newest
from dlb_core.jobs.rounds import Repeated
from dlb_core.jobs.store.sessions import utc_now
from dlb_core.pacs.archives import Archive
from dlb_core.pacs.documents import DeliveryState

logger = logging.getLogger(__name__)

PAUSES_S = (10, 60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400)
"""After each attempt that failed: two days in all."""
LEASE_S = 600.0
OBJECTS = (artefacts.DICOM_SEG, artefacts.DICOM_SR, artefacts.DICOM_PDF)


class _Never(StageFailed):
    """No other attempt would go better."""


class DeliveryCourier(Repeated):
    """Makes deliveries, once or in a thread of its own.

    Parameters
    ----------
    store : DeliveryStore
    archives : mapping
        Name -> archive.
    folder : DataFolder
        Where the results lie.
    pauses_s : sequence of float
        After each attempt that failed; after the last one the delivery is given up.
    interval_s : float
        Pause between looks.
    """

    def __init__(
        self,
        store: DeliveryStore,
        archives: Mapping[str, Archive],
        folder: DataFolder,
        *,
        pauses_s: tuple[float, ...] = PAUSES_S,
        interval_s: float = 2.0,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(name="deliveries", interval_s=interval_s)
        self._store, self._archives, self._folder = store, archives, folder
        self._pauses_s, self._clock = pauses_s, clock

    def run_once(self) -> None:
        """Make every delivery that is due.

        Raises
        ------
        StoreUnavailable
        """
        while not self._rounds.stopping:
            due = self._store.take(lease_s=LEASE_S)
            if due is None:
                return
            self._deliver(due)

    def _deliver(self, due: Outgoing) -> None:
        """Make one attempt, and note what came of it."""
        try:
            self._send(due)
        except _Never as error:
            self._note(due, str(error), is_last=True)
        except DlbError as error:
            self._note(due, str(error))
        except Exception as error:
            # Unnoted, it would be taken again for ever, and hold up those behind it.
            logger.exception("delivery_failed_unexpectedly", extra={"delivery": due.id})
            self._note(due, f"an unexpected {type(error).__name__}: see the service's log")
        else:
            self._note(due, None)

    def _send(self, due: Outgoing) -> None:
        # Here, because a service without archives need not load it.
        from dlb_core.pacs.send import send
        from dlb_core.pacs.web import DicomWeb

        archive = self._archives.get(due.archive)
        if archive is None:
            raise StageFailed("the operator's list has no archive of this name any more")
        names = [name for name in OBJECTS if name in due.artefacts]
        if not names:
            raise _Never("the job has no DICOM results: it did not come as DICOM")
        results = self._folder.attempt(due.job_id, due.job_fence)
        with self._scratch() as scratch, DicomWeb(archive) as web:
            # A reader's correction is what is meant from then on.
            send(web, bring_newest(self._folder, results, names, Path(scratch)))

    def _scratch(self) -> TemporaryDirectory[str]:
        # Not in /tmp, which may lie in memory.
        return TemporaryDirectory(dir=self._folder.staging)

    def _note(self, due: Outgoing, cause: str | None, *, is_last: bool = False) -> None:
        if cause is None:
            state, next_try = DeliveryState.DELIVERED, None
        elif is_last or due.attempts > len(self._pauses_s):
            state, next_try = DeliveryState.FAILED, None
        else:
            pause = timedelta(seconds=self._pauses_s[due.attempts - 1])
            state, next_try = DeliveryState.PENDING, self._clock() + pause
        noted = self._store.note(due, state, error=cause, next_try=next_try)
        logger.info(
            "delivery_attempted",
            extra={
                "job_id": due.job_id,
                "delivery": due.id,
                "attempt": due.attempts,
                "state": state.value if noted else "taken over",
                "cause": cause,
            },
        )
