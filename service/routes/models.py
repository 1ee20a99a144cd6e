"""The installed weights, and their cards."""

from typing import Annotated

from fastapi import APIRouter, Path

from dlb_core.documents import API, ModelDocument, ModelList
from dlb_core.errors import CheckpointCorrupt, JobNotFound
from service.dependencies import BundlesDep
from service.errors import describe

router = APIRouter(prefix=f"{API}/models", tags=["models"])


@router.get("", response_model=ModelList, responses=describe(CheckpointCorrupt))
def list_models(bundles: BundlesDep) -> ModelList:
    """List the weights that jobs can use."""
    return ModelList(models=bundles.summaries())


@router.get(
    "/{model_id}",
    response_model=ModelDocument,
    responses=describe(JobNotFound, CheckpointCorrupt),
)
def read_model(
    model_id: Annotated[str, Path(max_length=200)], bundles: BundlesDep
) -> ModelDocument:
    """Give one bundle's manifest and card."""
    return bundles.document(model_id)
