"""Hand a whole training over to workers: one task for each network, one for the bundle."""

from uuid import UUID

from dlb_core.jobs.training.records import TaskKind, TaskSpec
from dlb_core.jobs.training.store import TrainingStore
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.hierarchy import GENERIC
from dlb_core.training.plan import Plan

BUNDLE = "bundle"


def submit(store: TrainingStore, plan: Plan) -> UUID:
    """Insert a plan's tasks, or find the training that carries it out already.

    Raises
    ------
    InputError
        The plan cannot be followed with its cases, or another is being carried out in its run
        folder.
    """
    plan.open(device="cpu")  # so that a mistake is told here, not by a worker
    return store.submit(str(plan.run), plan.model_dump(mode="json"), _tasks(plan))


def _tasks(plan: Plan) -> list[TaskSpec]:
    tasks = []
    if plan.from_bundle is None:
        tasks.append(TaskSpec(GENERIC, TaskKind.GENERIC, plan.recipe.num_steps))
    if not plan.generic_only:
        tasks += [
            TaskSpec(
                location.name,
                TaskKind.NETWORK,
                plan.recipe.for_network(location.index).num_steps,
            )
            for location in NETWORK_LOCATIONS
        ]
    return [*tasks, TaskSpec(BUNDLE, TaskKind.BUNDLE, 1)]
