"""Learn from images without labels: restore what was distorted (Models Genesis).

A subvolume's intensities are bent, its texture shuffled, and parts of it, or all around parts of
it, replaced by noise; the network learns to give back the original. Its two branches then start
a segmentation network.

Axes in names: B batch, C channels, I J K voxels.

Source: Zhou et al., Medical Image Analysis 67 (2021) 101840; the initialisation that
Kamraoui et al., Medical Image Analysis 76 (2022) 102312, tables 2 and 3, compare with theirs.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dlb_core.errors import InputError
from dlb_core.network import Architecture, UNet3d
from dlb_core.synthesis.fields import Array
from dlb_core.tiling import GRID_SHAPE, Location
from dlb_core.training.cache import CachedCase
from dlb_core.training.losses import LossName
from dlb_core.training.recipe import Recipe
from dlb_core.training.samples import Sample

BEND_RATE, SHUFFLE_RATE, PAINT_RATE = 0.9, 0.5, 0.9
"""How often each distortion is applied, as published."""
OUTER_RATE = 0.8
"""Of the paintings, those that keep a few blocks and paint all around them."""
BRIGHTEST = 2.0
"""Intensities from 0 to this, white matter being 1, are what is bent; noise fills the same."""
NUM_SHUFFLED_BLOCKS = 1000
MAX_PAINTED_BLOCKS = 5
LEAST_BRAIN = 0.25
"""Share of brain in a subvolume that is worth restoring."""
_TRIES = 20


class RestorationNet(UNet3d):
    """The segmentation network with the image itself in place of the class scores."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.classify = nn.Conv3d(architecture.width, architecture.in_channels, kernel_size=1)


def restoration_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the restoring network that precedes a recipe's own networks."""
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-restoration",
            "loss": LossName.SQUARED_ERROR,
            "quality_augmentation": False,
            "intensity_augmentation": False,
            "pose_augmentation": False,
            "specialisation": None,
        }
    )


class RestorationSamples:
    """Draws distorted subvolumes with their originals, from anywhere in the brain.

    Parameters
    ----------
    cases : list of CachedCase
        Those with images serve, labelled or not.
    size : int
        Edge of a subvolume, voxels.

    Raises
    ------
    InputError
        No case has images.
    """

    def __init__(self, cases: list[CachedCase], size: int) -> None:
        self._images = [case.image for case in cases if case.image is not None]
        self._names = sorted(case.entry.name for case in cases if case.image is not None)
        self._size = size
        if not self._images:
            raise InputError(
                "learning by restoration needs cases with images, and the cache has none: "
                "prepare such cases or choose another initialisation"
            )

    @property
    def names(self) -> list[str]:
        """Names of the cases that samples come from."""
        return self._names

    def draw(self, rng: np.random.Generator) -> Sample:
        """Draw one sample: the image is distorted, the target is the original."""
        original = self._cut(rng)
        return Sample(distort(original, rng), original)

    def _cut(self, rng: np.random.Generator) -> Array:
        image = self._images[rng.integers(len(self._images))]
        for _ in range(_TRIES):
            start = rng.integers(0, np.array(GRID_SHAPE) - self._size + 1)
            i, j, k = (int(s) for s in start)
            window = Location((i, j, k), (self._size,) * 3)
            cut: Array = image[(slice(None), *window.slices)].astype(np.float32)
            if (cut[0] > 0).mean() >= LEAST_BRAIN:
                break
        return np.ascontiguousarray(np.flip(cut, 1)) if rng.random() < 0.5 else cut


def distort(image: Array, rng: np.random.Generator) -> Array:
    """Distort an image (C, I, J, K) in one or more of the four ways."""
    distorted = image.copy()
    if rng.random() < SHUFFLE_RATE:
        shuffle_locally(distorted, rng)
    if rng.random() < BEND_RATE:
        distorted = bend_intensities(distorted, rng)
    if rng.random() < PAINT_RATE:
        paint = paint_around if rng.random() < OUTER_RATE else paint_within
        paint(distorted, rng)
    return distorted


def bend_intensities(image: Array, rng: np.random.Generator) -> Array:
    """Map intensities through a random cubic Bezier curve from 0 to 1, rising or falling."""
    inner = rng.random((2, 2))
    t = np.linspace(0, 1, 1000)
    basis = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    x, y = (basis.T @ np.array([[0, 0], *inner, [1, 1]])).T
    x, y = np.sort(x), np.sort(y)
    if rng.random() < 0.5:
        y = y[::-1]
    bent = BRIGHTEST * np.interp(np.clip(image / BRIGHTEST, 0, 1), x, y)
    return np.asarray(bent, dtype=np.float32)


def shuffle_locally(image: Array, rng: np.random.Generator) -> None:
    """Shuffle the voxels within small blocks, all channels alike: texture goes, shape stays."""
    original = image.copy()
    largest = max(2, image.shape[1] // 10)
    for _ in range(NUM_SHUFFLED_BLOCKS):
        block = _block(rng, image.shape[1:], 1, largest)
        voxels = original[block].reshape(len(image), -1)
        image[block] = rng.permutation(voxels, axis=1).reshape(image[block].shape)


def paint_within(image: Array, rng: np.random.Generator) -> None:
    """Replace a few blocks by noise."""
    edge = image.shape[1]
    for _ in range(rng.integers(1, MAX_PAINTED_BLOCKS + 1)):
        block = _block(rng, image.shape[1:], edge // 6, edge // 3)
        image[block] = _noise(rng, image[block].shape)


def paint_around(image: Array, rng: np.random.Generator) -> None:
    """Keep a few large blocks and replace all else by noise."""
    original = image.copy()
    image[:] = _noise(rng, image.shape)
    edge = image.shape[1]
    for _ in range(rng.integers(1, MAX_PAINTED_BLOCKS + 1)):
        block = _block(rng, image.shape[1:], 3 * edge // 7, 4 * edge // 7)
        image[block] = original[block]


def _block(
    rng: np.random.Generator, shape: tuple[int, ...], smallest: int, largest: int
) -> tuple[slice, ...]:
    """A random box within a volume, as an index of all its channels."""
    sizes = rng.integers(smallest, largest + 1, 3)
    starts = rng.integers(0, np.array(shape) - sizes + 1)
    box = (slice(int(a), int(a + n)) for a, n in zip(starts, sizes, strict=True))
    return (slice(None), *box)


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return BRIGHTEST * rng.random(shape, dtype=np.float32)
