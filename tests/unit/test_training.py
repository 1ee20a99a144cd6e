"""Training a network: what it draws, and that it can be killed."""

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.ndimage import binary_erosion

from dlb_core.errors import Cancelled, CheckpointCorrupt, InputError, RunBusy, StageFailed
from dlb_core.synthesis.lesion_placement import transplant
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.cache import open_cache
from dlb_core.training.recipe import Recipe, SampleMix, Schedule
from dlb_core.training.run_folder import METRICS, locked
from dlb_core.training.samples import Sample, SampleMaker
from dlb_core.training.state import PATTERN
from dlb_core.training.trainer import train
from tests.unit.training_kit import RECIPE, shared_training_cache


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests read."""
    return shared_training_cache(tmp_path_factory)


def _maker(cache: Path, recipe: Recipe = RECIPE) -> SampleMaker:
    return SampleMaker(open_cache(cache), recipe)


@pytest.mark.parametrize("kind", ["labelled", "transplanted", "synthesised"])
def test_lesions_are_bright_in_flair_whatever_the_origin(cache: Path, kind: str) -> None:
    """Else the network would learn something else."""
    mix = SampleMix(**{"labelled": 0, "transplanted": 0, "synthesised": 0} | {kind: 1})  # type: ignore[arg-type]
    maker = _maker(cache, RECIPE.model_copy(update={"mix": mix, "subvolume_size": 32}))
    differences = []
    for seed in range(12):
        sample = maker.draw(np.random.default_rng(seed))
        lesion = sample.target > 0
        if lesion.any():
            healthy = ~lesion & (sample.image[1] > 0)
            differences.append(sample.image[1][lesion].mean() - sample.image[1][healthy].mean())

    assert len(differences) >= 8
    assert np.mean(differences) > 0.1


def test_a_sample_depends_on_its_generator_alone(cache: Path) -> None:
    """A resumed run must see the same data."""
    maker = _maker(cache)
    maker.draw(np.random.default_rng(1))
    first = maker.draw(np.random.default_rng(2))
    second = _maker(cache).draw(np.random.default_rng(2))

    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.target, second.target)


@pytest.mark.parametrize(
    ("index", "lesion"),
    [(12, np.s_[58:64, 40:46, 50:56]), (13, np.s_[32:38, 40:46, 30:36])],
    ids=["thinks on the left", "thinks on the right"],
)
def test_a_lateral_network_sees_both_sides_the_same_way_round(
    cache: Path, index: int, lesion: tuple[slice, slice, slice]
) -> None:
    """Symmetrical training: what comes from the other side is mirrored."""
    folder_cases = open_cache(cache)
    labelled = RECIPE.model_copy(
        update={
            "mix": SampleMix(labelled=1),
            "intensity_augmentation": False,
            "subvolume_size": 96,
        }
    )
    maker = SampleMaker(folder_cases, labelled, NETWORK_LOCATIONS[index])
    masks = [maker.draw(np.random.default_rng(seed)).target for seed in range(12)]
    found = [m for m in masks if m.any()]

    # The lesion lies left of the midline: seen in one of the two subvolumes.
    assert 0 < len(found) < 12
    expected = np.zeros((96, 96, 96), dtype=np.int64)
    expected[lesion] = 1
    for mask in found:
        assert np.array_equal(mask, expected)


def test_training_learns(cache: Path, tmp_path: Path) -> None:
    """The loss falls on an easy task."""
    recipe = RECIPE.model_copy(
        update={"num_steps": 60, "steps_per_epoch": 20, "mix": SampleMix(labelled=1)}
    )
    losses: list[float] = []

    train(
        tmp_path, recipe, _maker(cache, recipe), on_epoch=lambda e: losses.append(e.training_loss)
    )

    assert losses[-1] < 0.9 * losses[0]
    assert len((tmp_path / METRICS).read_text().splitlines()) == 3


KILLED_RUN = """
import itertools, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from dlb_core.training import trainer
from tests.unit.test_training import _maker
from tests.unit.training_kit import RECIPE
steps = itertools.count()
def die():
    if next(steps) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return False
maker = _maker(Path(sys.argv[1]))
trainer.train(Path(sys.argv[2]), RECIPE, maker, checkpoint_every_s=0.0, should_stop=die)
"""


def test_a_killed_run_resumes_to_the_same_weights(cache: Path, tmp_path: Path) -> None:
    """kill -9 in the middle, then once more: bit for bit what an undisturbed run gives."""
    torch.set_num_threads(1)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", KILLED_RUN, str(cache), str(killed)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(killed.glob(PATTERN))

    resumed = load_file(train(killed, RECIPE, _maker(cache)))
    undisturbed = load_file(train(whole, RECIPE, _maker(cache)))

    assert resumed.keys() == undisturbed.keys()
    for name, tensor in undisturbed.items():
        assert torch.equal(resumed[name], tensor), name


def test_a_damaged_checkpoint_is_refused_and_the_last_good_one_named(
    cache: Path, tmp_path: Path
) -> None:
    """Going on from rubbish would waste the night."""
    for steps in (4, 3):
        answers = iter([False] * steps)
        with pytest.raises(Cancelled, match="resumes"):
            train(tmp_path, RECIPE, _maker(cache), should_stop=partial(next, answers, True))
    older, newest = sorted(tmp_path.glob(PATTERN))
    content = bytearray(newest.read_bytes())
    content[-3] ^= 255
    newest.write_bytes(content)

    with pytest.raises(CheckpointCorrupt, match=f"{newest.name} is damaged.*{older.name}"):
        train(tmp_path, RECIPE, _maker(cache))


def test_a_run_folder_keeps_to_its_recipe(cache: Path, tmp_path: Path) -> None:
    """Two recipes in one run could never be told apart."""
    train(tmp_path, RECIPE, _maker(cache))

    with pytest.raises(InputError, match="another recipe"):
        train(tmp_path, RECIPE.model_copy(update={"seed": 1}), _maker(cache))


def test_left_out_subjects_leave_no_trace(cache: Path) -> None:
    """Leave-one-out is honest only if every row of the subject goes."""
    names = [c.entry.name for c in open_cache(cache, without_subjects=frozenset({"1"}))]

    assert names == ["b", "c"]


def test_a_recipe_that_the_data_cannot_serve_is_refused(cache: Path) -> None:
    """Before the first step, not at the first draw."""
    donors = [c for c in open_cache(cache) if c.entry.name == "c"]

    with pytest.raises(InputError, match="labelled, transplanted, synthesised"):
        SampleMaker(donors, RECIPE)


def test_a_run_folder_keeps_to_its_cases(cache: Path, tmp_path: Path) -> None:
    """The manifest names the cases left out: that must be true of the weights."""
    labelled = RECIPE.model_copy(update={"mix": SampleMix(labelled=1)})
    train(tmp_path, labelled, _maker(cache, labelled))
    fewer = [c for c in open_cache(cache) if c.entry.name == "a"]

    with pytest.raises(InputError, match="other cases"):
        train(tmp_path, labelled, SampleMaker(fewer, labelled))


def test_transplanted_lesions_fade_towards_an_outline_that_holds_the_faint_rim_too() -> None:
    """Experts outline more than the bright core; a network that learns the core misses it."""
    donor = np.zeros((32, 32, 32), dtype=np.uint8)
    donor[8:24, 8:24, 8:24] = 1
    white_matter = np.ones(donor.shape, dtype=np.float32)
    faint = []
    for seed in range(12):
        placed = transplant(np.random.default_rng(seed), [donor], white_matter)
        rim = placed.mask & ~binary_erosion(placed.mask)
        assert placed.mask[donor > 0].mean() > 0.95
        assert placed.share[16, 16, 16] > 0.95
        faint.append(placed.share[rim].mean())

    assert min(faint) < 0.7 < max(faint)


def test_a_finished_run_keeps_no_checkpoints(cache: Path, tmp_path: Path) -> None:
    """75 folders of Adam's moments would weigh more than the data."""
    answers = iter([False] * 3)
    with pytest.raises(Cancelled):
        train(tmp_path, RECIPE, _maker(cache), should_stop=partial(next, answers, True))
    assert list(tmp_path.glob(PATTERN))

    train(tmp_path, RECIPE, _maker(cache))

    assert not list(tmp_path.glob(PATTERN))


def test_two_processes_do_not_train_one_network(cache: Path, tmp_path: Path) -> None:
    """Their checkpoints would overwrite each other."""
    with locked(tmp_path), pytest.raises(RunBusy, match="another process"):
        train(tmp_path, RECIPE, _maker(cache))


def test_a_resumed_run_notes_each_epoch_once(cache: Path, tmp_path: Path) -> None:
    """Steps repeated after a kill would bend the curves."""
    answers = iter([False] * 6)
    with pytest.raises(Cancelled):
        train(tmp_path, RECIPE, _maker(cache), should_stop=partial(next, answers, True))
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 8, "training_loss": 99.0}\n')

    train(tmp_path, RECIPE, _maker(cache))

    noted = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [entry["step"] for entry in noted] == [4, 8, 12]
    assert all(entry["training_loss"] < 99 for entry in noted)


def test_a_loss_that_is_no_number_ends_the_training(cache: Path, tmp_path: Path) -> None:
    """Else weights that are no numbers end in a bundle."""
    reckless = RECIPE.model_copy(update={"learning_rate": 1e30})

    with pytest.raises(StageFailed, match="no number"):
        train(tmp_path, reckless, _maker(cache))
    assert not (tmp_path / "weights.safetensors").exists()


class _OneAnswer:
    """Noise for images, and the same answer everywhere."""

    names: ClassVar[list[str]] = ["made up"]

    def __init__(self, answer: int) -> None:
        self._answer = answer

    def draw(self, rng: np.random.Generator) -> Sample:
        image = rng.normal(1, 0.1, (2, 16, 16, 16)).astype(np.float32)
        return Sample(image, np.full(image.shape[1:], self._answer))


def test_training_stops_when_validation_only_gets_worse_and_keeps_the_best(tmp_path: Path) -> None:
    """Lesions everywhere to learn, none to validate on: each epoch is worse than the first."""
    patient = RECIPE.model_copy(
        update={"num_steps": 80, "patience": 2, "schedule": Schedule.CONSTANT}
    )
    short = patient.model_copy(update={"num_steps": patient.steps_per_epoch})

    kept = train(tmp_path / "long", patient, _OneAnswer(1), validation=_OneAnswer(0))
    first_epoch = train(tmp_path / "short", short, _OneAnswer(1))

    rows = [json.loads(line) for line in (tmp_path / "long" / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert rows[0]["validation_loss"] < rows[1]["validation_loss"] < rows[2]["validation_loss"]
    wanted = load_file(first_epoch)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in load_file(kept).items())
