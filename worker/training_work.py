"""What a task of a training is: the generic network, one of the 75, or the bundle."""

from functools import lru_cache
from uuid import UUID

import torch

from dlb_core.jobs.training.records import TaskClaim, TaskKind
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.hierarchy import Hierarchy
from dlb_core.training.plan import Plan
from dlb_core.training.trainer import EpochResult
from worker.settings import WorkerSettings
from worker.training_keeper import Keeper

_INDEX = {location.name: location.index for location in NETWORK_LOCATIONS}


def carry_out(claim: TaskClaim, settings: WorkerSettings, keeper: Keeper) -> None:
    """Do a task, or go on with it.

    Raises
    ------
    Cancelled
        The keeper said to stop; a checkpoint was written.
    DlbError
        The task cannot be done.
    """
    torch.set_num_threads(settings.threads or 1)
    plan = Plan.model_validate(claim.plan)
    hierarchy = _open(claim.training_id, plan.model_dump_json(), settings.device.value)

    def tell(result: EpochResult) -> None:
        keeper.note(result.step, result.training_loss)

    match claim.kind:
        case TaskKind.GENERIC:
            hierarchy.train_first_stage(on_epoch=tell, should_stop=keeper.should_stop)
        case TaskKind.NETWORK:
            index = _INDEX[claim.name]
            hierarchy.specialise(index, on_epoch=tell, should_stop=keeper.should_stop)
        case TaskKind.BUNDLE:
            plan.write_bundle(hierarchy)


@lru_cache(maxsize=1)
def _open(_training_id: UUID, plan: str, device: str) -> Hierarchy:
    """Open a training's cache once for all of its networks that this process trains."""
    return Plan.model_validate_json(plan).open(device=device)
