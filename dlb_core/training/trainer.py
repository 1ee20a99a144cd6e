"""Train one network: the generic one, or one specialised for its place.

Every step draws its samples, its alterations and its dropout from generators seeded with
(seed, step), so a run killed at any moment and resumed ends in the same weights.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, sections 2.1 to 2.3.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from dlb_core.artefacts import sync_folder, whole_file
from dlb_core.errors import Cancelled, InputError, StageFailed
from dlb_core.network import UNet3d, place
from dlb_core.training.curves import write_curves
from dlb_core.training.losses import LOSSES
from dlb_core.training.pose_augmentation import alter_pose
from dlb_core.training.quality_augmentation import alter_quality
from dlb_core.training.recipe import Recipe, Schedule
from dlb_core.training.run_folder import (
    BEST,
    METRICS,
    WEIGHTS,
    claim_folder,
    forget_metrics_after,
    locked,
)
from dlb_core.training.samples import Sample, SampleSource
from dlb_core.training.start import StartWeights
from dlb_core.training.state import delete_states, load_state, save_state

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 120.0
NUM_VALIDATION_SAMPLES = 16
VALIDATION_SEED = 982_451_653
"""Validation samples are the same at every epoch of every run."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What is logged at each validation."""

    step: int
    training_loss: float
    validation_loss: float | None
    learning_rate: float
    steps_per_s: float


EpochCallback = Callable[[EpochResult], None]


def _ignore(result: EpochResult) -> None:
    """Nobody listens."""


def train(
    folder: Path,
    recipe: Recipe,
    training: SampleSource,
    *,
    validation: SampleSource | None = None,
    start: StartWeights | None = None,
    network: type[UNet3d] = UNet3d,
    device: str = "cpu",
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    on_epoch: EpochCallback = _ignore,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train until the recipe's last step, or until patience ends; resume if begun before.

    Parameters
    ----------
    folder : Path
        The run's folder; made if missing. Holds the recipe, metrics, checkpoints and, at
        the end, `weights.safetensors`.
    recipe : Recipe
    training, validation : SampleSource
        With a validation set, the weights of the best epoch are kept and training ends
        after `patience` epochs without a better one; without, the last weights are kept.
    start : StartWeights, optional
        Weights to start from, as in hierarchical specialisation.
    network : type
        What is trained, built from the recipe's architecture.
    device : str
        `cpu` or `cuda`; mixed precision on cards that compute in bfloat16.
    checkpoint_every_s : float
        What a kill may cost.

    Returns
    -------
    Path
        The finished weights, float32.

    Raises
    ------
    CheckpointCorrupt
        The newest checkpoint is damaged.
    InputError
        The folder holds a run of another recipe, of other cases or from other weights, or
        the weights to start from do not fit the recipe.
    RunBusy
        Another process trains in this folder.
    Cancelled
        `should_stop` said so; a checkpoint was written first.
    """
    with locked(folder):
        claim_folder(
            folder,
            recipe,
            cases=training.names,
            validation=validation.names if validation else [],
            start_sha256=start.sha256 if start else None,
        )
        finished = folder / WEIGHTS
        if finished.exists():
            delete_states(folder)
            return finished
        run = _Run(folder, recipe, training, validation, start, network, device, checkpoint_every_s)
        return run.go(on_epoch, should_stop)


class _Run:
    """One training in progress."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        training: SampleSource,
        validation: SampleSource | None,
        start: StartWeights | None,
        network: type[UNet3d],
        device: str,
        checkpoint_every_s: float,
    ) -> None:
        self._folder, self._recipe, self._training = folder, recipe, training
        self._device = torch.device(device)
        self._checkpoint_every_s = checkpoint_every_s
        self._mixed = _computes_in_bfloat16(self._device)
        self._loss = LOSSES[recipe.loss]
        torch.manual_seed(recipe.seed)
        model = network(recipe.architecture)
        if start is not None:
            _start_from(model, start)
        self._model: nn.Module = place(model, self._device)
        self._optimiser = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
        self._standing = load_state(folder, self._model, self._optimiser)
        forget_metrics_after(folder, self._standing.step)
        self._validation = self._draw_validation(validation) if validation else []

    def _draw_validation(self, maker: SampleSource) -> list[Sample]:
        rngs = (np.random.default_rng([VALIDATION_SEED, n]) for n in range(NUM_VALIDATION_SAMPLES))
        return [maker.draw(rng) for rng in rngs]

    def go(self, on_epoch: EpochCallback, should_stop: Callable[[], bool]) -> Path:
        """Run the loop."""
        saved = epoch_began = time.monotonic()
        losses: list[float] = []
        while self._standing.step < self._recipe.num_steps and not self._out_of_patience():
            if should_stop():
                save_state(self._folder, self._model, self._optimiser, self._standing)
                raise Cancelled("training was stopped; it resumes from its last checkpoint")
            losses.append(self._step(self._standing.step))
            self._standing = replace(self._standing, step=self._standing.step + 1)
            if self._standing.step % self._recipe.steps_per_epoch == 0:
                rate = len(losses) / (time.monotonic() - epoch_began)
                on_epoch(self._end_epoch(float(np.mean(losses)), rate))
                losses, epoch_began = [], time.monotonic()
            if time.monotonic() - saved > self._checkpoint_every_s:
                save_state(self._folder, self._model, self._optimiser, self._standing)
                self._draw_curves()
                saved = time.monotonic()
        return self._finish()

    def _out_of_patience(self) -> bool:
        waited = self._standing.step - self._standing.best_step
        return bool(self._validation) and waited >= (
            self._recipe.patience * self._recipe.steps_per_epoch
        )

    def _step(self, step: int) -> float:
        rng = np.random.default_rng([self._recipe.seed, step])
        torch.manual_seed(int(rng.integers(2**62)))
        samples = [self._training.draw(rng) for _ in range(self._recipe.batch_size)]
        x_BCIJK, target_BIJK = self._collate(samples)
        if self._recipe.pose_augmentation:
            x_BCIJK, target_BIJK = alter_pose(x_BCIJK, target_BIJK, rng)
        if self._recipe.quality_augmentation:
            x_BCIJK = alter_quality(x_BCIJK, rng)
        for group in self._optimiser.param_groups:
            group["lr"] = self._learning_rate(step)
        self._model.train()
        self._optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._mixed):
            scores_BCIJK = self._model(self._to_device(x_BCIJK))
        loss = self._loss(scores_BCIJK, target_BIJK.to(self._device))
        if not torch.isfinite(loss):
            raise StageFailed(
                f"the loss of step {step} is no number: training cannot go on; "
                "try a lower learning rate, or look for damaged images in the cache"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), 5.0)
        self._optimiser.step()
        return loss.item()

    def _learning_rate(self, step: int) -> float:
        if self._recipe.schedule is Schedule.CONSTANT:
            return self._recipe.learning_rate
        done = step / self._recipe.num_steps
        return self._recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def _collate(self, samples: list[Sample]) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(np.stack([s.image for s in samples]))
        targets = torch.from_numpy(np.stack([s.target for s in samples]))
        return images, targets

    def _to_device(self, x_BCIJK: Tensor) -> Tensor:
        return x_BCIJK.to(self._device, memory_format=torch.channels_last_3d)

    def _end_epoch(self, training_loss: float, rate: float) -> EpochResult:
        validation_loss = self._validate() if self._validation else None
        if validation_loss is not None and validation_loss < self._standing.best_loss:
            self._standing = replace(
                self._standing, best_loss=validation_loss, best_step=self._standing.step
            )
            self._write_weights(self._folder / BEST)
        result = EpochResult(
            step=self._standing.step,
            training_loss=training_loss,
            validation_loss=validation_loss,
            learning_rate=self._learning_rate(self._standing.step),
            steps_per_s=rate,
        )
        with (self._folder / METRICS).open("a") as file:
            file.write(json.dumps({f: getattr(result, f) for f in result.__slots__}) + "\n")
        return result

    @torch.inference_mode()
    def _validate(self) -> float:
        self._model.eval()
        size = self._recipe.batch_size
        batches = [self._validation[n : n + size] for n in range(0, len(self._validation), size)]
        losses = []
        for batch in batches:
            x_BCIJK, target_BIJK = self._collate(batch)
            scores_BCIJK = self._model(self._to_device(x_BCIJK))
            losses.append(self._loss(scores_BCIJK, target_BIJK.to(self._device)).item())
        return float(np.mean(losses))

    def _write_weights(self, path: Path) -> None:
        state = {n: t.detach().cpu().contiguous() for n, t in self._model.state_dict().items()}
        with whole_file(path) as file:
            file.write(save(state))

    def _draw_curves(self) -> None:
        """One epoch, as in a short specialisation, is no curve."""
        if self._recipe.num_steps > self._recipe.steps_per_epoch:
            write_curves(self._folder)

    def _finish(self) -> Path:
        self._draw_curves()
        path = self._folder / WEIGHTS
        best = self._folder / BEST
        if self._validation and best.exists():
            best.replace(path)
            sync_folder(self._folder)
        else:
            self._write_weights(path)
        delete_states(self._folder)
        log.info("training_finished", extra={"step": self._standing.step})
        return path


def _computes_in_bfloat16(device: torch.device) -> bool:
    """Whether mixed precision pays here.

    bfloat16 has float32's range, so no gradient vanishes and no loss needs scaling: there is no
    scaler whose state a resumed run would need. Cards without it train in float32.
    """
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _start_from(model: UNet3d, start: StartWeights) -> None:
    try:
        model.load_state_dict(dict(start.tensors))
    except RuntimeError as error:
        raise InputError(
            "the weights to start from belong to another architecture than the recipe's"
        ) from error
