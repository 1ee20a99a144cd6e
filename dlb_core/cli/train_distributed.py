"""`dlb train --distributed`: hand the networks over to workers, and watch them."""

import argparse
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from rich.console import Console

from dlb_core.cli.distributed_options import DEFAULT_WORKERS
from dlb_core.cli.stop_signals import INTERRUPTED, StopSignals
from dlb_core.contracts import Device
from dlb_core.errors import InputError, StageFailed, StoreUnavailable
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.training.local import LocalSettings, LocalWorkers
from dlb_core.jobs.training.records import TaskState, TrainingRecord, TrainingState
from dlb_core.jobs.training.store import TrainingStore

if TYPE_CHECKING:
    from dlb_core.training.plan import Plan

QUEUE_FOLDER = "queue"
LOOK_EVERY_S = 1.0


def run_distributed(plan: "Plan", args: argparse.Namespace, console: Console) -> int:
    """Submit, start workers if there are to be any, and watch until the bundle is there.

    Raises
    ------
    StageFailed
        A task failed; its cause is named.
    InputError
        The plan cannot be carried out.
    """
    from dlb_core.cli.train_resume import describe
    from dlb_core.training.distributed import submit
    from dlb_core.training.run_folder import locked
    from dlb_core.training.stored_run import mark_finished, require_same_origin, store_run

    settings = _settings(args)
    stop = StopSignals()
    with ExitStack() as stack:
        if settings.redis_url is None:
            stack.enter_context(locked(settings.folder.root))
        store = stack.enter_context(_open(settings))
        run = describe(plan, args)
        require_same_origin(run)
        training_id = submit(store, plan)
        store_run(run)
        workers = LocalWorkers(settings)
        stack.callback(workers.stop)
        workers.start()
        if not _Watch(store, training_id, workers, console).until_done(stop):
            console.print(_how_to_go_on(settings, args.folder), soft_wrap=True)
            return INTERRUPTED
    mark_finished(plan.run)
    console.print(f"bundle {plan.identity.name} {plan.identity.version} in {plan.bundle}")
    return 0


def cancel(args: argparse.Namespace, console: Console) -> int:
    """End the training that goes on in a run folder; its networks so far stay."""
    with _open(_settings(args)) as store:
        ended = store.cancel(str(args.folder.resolve()))
    console.print("cancelled" if ended else "no distributed training goes on in this run folder")
    return 0


def _settings(args: argparse.Namespace) -> LocalSettings:
    workers = args.workers
    if workers is None:
        workers = 0 if args.redis_url else DEFAULT_WORKERS
    if workers < (0 if args.redis_url else 1):
        raise InputError("--workers: at least 1, or 0 with --redis-url")
    return LocalSettings(
        folder=DataFolder((args.data or args.folder / QUEUE_FOLDER).resolve()),
        database_url=args.database_url,
        redis_url=args.redis_url,
        num_workers=workers,
        device=Device(args.device),
        threads=args.threads,
    )


def _open(settings: LocalSettings) -> TrainingStore:
    settings.folder.create()
    return TrainingStore.open(settings.database_url or settings.folder.database_url)


def _how_to_go_on(settings: LocalSettings, run: Path) -> str:
    if settings.redis_url is None:
        return f"stopped; `dlb train --run {run} --resume` goes on from here"
    if settings.num_workers:
        return (
            "stopped, with this command's own workers; other workers go on. The same command "
            "starts its own again, with --cancel it ends the training"
        )
    return "the workers go on; the same command watches again, with --cancel it ends them"


class _Watch:
    """Looks at a training until it has ended, and tells what changes."""

    def __init__(
        self, store: TrainingStore, training_id: UUID, workers: LocalWorkers, console: Console
    ) -> None:
        self._store, self._id, self._workers = store, training_id, workers
        self._console = console
        self._began = time.monotonic()
        self._steps_at_first: int | None = None
        self._told: dict[str, TaskState] = {}

    def until_done(self, stop: StopSignals) -> bool:
        """Watch; False when asked to stop before the end."""
        while not stop():
            for death in self._workers.keep_running():
                self._say(f"{death.name} ended (status {death.status}); it starts again")
            training = self._look()
            if training is not None:
                self._tell(training)
                if training.state is TrainingState.SUCCESSFUL:
                    return True
                _raise_if_ended(training)
            time.sleep(LOOK_EVERY_S)
        return False

    def _look(self) -> TrainingRecord | None:
        try:
            return self._store.get(self._id)
        except StoreUnavailable as error:
            self._say(str(error))
            return None

    def _tell(self, training: TrainingRecord) -> None:
        """One line for each task that has begun, or ended, since the last look."""
        done = len(training.tasks_in(TaskState.SUCCESSFUL))
        for task in training.tasks:
            if self._told.get(task.name) is task.state:
                continue
            first, self._told[task.name] = task.name not in self._told, task.state
            if task.state is TaskState.SUCCESSFUL and not first:
                loss = "" if task.loss is None else f"  loss {task.loss:.4f}"
                left = self._left(training)
                self._say(f"{task.name} done{loss}  {done}/{len(training.tasks)}{left}")
            elif task.state is TaskState.RUNNING:
                again = " again" if task.fence > 1 else ""
                place = f" at step {task.step}/{task.num_steps}" if task.step else ""
                self._say(f"{task.name} begins{again}{place}")

    def _left(self, training: TrainingRecord) -> str:
        """How long it will take at the pace since we watch."""
        steps = sum(task.step for task in training.tasks)
        if self._steps_at_first is None:
            self._steps_at_first, self._began = steps, time.monotonic()
        made = steps - self._steps_at_first
        if made <= 0:
            return ""
        to_go = sum(task.num_steps - task.step for task in training.tasks)
        minutes = (time.monotonic() - self._began) / made * to_go / 60
        return f"  {minutes:.0f} min left"

    def _say(self, text: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')}  {text}", soft_wrap=True, markup=False)


def _raise_if_ended(training: TrainingRecord) -> None:
    if training.state is TrainingState.DISMISSED:
        raise InputError("the training was cancelled; the same command begins it again")
    if training.state is TrainingState.FAILED:
        raise StageFailed(f"{training.error_message} ({training.error_code})")
