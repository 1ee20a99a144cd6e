"""One attempt at a task of a training: claim it, train, keep the lease, say how it ended.

The run folder holds the checkpoints, so an attempt goes on where the last one was, whoever
made it. Weights are the same whoever trains them; the claim decides only who says so.
"""

import logging
from collections.abc import Callable
from uuid import UUID

from dlb_core.errors import Cancelled, DlbError, OutOfMemory, RunBusy, TransientError
from dlb_core.jobs.training.records import TaskClaim, TaskVerdict
from dlb_core.jobs.training.store import TrainingStore
from worker.memory import is_out_of_gpu_memory, is_out_of_memory
from worker.settings import WorkerSettings
from worker.training_keeper import Keeper

logger = logging.getLogger("worker.training")

Work = Callable[[TaskClaim, WorkerSettings, Keeper], None]
"""Does a task, or goes on with it; `Cancelled` when the keeper says to stop."""


def run_task(
    training_id: UUID, name: str, *, store: TrainingStore, settings: WorkerSettings, worker_id: str
) -> None:
    """Try one task if it still waits; a doubled message ends here."""
    # It loads PyTorch, which takes long: not while a lease runs, and not in the main process.
    from worker.training_work import carry_out

    claim = store.claim((training_id, name), settings.lease_s, worker_id=worker_id)
    if claim is None:
        logger.info("training_message_dropped", extra={"training_id": training_id, "task": name})
        return
    TrainingAttempt(claim, carry_out, store=store, settings=settings).run()


class TrainingAttempt:
    """A claimed task, from its claim to its end."""

    def __init__(
        self, claim: TaskClaim, work: Work, *, store: TrainingStore, settings: WorkerSettings
    ) -> None:
        self._claim, self._work = claim, work
        self._store, self._settings = store, settings

    def run(self) -> None:
        """Carry the task out to one of its ends."""
        self._log("training_attempt_started")
        claim, store = self._claim, self._store
        with Keeper(
            claim,
            store,
            heartbeat_s=self._settings.heartbeat_s,
            poll_s=self._settings.poll_s,
        ) as keeper:
            try:
                self._work(claim, self._settings, keeper)
            except Cancelled:
                self._withdraw(keeper)
            except RunBusy:
                # A worker that lost its claim, frozen perhaps, still sits in the folder.
                keeper.insist(lambda: store.release(claim, later=True))
                self._log("training_folder_busy")
            except DlbError as error:
                self._give_up(keeper, error.code, str(error), isinstance(error, TransientError))
            except Exception as error:
                self._fail_unexpectedly(keeper, error)
            else:
                held = keeper.insist(lambda: store.finish(claim))
                self._log("training_task_done" if held else "training_claim_lost")

    def _withdraw(self, keeper: Keeper) -> None:
        """Stop in the middle; the checkpoint is written."""
        self._log("training_attempt_withdrawn", verdict=keeper.verdict)
        if keeper.verdict is TaskVerdict.WORKER_STOPPING:
            keeper.insist(lambda: self._store.release(self._claim))

    def _give_up(self, keeper: Keeper, code: str, message: str, transient: bool) -> None:
        """Record why the attempt failed; the training fails, or waits for another attempt."""
        claim, store = self._claim, self._store
        self._log("training_attempt_failed", code=code, cause=message)
        if transient and claim.attempt < self._settings.max_attempts:
            keeper.insist(lambda: store.release(claim, counted=True, later=True))
        else:
            keeper.insist(lambda: store.fail(claim, code, message))

    def _fail_unexpectedly(self, keeper: Keeper, error: Exception) -> None:
        """A fault of ours, or too little memory: its text goes to the log."""
        logger.exception("training_failed_unexpectedly", extra={"task": self._claim.name})
        if is_out_of_memory(error):
            message = (
                "the graphics card's memory ran out: use a larger card, or --device cpu"
                if is_out_of_gpu_memory(error)
                else "memory ran out: train a smaller batch"
            )
            self._give_up(keeper, OutOfMemory.code, message, True)
            return
        message = f"an unexpected {type(error).__name__} ended the training: see the worker's log"
        self._give_up(keeper, "internal-error", message, False)

    def _log(self, event: str, **fields: object) -> None:
        claim = self._claim
        known = {"training_id": claim.training_id, "task": claim.name, "fence": claim.fence}
        logger.info(event, extra=known | fields)
