"""Draw training subvolumes: where to cut, from which case, and what is made of it.

A sample is a function of the generator it is given, nothing else: a run that resumes at
step n draws exactly what an uninterrupted one would.

Source of symmetrical training: Kamraoui et al., Medical Image Analysis 76 (2022) 102312,
section 2.3.1.
"""

from copy import copy
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dlb_core.errors import InputError
from dlb_core.synthesis.fields import Array, smooth_field
from dlb_core.synthesis.lesion_placement import (
    LesionContrast,
    PlacedLesions,
    lesion_intensities,
    transplant,
)
from dlb_core.synthesis.random_contrast import ContrastRanges, synthesise, uneven_noise_level
from dlb_core.tiling import GRID_SHAPE, Location, NetworkLocation
from dlb_core.training.cache import CachedCase
from dlb_core.training.losses import IGNORED
from dlb_core.training.recipe import Recipe
from dlb_core.training.suspects import may_be_lesion
from dlb_core.volume import Mask, Shape

MAX_SHIFT = 4
"""Donors' lesions move by up to this many voxels along each axis."""
MAX_DONORS = 3
GREY_T1W, GREY_T1W_SPREAD = 0.72, 0.1
"""Where grey matter lies in T1w, white matter = 1."""
GREY_FLAIR_CHANGE = (-0.08, 0.12)
"""By how much its FLAIR is changed, white matter = 1."""


class Origin(StrEnum):
    """What a sample is made from."""

    LABELLED = "labelled"
    TRANSPLANTED = "transplanted"
    UNLABELLED = "unlabelled"
    SYNTHESISED = "synthesised"


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One training pair."""

    image: Array
    """(2, I, J, K)."""
    target: NDArray[Any]
    """(I, J, K) int64: 0 healthy, 1 lesion, `losses.IGNORED`; of a restoration the original
    image."""


class SampleSource(Protocol):
    """Whatever samples can be drawn from."""

    @property
    def names(self) -> list[str]:
        """Names of the cases that samples come from."""

    def draw(self, rng: np.random.Generator) -> Sample:
        """Draw one sample, a function of the generator alone."""


@dataclass(frozen=True, slots=True, eq=False)
class _LesionShapes:
    """A lesion mask with the list of its voxels."""

    mask: NDArray[np.uint8]
    voxels: NDArray[np.int16]

    def inside(self, box: Location) -> NDArray[np.int16]:
        """Lesion voxels in a box."""
        start = np.asarray(box.start)
        within = (self.voxels >= start) & (self.voxels < start + np.asarray(box.size))
        found: NDArray[np.int16] = self.voxels[within.all(1)]
        return found


WHOLE_GRID = Location((0, 0, 0), GRID_SHAPE)


class SampleMaker:
    """Draws samples from a set of cases, over the whole brain or for one network's place.

    Parameters
    ----------
    cases : list of CachedCase
    recipe : Recipe
    network : NetworkLocation, optional
        Draw only from this network's subvolume and, mirrored, from its twin.

    Raises
    ------
    InputError
        The recipe asks for a kind of sample that no case can give.
    """

    def __init__(
        self, cases: list[CachedCase], recipe: Recipe, network: NetworkLocation | None = None
    ) -> None:
        self._recipe = recipe
        self._network = network
        self._names = sorted(c.entry.name for c in cases)
        self._images = [c for c in cases if c.is_labelled]
        self._unlabelled = [c for c in cases if c.image is not None and c.lesions is None]
        self._suspects: dict[str, Mask] = {}
        self._anatomies = [c for c in cases if c.tissues is not None]
        self._lesions = {c.entry.name: _shapes(c.lesions) for c in cases if c.lesions is not None}
        self._donors = list(self._lesions.values())
        self._origins, self._shares = self._usable_origins()

    @property
    def names(self) -> list[str]:
        """Names of the cases that samples come from."""
        return self._names

    def at(self, network: NetworkLocation) -> "SampleMaker":
        """Draw from the same cases, for one network's place."""
        other = copy(self)
        other._network = network
        return other

    def _usable_origins(self) -> tuple[list[Origin], NDArray[np.float64]]:
        mix = self._recipe.mix
        wanted = {
            Origin.LABELLED: (mix.labelled, bool(self._images)),
            Origin.TRANSPLANTED: (mix.transplanted, bool(self._images and self._donors)),
            Origin.SYNTHESISED: (mix.synthesised, bool(self._anatomies and self._donors)),
        }
        if self._unlabelled and self._donors:
            wanted[Origin.UNLABELLED] = (mix.unlabelled, True)
        missing = [origin for origin, (share, can) in wanted.items() if share > 0 and not can]
        if missing:
            raise InputError(
                f"recipe {self._recipe.name} asks for {', '.join(missing)} samples, but no case "
                "in the cache can give them: prepare such cases or set their share to 0"
            )
        origins = [origin for origin, (share, _) in wanted.items() if share > 0]
        shares = np.array([wanted[origin][0] for origin in origins])
        return origins, shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> Sample:
        """Draw one sample."""
        box, flipped = self._box(rng)
        origin = self._origins[rng.choice(len(self._origins), p=self._shares)]
        match origin:
            case Origin.LABELLED:
                image, target = self._labelled(rng, box)
            case Origin.TRANSPLANTED:
                image, target = self._transplanted(rng, box)
            case Origin.UNLABELLED:
                image, target = self._with_lesions_added(rng, box)
            case Origin.SYNTHESISED:
                image, target = self._synthesised(rng, box)
        if flipped:
            image, target = np.flip(image, 1), np.flip(target, 0)
        return Sample(np.ascontiguousarray(image), np.ascontiguousarray(target.astype(np.int64)))

    def _box(self, rng: np.random.Generator) -> tuple[Location, bool]:
        """Where to look, and whether to mirror what is found."""
        mirrored = bool(rng.random() < 0.5)
        if self._network is None:
            return WHOLE_GRID, mirrored
        if self._network.twin is None:
            primary = self._network.primary
            return (primary.mirrored() if mirrored else primary), mirrored
        return (self._network.twin if mirrored else self._network.primary), mirrored

    def _window(
        self, rng: np.random.Generator, box: Location, lesions: _LesionShapes | None
    ) -> Location:
        """Choose a training cube within the box, on a lesion as often as the recipe says."""
        size = self._recipe.subvolume_size
        low = np.asarray(box.start)
        high = low + np.asarray(box.size) - size
        start = rng.integers(low, high + 1)
        candidates = lesions.inside(box) if lesions else np.empty((0, 3), np.int16)
        if len(candidates) and rng.random() < self._recipe.lesion_centred:
            centre = candidates[rng.integers(len(candidates))]
            offset = rng.integers(size // 4, size - size // 4, 3)
            start = np.clip(centre - offset, low, high)
        i, j, k = (int(s) for s in start)
        return Location((i, j, k), (size, size, size))

    def _labelled(self, rng: np.random.Generator, box: Location) -> tuple[Array, Array]:
        case = self._images[rng.integers(len(self._images))]
        window = self._window(rng, box, self._lesions[case.entry.name])
        image, target = _cut_image(case, window), _cut_lesions(case, window)
        return self._jitter(rng, image, target), target

    def _transplanted(self, rng: np.random.Generator, box: Location) -> tuple[Array, Array]:
        case = self._images[rng.integers(len(self._images))]
        donors = self._draw_donors(rng)
        window = self._window(rng, box, donors[0])
        image, own = _cut_image(case, window), _cut_lesions(case, window)
        added = self._place(rng, donors, window, image)
        image = _add_lesions(rng, image, np.where(own > 0, 0, added.share).astype(np.float32))
        target = np.maximum(own, added.mask)
        return self._jitter(rng, image, target), target

    def _with_lesions_added(self, rng: np.random.Generator, box: Location) -> tuple[Array, Array]:
        """Add lesions to an image without labels; what may be one of its own is ignored."""
        case = self._unlabelled[rng.integers(len(self._unlabelled))]
        donors = self._draw_donors(rng)
        window = self._window(rng, box, donors[0])
        image, suspect = _cut_image(case, window), self._suspect(case)[window.slices]
        added = self._place(rng, donors, window, image)
        image = _add_lesions(rng, image, added.share)
        target = np.where(added.mask, 1, np.where(suspect, IGNORED, 0)).astype(np.float32)
        return self._jitter(rng, image, target), target

    def _suspect(self, case: CachedCase) -> Mask:
        """Found once a case: it takes seconds."""
        name = case.entry.name
        if name not in self._suspects:
            assert case.image is not None  # chosen for having one
            self._suspects[name] = may_be_lesion(case.image[1].astype(np.float32))
        return self._suspects[name]

    def _place(
        self,
        rng: np.random.Generator,
        donors: list[_LesionShapes],
        window: Location,
        image: Array,
    ) -> PlacedLesions:
        """Lay donors' lesions into a real image's white matter."""
        white = np.clip(1 - np.abs(image[0] - 1) * 4, 0, 1) * (image[1] < 1.35)
        return transplant(rng, self._cut_donors(rng, donors, window), white)

    def _synthesised(self, rng: np.random.Generator, box: Location) -> tuple[Array, Array]:
        case = self._anatomies[rng.integers(len(self._anatomies))]
        donors = self._draw_donors(rng)
        window = self._window(rng, box, donors[0])
        assert case.tissues is not None  # chosen for having them
        tissues: Array = case.tissues[(slice(None), *window.slices)].astype(np.float32)
        tissues /= 255
        lesions = transplant(rng, self._cut_donors(rng, donors, window), tissues[2])
        image = synthesise(rng, tissues, lesions.share, ContrastRanges())
        return image, lesions.mask.astype(np.float32)

    def _draw_donors(self, rng: np.random.Generator) -> list[_LesionShapes]:
        count = int(rng.integers(1, MAX_DONORS + 1))
        return [self._donors[n] for n in rng.integers(len(self._donors), size=count)]

    def _cut_donors(
        self, rng: np.random.Generator, donors: list[_LesionShapes], window: Location
    ) -> list[NDArray[np.uint8]]:
        return [_cut_shifted(donor.mask, window, rng) for donor in donors]

    def _jitter(self, rng: np.random.Generator, image: Array, target: Array) -> Array:
        """Vary contrast, bias and noise of a real image, if the recipe says so."""
        if not self._recipe.intensity_augmentation:
            return image
        shape: Shape = image.shape[1:]
        brain = image[1] > 0
        _vary_grey_matter(rng, image, target)
        for channel in image:
            gamma, amplitude = rng.uniform(0.7, 1.4), rng.uniform(0, 0.12)
            channel[:] = np.clip(channel, 0, None) ** gamma
            channel *= np.exp(amplitude * smooth_field(rng, shape, 48))
            noise = rng.uniform(0, 0.04) * uneven_noise_level(rng, shape)
            channel += noise * smooth_field(rng, shape, rng.uniform(1, 2))
        return np.asarray(image * brain, dtype=np.float32)


def _vary_grey_matter(rng: np.random.Generator, image: Array, target: Array) -> None:
    """Let grey matter stand out in FLAIR by more or less, as it does from scanner to scanner.

    With few labelled cases a network else takes one scan's grey level for the limit to lesions.
    """
    grey = np.exp(-(((image[0] - GREY_T1W) / GREY_T1W_SPREAD) ** 2)) * (target == 0)
    unevenness = 1 + 0.4 * smooth_field(rng, target.shape, 12)
    image[1] += rng.uniform(*GREY_FLAIR_CHANGE) * grey * unevenness


def _shapes(mask: NDArray[np.uint8]) -> _LesionShapes:
    return _LesionShapes(mask, np.argwhere(mask).astype(np.int16))


def _cut_image(case: CachedCase, window: Location) -> Array:
    assert case.image is not None  # chosen for having one
    return case.image[(slice(None), *window.slices)].astype(np.float32)


def _cut_lesions(case: CachedCase, window: Location) -> Array:
    assert case.lesions is not None  # chosen for having them
    return case.lesions[window.slices].astype(np.float32)


def _cut_shifted(
    mask: NDArray[np.uint8], window: Location, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut a donor's mask a few voxels off, so that the same lesion never lies twice alike."""
    shift = rng.integers(-MAX_SHIFT, MAX_SHIFT + 1, 3)
    limit = np.asarray(mask.shape) - np.asarray(window.size)
    i, j, k = (int(s) for s in np.clip(np.asarray(window.start) + shift, 0, limit))
    return mask[Location((i, j, k), window.size).slices]


def _add_lesions(rng: np.random.Generator, image: Array, lesions: Array) -> Array:
    """Brighten FLAIR and darken T1w, keeping the image's own texture."""
    t1w, flair = lesion_intensities(rng, lesions, LesionContrast())
    changed = image.copy()
    changed[0] += lesions * (t1w - 1) * image[0]
    changed[1] += lesions * (flair - 1)
    return changed
