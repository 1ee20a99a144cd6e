"""Hierarchical specialisation: one generic network, then 75, each for its own place.

A run's folder holds `generic/` and `network-00/` to `network-74/`, each a run of
`trainer.train` that is resumed by itself. A network depends on the generic weights and on
nothing else, so any number of processes may share the work. Other initialisations (the paper's
ablation) have `restoration/` in place of `generic/`, or no first stage at all.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, sections 2.1.1 and 2.3.1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from dlb_core.artefacts import sha256_of
from dlb_core.checkpoints import Bundle, open_bundle, write_bundle
from dlb_core.contracts import Message
from dlb_core.errors import InputError, RunBusy
from dlb_core.model_facts import Facts, Training
from dlb_core.network import UNet3d
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.cache import CachedCase
from dlb_core.training.initialisation import neighbour_of, neighbours_start, restored_start
from dlb_core.training.recipe import Initialisation, Recipe, SampleMix
from dlb_core.training.restoration import (
    RestorationNet,
    RestorationSamples,
    restoration_recipe,
)
from dlb_core.training.run_folder import WEIGHTS, claim_place, require_place, require_recipe
from dlb_core.training.samples import SampleMaker, SampleSource
from dlb_core.training.start import StartWeights, from_bundle, from_file
from dlb_core.training.summary import after, summarise_run
from dlb_core.training.trainer import CHECKPOINT_EVERY_S, EpochResult, train

GENERIC = "generic"
RESTORATION = "restoration"
_FIRST_STAGES = {Initialisation.HSL: GENERIC, Initialisation.RESTORATION: RESTORATION}


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCases:
    """The cases of a run, shared out."""

    training: list[CachedCase]
    validation: list[CachedCase]
    left_out_subjects: list[str]


def share_out(
    cases: list[CachedCase], *, left_out: frozenset[str], validation: frozenset[str]
) -> TrainingCases:
    """Share cases out by subject.

    Raises
    ------
    InputError
        A named subject has no case or is to be left out and validated on, or nothing is left to
        train on.
    """
    if both := left_out & validation:
        raise InputError(f"left out, so not to validate on either: {', '.join(sorted(both))}")
    unknown = (left_out | validation) - {case.entry.subject for case in cases}
    if unknown:
        raise InputError(f"no case in the cache of subject {', '.join(sorted(unknown))}")
    kept = [case for case in cases if case.entry.subject not in left_out]
    training = [case for case in kept if case.entry.subject not in validation]
    if not training:
        raise InputError("no case is left to train on: leave out fewer subjects")
    held_back = [case for case in kept if case.entry.subject in validation]
    return TrainingCases(training, held_back, sorted(left_out))


def draw_validation_subjects(
    cases: list[CachedCase], share: float, *, left_out: frozenset[str], seed: int
) -> frozenset[str]:
    """Draw a share of the labelled subjects, at least one; the same for the same seed.

    Raises
    ------
    InputError
        Fewer than two labelled subjects are there.
    """
    labelled = {case.entry.subject for case in cases if case.is_labelled} - left_out
    if len(labelled) < 2:
        raise InputError("a validation share needs at least two labelled subjects in the cache")
    count = min(math.ceil(share * len(labelled)), len(labelled) - 1)
    drawn = np.random.default_rng(seed).permutation(sorted(labelled))[:count]
    return frozenset(str(subject) for subject in drawn)


class BundleIdentity(Message):
    """What a bundle is called, and when its networks vote."""

    name: str
    version: str
    description: str
    vote_threshold: float


class Hierarchy:
    """A whole training in one run folder.

    Parameters
    ----------
    folder : Path
    recipe : Recipe
    cases : TrainingCases
    start : StartWeights, optional
        What the generic network starts from.
    tuned_bundle : Path, optional
        Fine-tuning: network n starts from network n of this bundle, whose architecture the
        recipe takes over, and there is no generic network to train.
    device : str
    checkpoint_every_s : float
        What a kill may cost.

    Raises
    ------
    InputError
        The recipe cannot be followed with these cases.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        cases: TrainingCases,
        *,
        start: StartWeights | None = None,
        tuned_bundle: Path | None = None,
        device: str = "cpu",
        checkpoint_every_s: float = CHECKPOINT_EVERY_S,
    ) -> None:
        self._folder, self._cases, self._start, self._device = folder, cases, start, device
        self._checkpoint_every_s = checkpoint_every_s
        self._tuned = open_bundle(tuned_bundle) if tuned_bundle else None
        if self._tuned:
            architecture = self._tuned.manifest.architecture
            recipe = recipe.model_copy(update={"architecture": architecture})
        self.recipe = recipe
        self._training = SampleMaker(cases.training, recipe)
        self._validation = self._validation_maker()

    @property
    def first_stage(self) -> str | None:
        """What all networks start from, if they start from one and it must be trained."""
        return None if self._tuned else _FIRST_STAGES.get(self.recipe.initialisation)

    @property
    def generic_weights(self) -> Path:
        """Where the generic network's weights are, once it is trained."""
        return self._folder / GENERIC / WEIGHTS

    def weights_of(self, index: int) -> Path:
        """Where network `index`'s weights are, once it is trained."""
        return self._folder / NETWORK_LOCATIONS[index].name / WEIGHTS

    def missing(self) -> list[int]:
        """Networks that are not trained yet."""
        every = range(len(NETWORK_LOCATIONS))
        return [index for index in every if not self.weights_of(index).exists()]

    def untrained_neighbours(self, networks: list[int]) -> list[int]:
        """Networks from which some of `networks` start, but which are not among them."""
        if self._tuned or self.recipe.initialisation is not Initialisation.NEIGHBOUR:
            return []
        needed = {neighbour_of(index) for index in networks} - {None, *networks}
        return [index for index in self.missing() if index in needed]

    def train_first_stage(
        self,
        *,
        on_epoch: Callable[[EpochResult], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Path:
        """Train what all networks start from, or go on with it; see `trainer.train`."""
        stage, recipe = self.first_stage or GENERIC, self._first_recipe
        network: type[UNet3d] = UNet3d
        training: SampleSource = self._training
        validation: SampleSource | None = self._validation
        if stage == RESTORATION:
            network = RestorationNet
            training = RestorationSamples(self._cases.training, recipe.subvolume_size)
            validation = validation and RestorationSamples(
                self._cases.validation, recipe.subvolume_size
            )
        return train(
            self._folder / stage,
            recipe,
            training,
            validation=validation,
            start=self._start,
            network=network,
            device=self._device,
            checkpoint_every_s=self._checkpoint_every_s,
            on_epoch=on_epoch,
            should_stop=should_stop,
        )

    def specialise(
        self,
        index: int,
        *,
        on_epoch: Callable[[EpochResult], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Path:
        """Train network `index` for its place, or go on with it; see `trainer.train`."""
        location = NETWORK_LOCATIONS[index]
        claim_place(self._folder / location.name, location)
        return train(
            self._folder / location.name,
            self.recipe.for_network(index),
            self._training.at(location),
            validation=self._validation and self._validation.at(location),
            start=self._start_of(index),
            device=self._device,
            checkpoint_every_s=self._checkpoint_every_s,
            on_epoch=on_epoch,
            should_stop=should_stop,
        )

    def require_recipe(self, *, generic_only: bool) -> None:
        """Check that what the folder holds so far was trained by this run's recipe, in its place.

        Raises
        ------
        InputError
            Another recipe trained it, or it was trained for the other hemisphere.
        """
        if self.first_stage:
            require_recipe(self._folder / self.first_stage, self._first_recipe)
        for location in () if generic_only else NETWORK_LOCATIONS:
            folder = self._folder / location.name
            require_recipe(folder, self.recipe.for_network(location.index))
            require_place(folder, location)

    def write_bundle(
        self, folder: Path, identity: BundleIdentity, *, generic_only: bool, new_card: bool
    ) -> Bundle:
        """Write the trained networks as a bundle.

        Parameters
        ----------
        generic_only : bool
            The generic network in all 75 places.
        new_card : bool
            Replace a model card that someone has written.

        Raises
        ------
        InputError
            Networks are missing, or were trained by another recipe than this run's.
        """
        missing = [] if generic_only else self.missing()
        if missing:
            raise InputError(f"{len(missing)} networks are not trained yet: no bundle is written")
        self.require_recipe(generic_only=generic_only)
        return write_bundle(
            folder,
            lambda index: load_file(
                self.generic_weights if generic_only else self.weights_of(index)
            ),
            name=identity.name,
            version=identity.version,
            description=identity.description,
            architecture=self.recipe.architecture,
            vote_threshold=identity.vote_threshold,
            training=self._provenance(generic_only),
            facts=Facts(training=self._summary(generic_only)),
            shared_file="generic.safetensors" if generic_only else None,
            new_card=new_card,
        )

    @property
    def _first_recipe(self) -> Recipe:
        if self.first_stage == RESTORATION:
            return restoration_recipe(self.recipe)
        return self.recipe.model_copy(update={"specialisation": None})

    def _start_of(self, index: int) -> StartWeights | None:
        if self._tuned:
            return from_bundle(self._tuned, index)
        match self.recipe.initialisation:
            case Initialisation.NONE:
                return None
            case Initialisation.NEIGHBOUR:
                return self._neighbours_weights(index)
            case Initialisation.RESTORATION:
                path = self._trained(RESTORATION)
                return restored_start(path, self.recipe.for_network(index))
            case Initialisation.HSL:
                return from_file(self._trained(GENERIC))

    def _trained(self, stage: str) -> Path:
        path = self._folder / stage / WEIGHTS
        if not path.exists():
            raise InputError(f"the {stage} network is not trained yet: train it first")
        return path

    def _neighbours_weights(self, index: int) -> StartWeights | None:
        neighbour = neighbour_of(index)
        if neighbour is None:
            return None
        path = self.weights_of(neighbour)
        if not path.exists():
            raise RunBusy(f"network {index} starts from network {neighbour}, not trained yet")
        return neighbours_start(path, index, neighbour)

    def _validation_maker(self) -> SampleMaker | None:
        """Real images, unaltered: what the network is for."""
        cases = self._cases.validation
        if not cases:
            if self.recipe.early_stopping:
                raise InputError(
                    f"recipe {self.recipe.name} ends training by a validation loss: name "
                    "validation subjects, or the share of subjects to draw for it"
                )
            return None
        if not any(case.is_labelled for case in cases):
            raise InputError("no validation subject has images with a lesion mask: name others")
        real = {"mix": SampleMix(labelled=1), "intensity_augmentation": False}
        return SampleMaker(cases, self.recipe.model_copy(update=real))

    def _seen_before(self) -> frozenset[str]:
        """Cases that shaped what this training started from."""
        if self._tuned:
            return self._tuned.manifest.seen_cases
        return self._start.seen_cases if self._start else frozenset()

    def _summary(self, generic_only: bool) -> Training:
        run = summarise_run(
            self.recipe,
            self._cases.training,
            first_stage=self.first_stage or "",
            generic_only=generic_only,
            num_validation=len(self._cases.validation),
        )
        begun = self._tuned or self._start
        return after(begun.manifest if begun else None, run, from_nothing=begun is None)

    def _provenance(self, generic_only: bool) -> dict[str, object]:
        recipe = self.recipe
        if generic_only:
            recipe = recipe.model_copy(update={"specialisation": None})
        if self._tuned:
            starts: dict[str, object] = {
                "bundle": f"{self._tuned.manifest.name} {self._tuned.manifest.version}",
                "bundle_sha256": self._tuned.sha256,
            }
        elif self.first_stage:
            starts = {
                f"{self.first_stage}_start_sha256": self._start.sha256 if self._start else None,
                f"{self.first_stage}_sha256": sha256_of(self._trained(self.first_stage)),
            }
        else:
            starts = {}
        return {
            "recipe": recipe.model_dump(mode="json"),
            "cases": self._training.names,
            "validation_cases": self._validation.names if self._validation else [],
            "left_out_subjects": self._cases.left_out_subjects,
            "start_cases": sorted(self._seen_before()),
            **starts,
        }
