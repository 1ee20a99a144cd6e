"""Hand a whole training over to workers: one task for each network, one for the bundle."""

from uuid import UUID

from dlb_core.errors import BadOption
from dlb_core.jobs.training.records import TaskKind, TaskSpec
from dlb_core.jobs.training.store import TrainingStore
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.plan import Plan
from dlb_core.training.recipe import Initialisation

BUNDLE = "bundle"


def submit(store: TrainingStore, plan: Plan) -> UUID:
    """Insert a plan's tasks, or find the training that carries it out already.

    Raises
    ------
    InputError
        The plan cannot be followed with its cases, its networks wait for one another, or another
        plan is being carried out in its run folder.
    """
    if plan.recipe.initialisation is Initialisation.NEIGHBOUR:
        raise BadOption(
            "--initialisation neighbour: each network waits for the one before it, which tasks of "
            "a distributed training do not; leave out --distributed"
        )
    hierarchy = plan.open(device="cpu")  # so that a mistake is told here, not by a worker
    hierarchy.require_recipe(generic_only=plan.generic_only)
    tasks = _tasks(plan, hierarchy.first_stage)
    return store.submit(str(plan.run), plan.model_dump(mode="json"), tasks)


def _tasks(plan: Plan, first_stage: str | None) -> list[TaskSpec]:
    tasks = []
    if first_stage:
        tasks.append(TaskSpec(first_stage, TaskKind.GENERIC, plan.recipe.num_steps))
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
