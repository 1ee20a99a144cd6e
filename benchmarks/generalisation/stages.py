"""The stages of the experiment: simulate, train, segment. What is there already is left."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.generalisation.plan import (
    FIRST_TEST_SEED,
    VOTE_THRESHOLD,
    Scale,
    Training,
    Variant,
)
from dlb_core.artefacts import whole_file
from dlb_core.checkpoints import build_network, fill
from dlb_core.network import UNet3d, lesion_probability
from dlb_core.synthesis.domains import Domain
from dlb_core.tiling import GRID_SHAPE, NetworkLocation, cut
from dlb_core.training.cache import CachedCase, open_cache
from dlb_core.training.recipe import Recipe
from dlb_core.training.samples import SampleMaker
from dlb_core.training.simulated import simulate_dataset
from dlb_core.training.start import from_file
from dlb_core.training.trainer import train
from dlb_core.volume import Mask
from dlb_core.voting import Ballot

TIMES = "times.jsonl"
GENERIC = "generic"

WeightsOf = Callable[[NetworkLocation], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Workplace:
    """The experiment's folder; a killed run goes on from what lies in it."""

    folder: Path

    def cache(self, domain: Domain, use: str) -> Path:
        """Simulated cases to train or to test on."""
        return self.folder / "cases" / f"{domain.name}-{use}"

    def run(self, training: Training, name: str, augmented: bool) -> Path:
        """Run folder of one stage of training."""
        return self.folder / "runs" / training.domain.name / f"{name}{'-iqda' * augmented}"

    def mask(self, training: Training, variant: Variant, case: str) -> Path:
        """What a variant found in a case."""
        return self.folder / "masks" / training.domain.name / variant.key / f"{case}.npz"

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note wall and CPU seconds of a stage, over all runs that shared it."""
        wall, cpu = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            line = {
                "stage": stage,
                "wall_s": round(time.monotonic() - wall, 1),
                "cpu_s": round(time.process_time() - cpu, 1),
            }
            with (self.folder / TIMES).open("a") as file:
                file.write(json.dumps(line) + "\n")

    def times(self) -> dict[str, dict[str, float]]:
        """Wall and CPU seconds of each stage, and of all."""
        totals: dict[str, dict[str, float]] = {}
        for text in (self.folder / TIMES).read_text().splitlines():
            line = json.loads(text)
            for stage in (line["stage"], "total"):
                entry = totals.setdefault(stage, {"wall_s": 0.0, "cpu_s": 0.0})
                for key in entry:
                    entry[key] = round(entry[key] + line[key], 1)
        return totals


def simulate(workplace: Workplace, scale: Scale, domain: Domain, use: str) -> list[CachedCase]:
    """The domain's cases to train or to test on."""
    first = FIRST_TEST_SEED if use == "test" else 0
    count = scale.test_subjects if use == "test" else scale.training_subjects
    cache = workplace.cache(domain, use)
    with workplace.timed("simulation"):
        simulate_dataset(domain, range(first, first + count), cache, coarsening=scale.coarsening)
    return open_cache(cache)


def train_variant(
    workplace: Workplace,
    scale: Scale,
    training: Training,
    variant: Variant,
    cases: list[CachedCase],
) -> WeightsOf:
    """Train a variant's networks; returns the weights of each place."""
    recipe = scale.recipe.model_copy(update={"quality_augmentation": variant.augmented})
    needs_generic = variant.hierarchical or not variant.specialised
    generic = None
    if needs_generic:
        folder = workplace.run(training, GENERIC, variant.augmented)
        with workplace.timed("training"):
            generic = train(folder, recipe, SampleMaker(cases, recipe))
    if not variant.specialised:
        assert generic is not None  # just trained
        shared = load_file(generic)
        return lambda _: shared
    trained = {
        place.name: _specialise(workplace, scale, training, variant, cases, recipe, place, generic)
        for place in scale.networks
    }
    return lambda place: load_file(trained[place.name])


def _specialise(
    workplace: Workplace,
    scale: Scale,
    training: Training,
    variant: Variant,
    cases: list[CachedCase],
    recipe: Recipe,
    place: NetworkLocation,
    generic: Path | None,
) -> Path:
    stage = scale.specialisation if generic else scale.alone
    own = recipe.model_copy(update={"specialisation": stage}).for_network(place.index)
    name = f"{'hsl' if generic else 'alone'}-{place.name}"
    with workplace.timed("training"):
        return train(
            workplace.run(training, name, variant.augmented),
            own,
            SampleMaker(cases, own, place),
            start=from_file(generic) if generic else None,
        )


def segment(
    workplace: Workplace,
    scale: Scale,
    training: Training,
    variant: Variant,
    cases: list[CachedCase],
    weights_of: WeightsOf,
) -> None:
    """Segment cases with a variant's networks and keep the masks."""
    network = build_network(scale.recipe.architecture)
    for case in cases:
        path = workplace.mask(training, variant, case.entry.name)
        if path.exists():
            continue
        assert case.image is not None  # simulated cases have one
        with workplace.timed("inference"):
            found = vote(case.image.astype(np.float32), scale.networks, network, weights_of)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.savez_compressed(file, mask=found)


@torch.inference_mode()
def vote(
    image: NDArray[np.float32],
    networks: tuple[NetworkLocation, ...],
    network: UNet3d,
    weights_of: WeightsOf,
) -> Mask:
    """Majority of some of the 75 networks over their subvolumes, mirrored ones included."""
    ballot = Ballot(GRID_SHAPE, VOTE_THRESHOLD)
    for location in networks:
        fill(network, weights_of(location), location.name)
        for place, flipped in ((location.primary, False), (location.twin, True)):
            if place is None:
                continue
            subvolume = np.ascontiguousarray(cut(image, place, flipped=flipped)[None])
            x_BCIJK = torch.from_numpy(subvolume).to(memory_format=torch.channels_last_3d)
            probability = lesion_probability(network(x_BCIJK))[0].numpy()
            ballot.add(place, np.flip(probability, 0) if flipped else probability)
    mask: Mask = ballot.count().mask & (image[1] > 0)
    return mask


def read_mask(path: Path) -> Mask:
    """A mask that `segment` kept."""
    with np.load(path) as stored:
        return np.asarray(stored["mask"])
