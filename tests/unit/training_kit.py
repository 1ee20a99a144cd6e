"""A small cache of made-up cases and a recipe of a few steps, for tests of training."""

from pathlib import Path

import numpy as np
import pytest

from dlb_core.network import Architecture
from dlb_core.tiling import GRID_SHAPE
from dlb_core.training.cache import IMAGE, LESIONS, TISSUES, CaseEntry, write_case
from dlb_core.training.losses import LossName
from dlb_core.training.recipe import Recipe, SampleMix, Schedule, Specialisation

RECIPE = Recipe(
    name="tiny",
    architecture=Architecture(width=2, num_levels=2, dropout=0.1),
    loss=LossName.JACCARD_CROSS_ENTROPY,
    subvolume_size=16,
    batch_size=2,
    num_steps=12,
    learning_rate=1e-2,
    steps_per_epoch=4,
    lesion_centred=1.0,
    mix=SampleMix(labelled=1, transplanted=1, synthesised=1),
    intensity_augmentation=True,
    specialisation=Specialisation(num_steps=3, learning_rate=1e-3, schedule=Schedule.COSINE),
)
LESION = (slice(60, 66), slice(100, 106), slice(90, 96))
"""In the left hemisphere."""


def shared_training_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that only read it: it takes a second to write."""
    folder = tmp_path_factory.getbasetemp() / "training-cache"
    return folder if folder.exists() else write_training_cache(folder)


def write_training_cache(folder: Path) -> Path:
    """Three cases: labelled, tissues, donor."""
    rng = np.random.default_rng(0)
    brain = np.zeros(GRID_SHAPE, dtype=np.uint8)
    brain[20:160, 20:200, 10:150] = 1
    lesions = np.zeros(GRID_SHAPE, dtype=np.uint8)
    lesions[LESION] = 1
    image = brain * rng.normal(1, 0.05, (2, *GRID_SHAPE))
    image[1] += 0.6 * lesions
    write_case(
        folder,
        CaseEntry(name="a", subject="1", arrays=[IMAGE, LESIONS]),
        {IMAGE: image.astype(np.float16), LESIONS: lesions},
    )
    tissues = np.stack([0 * brain, 0 * brain, 255 * brain])
    write_case(folder, CaseEntry(name="b", subject="2", arrays=[TISSUES]), {TISSUES: tissues})
    write_case(folder, CaseEntry(name="c", subject="3", arrays=[LESIONS]), {LESIONS: lesions})
    return folder
