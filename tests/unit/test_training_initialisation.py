"""What specialised networks start from, and learning by restoration."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dlb_core.cli.main import main
from dlb_core.errors import Cancelled, InputError, RunBusy
from dlb_core.jobs.training.store import TrainingStore
from dlb_core.network import UNet3d
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.cache import CachedCase, open_cache
from dlb_core.training.distributed import submit
from dlb_core.training.hierarchy import RESTORATION, BundleIdentity, Hierarchy, share_out
from dlb_core.training.initialisation import HEAD, neighbour_of
from dlb_core.training.plan import Plan
from dlb_core.training.recipe import Initialisation, Recipe, SampleMix, Schedule, Specialisation
from dlb_core.training.restoration import (
    BRIGHTEST,
    RestorationNet,
    RestorationSamples,
    bend_intensities,
    paint_around,
    paint_within,
    restoration_recipe,
    shuffle_locally,
)
from dlb_core.training.run_folder import WEIGHTS
from dlb_core.training.serial import train_serially
from dlb_core.training.trainer import train
from tests.unit.training_kit import RECIPE, shared_training_cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests read."""
    return shared_training_cache(tmp_path_factory)


def _recipe(initialisation: Initialisation) -> Recipe:
    """Specialised networks hardly leave where they start from."""
    own = Specialisation(
        num_steps=1, learning_rate=1e-9, schedule=Schedule.CONSTANT, initialisation=initialisation
    )
    return RECIPE.model_copy(
        update={"specialisation": own, "num_steps": 2, "mix": SampleMix(labelled=1)}
    )


def _hierarchy(cache: Path, folder: Path, initialisation: Initialisation) -> Hierarchy:
    cases = share_out(open_cache(cache), left_out=frozenset(), validation=frozenset())
    return Hierarchy(folder, _recipe(initialisation), cases)


def _plan(cache: Path, folder: Path, initialisation: Initialisation) -> Plan:
    return Plan(
        cache=cache,
        run=folder / "run",
        bundle=folder / "bundle",
        recipe=_recipe(initialisation),
        left_out_subjects=[],
        validation_subjects=[],
        initialise_from=None,
        from_bundle=None,
        generic_only=False,
        identity=BundleIdentity(name="n", version="1", description="", vote_threshold=0.5),
        new_card=False,
        checkpoint_every_s=60,
    )


def _alike(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> set[str]:
    """Parameters of which both hold the same values."""
    return {name for name in some if torch.allclose(some[name], others[name], atol=1e-7)}


def _random(recipe: Recipe) -> dict[str, torch.Tensor]:
    torch.manual_seed(recipe.seed)
    return UNet3d(recipe.architecture).state_dict()


def test_without_initialisation_networks_start_from_random_weights(
    cache: Path, tmp_path: Path
) -> None:
    """Each from its own, and no generic network is trained for nothing."""
    hierarchy = _hierarchy(cache, tmp_path, Initialisation.NONE)

    weights = load_file(hierarchy.specialise(3))

    assert hierarchy.first_stage is None
    assert _alike(weights, _random(hierarchy.recipe.for_network(3))) == weights.keys()


def test_a_network_starts_from_its_neighbours_weights(cache: Path, tmp_path: Path) -> None:
    """And the first of all from random ones."""
    hierarchy = _hierarchy(cache, tmp_path, Initialisation.NEIGHBOUR)
    with pytest.raises(RunBusy, match="network 1 starts from network 0"):
        hierarchy.specialise(1)
    with pytest.raises(InputError, match="networks 0: train these too"):
        train_serially(hierarchy, [1], on_progress=lambda _: None)

    train_serially(hierarchy, [1, 0], on_progress=lambda _: None)

    first, second = (load_file(hierarchy.weights_of(index)) for index in (0, 1))
    assert _alike(first, _random(hierarchy.recipe.for_network(0))) == first.keys()
    # Network 1 thinks in the other hemisphere: it sees what network 0 sees in the mirror.
    image = torch.rand(1, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    answer, mirrored = _answer(hierarchy, first, image), _answer(hierarchy, second, image.flip(2))
    assert torch.allclose(mirrored.flip(2), answer, atol=1e-4)
    assert not torch.allclose(_answer(hierarchy, second, image), answer, atol=1e-2)


def _answer(
    hierarchy: Hierarchy, weights: dict[str, torch.Tensor], image: torch.Tensor
) -> torch.Tensor:
    network = UNet3d(hierarchy.recipe.architecture).eval()
    network.load_state_dict(weights)
    with torch.inference_mode():
        answer: torch.Tensor = network(image)
    return answer


def test_a_network_starts_from_the_restoring_networks_branches(cache: Path, tmp_path: Path) -> None:
    """The last convolution gave images, not classes: it alone is new."""
    hierarchy = _hierarchy(cache, tmp_path, Initialisation.RESTORATION)

    train_serially(hierarchy, [4], on_progress=lambda _: None)

    weights = load_file(hierarchy.weights_of(4))
    restored = load_file(tmp_path / RESTORATION / WEIGHTS)
    branches = {name for name in weights if not name.startswith(HEAD)}
    fresh = _random(hierarchy.recipe.for_network(4))
    assert _alike(weights, restored) >= branches
    assert _alike(weights, fresh) == weights.keys() - branches
    assert not (tmp_path / "generic").exists()


def test_neighbours_touch_and_lead_back_to_the_first_network() -> None:
    """Nearest of those trained before: one step along one axis."""
    for index in range(1, len(NETWORK_LOCATIONS)):
        neighbour = neighbour_of(index)
        assert neighbour is not None
        assert neighbour < index
        here, there = (NETWORK_LOCATIONS[n].left.start for n in (index, neighbour))
        apart = np.abs(np.subtract(here, there))
        assert np.count_nonzero(apart) == 1
        assert apart.max() <= 29
    assert [neighbour_of(n) for n in (0, 1, 4, 5, 25, 26, 30, 50)] == [None, 0, 3, 0, 0, 25, 5, 25]


def test_tasks_of_a_distributed_training_follow_the_initialisation(
    cache: Path, tmp_path: Path
) -> None:
    """Tasks of one kind run in any order: neighbours cannot wait for one another."""
    with TrainingStore.open(f"sqlite:///{tmp_path / 'jobs.sqlite'}") as store:
        with pytest.raises(InputError, match="leave out --distributed"):
            submit(store, _plan(cache, tmp_path, Initialisation.NEIGHBOUR))
        names = {}
        for variant in (Initialisation.NONE, Initialisation.RESTORATION):
            training = submit(store, _plan(cache, tmp_path / variant, variant))
            names[variant] = [task.name for task in store.get(training).tasks]

    assert len(names[Initialisation.NONE]) == 76
    assert set(names[Initialisation.RESTORATION]) - set(names[Initialisation.NONE]) == {RESTORATION}


def test_two_ways_to_start_exclude_each_other(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of the two would be ignored without a word."""
    command = ["train", "--cache", str(cache), "--run", str(tmp_path), "--bundle", "b"]

    assert main([*command, "--generic-only", "--initialisation", "none"]) == 2
    assert "--initialisation: --generic-only" in capsys.readouterr().err


def _restoring(cache: Path, **changes: object) -> tuple[Recipe, RestorationSamples]:
    recipe = restoration_recipe(RECIPE.model_copy(update=changes))
    return recipe, RestorationSamples(open_cache(cache), recipe.subvolume_size)


def test_restoring_is_learned(cache: Path, tmp_path: Path) -> None:
    """The loss falls, or there is nothing to start from."""
    recipe, samples = _restoring(cache, num_steps=80, steps_per_epoch=20)
    losses: list[float] = []

    train(
        tmp_path,
        recipe,
        samples,
        network=RestorationNet,
        on_epoch=lambda result: losses.append(result.training_loss),
    )

    assert losses[-1] < 0.8 * losses[0]


def test_a_resumed_restoration_ends_in_the_same_weights(cache: Path, tmp_path: Path) -> None:
    """Bit for bit what an undisturbed run gives."""
    recipe, samples = _restoring(cache, num_steps=8)
    answers = iter([False] * 5)
    with pytest.raises(Cancelled):
        train(
            tmp_path / "stopped",
            recipe,
            samples,
            network=RestorationNet,
            should_stop=partial(next, answers, True),
        )

    resumed, undisturbed = (
        load_file(train(tmp_path / name, recipe, samples, network=RestorationNet))
        for name in ("stopped", "whole")
    )

    assert all(torch.equal(resumed[name], undisturbed[name]) for name in undisturbed)


def test_images_without_labels_serve_and_are_shown_as_they_are(cache: Path) -> None:
    """The target is the original; the same generator gives the same sample."""
    (labelled,) = (case for case in open_cache(cache) if case.image is not None)
    unlabelled = CachedCase(labelled.entry, labelled.image, None, None)
    samples = RestorationSamples([unlabelled], 32)

    one, other = (samples.draw(np.random.default_rng(5)) for _ in range(2))

    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.target, other.target)
    assert one.target.shape == one.image.shape == (2, 32, 32, 32)
    assert not np.array_equal(one.image, one.target)
    with pytest.raises(InputError, match="needs cases with images"):
        RestorationSamples([CachedCase(labelled.entry, None, labelled.lesions, None)], 32)


IMAGE = np.random.default_rng(0).uniform(0.2, 1.8, (2, 24, 24, 24)).astype(np.float32)


def test_shuffling_is_local_and_moves_both_images_alike() -> None:
    """A voxel's T1w and FLAIR belong together."""
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32)[:, None, None], (24, 24, 24))
    image = np.stack([ramp, 2 * ramp])

    shuffle_locally(image, np.random.default_rng(1))

    assert np.array_equal(image[1], 2 * image[0])
    moved = np.abs(image[0] - ramp)
    assert 0 < moved.max() <= 1  # blocks of up to 24 // 10 voxels


def test_bending_keeps_or_reverses_the_order_of_intensities() -> None:
    """What was equally bright stays so: the anatomy can still be told."""
    directions = set()
    for seed in range(12):
        bent = bend_intensities(IMAGE, np.random.default_rng(seed))
        order = np.diff(bent.ravel()[np.argsort(IMAGE.ravel())])
        assert (order >= -1e-6).all() or (order <= 1e-6).all()
        assert bent.min() >= 0
        assert bent.max() <= BRIGHTEST
        directions.add(bool(order.sum() > 0))

    assert directions == {True, False}


@pytest.mark.parametrize(
    ("paint", "least", "most"), [(paint_within, 0.003, 0.2), (paint_around, 0.4, 0.95)]
)
def test_painting_spares_the_rest(paint, least: float, most: float) -> None:  # type: ignore[no-untyped-def]
    """Within: a few blocks go. Around: a few blocks stay, from which to guess the others."""
    for seed in range(8):
        image = IMAGE.copy()
        paint(image, np.random.default_rng(seed))
        share = (image != IMAGE).mean()
        assert least <= share <= most
        assert image.max() <= BRIGHTEST
