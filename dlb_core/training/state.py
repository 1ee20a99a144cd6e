"""A training run's checkpoints: everything needed to go on as if nothing had happened.

A checkpoint is one safetensors file (weights and Adam's moments; no pickle) whose metadata
holds the step, the best validation loss and a digest of the tensors. Random numbers and the
order of the data need no saving: both are functions of the recipe's seed and the step.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dlb_core.artefacts import whole_file
from dlb_core.errors import CheckpointCorrupt

PATTERN = "step-*.safetensors"
KEPT = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is."""

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _gather(model: nn.Module, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in moments.items()}
    # Channels-last weights are stored in the ordinary layout.
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def save_state(
    folder: Path, model: nn.Module, optimiser: torch.optim.Adam, standing: Standing
) -> Path:
    """Write a checkpoint whole; keep it and the one before."""
    tensors = _gather(model, optimiser)
    metadata = {
        "step": str(standing.step),
        "best_loss": repr(standing.best_loss),
        "best_step": str(standing.best_step),
        "digest": _digest(tensors),
    }
    path = folder / f"step-{standing.step:08d}.safetensors"
    with whole_file(path) as file:
        file.write(save(tensors, metadata=metadata))
    for old in sorted(folder.glob(PATTERN))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def delete_states(folder: Path) -> None:
    """Delete every checkpoint of a finished run: its weights are all that is wanted."""
    for path in folder.glob(PATTERN):
        path.unlink(missing_ok=True)


def load_state(folder: Path, model: nn.Module, optimiser: torch.optim.Adam) -> Standing:
    """Restore the newest checkpoint; the start of a run where there is none.

    Raises
    ------
    CheckpointCorrupt
        The newest checkpoint is damaged; the message names the last good one.
    """
    paths = sorted(folder.glob(PATTERN))
    if not paths:
        return Standing()
    tensors, standing = _read_or_explain(paths)
    model.load_state_dict(
        {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    )
    state = optimiser.state_dict()
    state["state"] = _adam_state(tensors)
    optimiser.load_state_dict(state)
    return standing


def _adam_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, index, moment = name.split(".")
            state.setdefault(int(index), {})[moment] = tensor
    return state


def _read_or_explain(paths: list[Path]) -> tuple[dict[str, Tensor], Standing]:
    try:
        return _read(paths[-1])
    except CheckpointCorrupt as error:
        good = next((p.name for p in reversed(paths[:-1]) if _is_good(p)), None)
        remedy = f"delete it to go on from {good}" if good else "no earlier one is good: start anew"
        raise CheckpointCorrupt(f"checkpoint {paths[-1].name} is damaged; {remedy}") from error


def _is_good(path: Path) -> bool:
    try:
        _read(path)
    except CheckpointCorrupt:
        return False
    return True


def _read(path: Path) -> tuple[dict[str, Tensor], Standing]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise CheckpointCorrupt(f"checkpoint {path.name} cannot be read") from error
    if metadata.get("digest") != _digest(tensors):
        raise CheckpointCorrupt(f"checkpoint {path.name} does not match its digest")
    return tensors, Standing(
        int(metadata["step"]), float(metadata["best_loss"]), int(metadata["best_step"])
    )
