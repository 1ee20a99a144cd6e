"""Draw MS lesions into a synthetic brain's white matter.

Most lie at the lateral ventricles, long and at right angles to their wall, as Dawson described
them; others below the cortex, deep in the hemispheres, and a few in brain stem and cerebellum.
A lesion of n voxels is the n voxels of white matter nearest to its centre in a bumpy, stretched
metric, less those cut off by a ventricle or a sulcus: so it hugs both and crosses neither.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.lesions import label_lesions
from dlb_core.synthesis.anatomy import Brain, coordinates
from dlb_core.synthesis.fields import Array, smooth_field
from dlb_core.volume import Mask

PLACES = ("periventricular", "juxtacortical", "deep", "infratentorial")
PLACE_SHARES = (0.52, 0.2, 0.2, 0.08)
MINIMUM_MM3, MEDIAN_MM3, MAXIMUM_MM3 = 40.0, 300.0, 2400.0
TENTORIUM_MM = -24.0
"""Below this z, white matter is taken for infratentorial; so is the temporal lobe's lowest part."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Plaques:
    """All lesions of one person, on the grid of their anatomy."""

    share: Array
    """How much of each voxel is lesion, in [0, 1]."""
    halo: Array
    """How much of each voxel is normal-appearing tissue that suffers from a lesion nearby."""
    t1w: Array
    flair: Array
    """Intensity of a voxel if it were all lesion, relative to white matter = 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Plaque:
    """One lesion, planned."""

    centre: Vector
    """Voxel index on the head grid."""
    metric: Vector
    """(3, 3): shortens distances along the lesion's long axis."""
    volume_mm3: float
    """On the head grid."""
    flair: float
    t1w: float
    """Intensity relative to white matter = 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All lesions of one person, the largest first."""

    plaques: tuple[Plaque, ...]
    bumps: Array
    """What makes their outlines uneven."""


def no_plaques(head: Brain) -> Plaques:
    """A healthy brain."""
    empty = np.zeros(head.grid.shape, dtype=np.float32)
    whole = np.ones(head.grid.shape, dtype=np.float32)
    return Plaques(share=empty, halo=empty, t1w=whole, flair=whole)


def draw_plaques(rng: np.random.Generator, head: Brain, total_mm3: float) -> Plaques:
    """Draw some 25 lesions.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides their number, places, shapes and intensities.
    head : Brain
        Where they go.
    total_mm3 : float
        Their volume together on the head grid, about: lesions may overlap.

    Returns
    -------
    Plaques
    """
    return paint_plaques(head, plan_plaques(rng, head, total_mm3))


def plan_plaques(rng: np.random.Generator, head: Brain, total_mm3: float) -> Plan:
    """Draw some 25 lesions, and leave it open which of them are painted, and how large."""
    volumes = _draw_volumes(rng, int(rng.integers(24, 31)), total_mm3)
    places = _draw_places(rng, head, volumes)
    bumps = smooth_field(rng, head.grid.shape, 6 / head.grid.voxel_sizes[0])
    plaques = []
    for volume, (centre, place) in zip(volumes, places, strict=True):
        metric = _stretch(rng, head, centre, place)
        severity = rng.uniform(0, 1)
        flair = 1.5 + 0.4 * severity + rng.normal(0, 0.05)
        t1w = 0.86 - 0.2 * severity + rng.normal(0, 0.04)
        plaques.append(Plaque(centre, metric, float(volume), flair=flair, t1w=t1w))
    return Plan(tuple(plaques), bumps)


def paint_plaques(head: Brain, plan: Plan) -> Plaques:
    """Lay planned lesions into a brain; where two overlap the later one shows."""
    lesions, t1w, flair = (np.zeros(head.grid.shape, dtype=np.float32) for _ in range(3))
    for plaque in plan.plaques:
        box, grown = grow_plaque(head, plaque, plan.bumps)
        lesions[box][grown] = 1
        flair[box][grown] = plaque.flair
        t1w[box][grown] = plaque.t1w
    return _soften(head, lesions, t1w, flair)


def _draw_volumes(rng: np.random.Generator, count: int, total_mm3: float) -> NDArray[np.float64]:
    """Many small lesions and a few large ones, scaled to the total, the largest first."""
    volumes = MEDIAN_MM3 * np.exp(rng.normal(0, 1.0, count))
    for _ in range(20):  # Clipping changes the sum, scaling breaks the bounds: settle between.
        volumes = np.clip(volumes * total_mm3 / volumes.sum(), MINIMUM_MM3, MAXIMUM_MM3)
    return np.sort(volumes)[::-1]


def _draw_places(
    rng: np.random.Generator, head: Brain, volumes: NDArray[np.float64]
) -> list[tuple[Vector, str]]:
    """A centre (voxel index) and a kind of place for each lesion, apart from one another."""
    maps = _place_maps(head)
    step = head.grid.voxel_sizes[0]
    radii = (0.75 * volumes / np.pi) ** (1 / 3) / step
    chosen: list[tuple[Vector, str]] = []
    for n, radius in enumerate(radii):
        # Large lesions are periventricular or deep, as a rule.
        place = "periventricular" if n < 3 else str(rng.choice(PLACES, p=PLACE_SHARES))
        where, weights = maps[place]
        for _ in range(30):
            centre = where[rng.choice(len(where), p=weights)].astype(np.float64)
            room = [
                np.linalg.norm(centre - other) - 1.25 * (radius + radii[m])
                for m, (other, _) in enumerate(chosen)
            ]
            if not room or min(room) > 1:
                break
        chosen.append((centre, place))
    return chosen


def _place_maps(head: Brain) -> dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """For each kind of place, the voxels it may be in and their probabilities."""
    _, y, z = coordinates(head.grid)
    step = head.grid.voxel_sizes[0]
    white = head.white_matter > 0.7
    low = z < TENTORIUM_MM
    upper = white & ~low
    distance = head.ventricle_distance_mm
    cortex = ndimage.gaussian_filter(head.grey_matter, 2.5 / step)
    weights = {
        "periventricular": upper
        * np.exp(-distance / 3)
        * (distance < 12)
        * np.where(z > 4, 1, 0.25),
        "juxtacortical": upper * (distance > 18) * np.clip(cortex - 0.25, 0, 1),
        "deep": upper * (distance > 6) * np.exp(-((distance - 14) ** 2) / 60) * (cortex < 0.15),
        "infratentorial": white * (low & (y < -10)) * np.ones_like(distance),
    }
    maps = {}
    for place, weight in weights.items():
        where = np.argwhere(weight > 1e-4)
        values = weight[tuple(where.T)].astype(np.float64)
        maps[place] = where, values / values.sum()
    return maps


def grow_plaque(
    head: Brain, plaque: Plaque, bumps: Array
) -> tuple[tuple[slice, slice, slice], Mask]:
    """The lesion's bounding box and, within it, the voxels it takes."""
    step = head.grid.voxel_sizes[0]
    count = max(1, round(plaque.volume_mm3 / head.grid.voxel_mm3))
    reach = int(np.ceil(3.2 * (0.75 * plaque.volume_mm3 / np.pi) ** (1 / 3) / step)) + 2
    box = _box(plaque.centre, reach, head.grid.shape)
    offsets = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), -1)
    stretched = (offsets - plaque.centre) @ plaque.metric
    distance = np.linalg.norm(stretched, axis=-1) * (1 + 0.18 * bumps[box])
    distance[head.white_matter[box] <= 0.5] = np.inf
    last = np.partition(distance, count - 1, axis=None)[count - 1]
    return box, _largest_part(distance <= min(last, np.finfo(np.float64).max))


def _largest_part(mask: Mask) -> Mask:
    """Without what lies across a sulcus or a ventricle."""
    return np.asarray(label_lesions(mask) == 1)


def _stretch(rng: np.random.Generator, head: Brain, centre: Vector, place: str) -> Vector:
    """(3, 3): shortens distances along the lesion's long axis."""
    if place == "periventricular":
        axis, ratio = _outward(head, centre), rng.uniform(1.4, 2.2)
    else:
        axis, ratio = rng.normal(size=3), rng.uniform(1.0, 1.5)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    return np.eye(3) - (1 - 1 / ratio) * np.outer(axis, axis)


def _outward(head: Brain, centre: Vector) -> Vector:
    """Direction in which the distance from the ventricles grows."""
    box = _box(centre, 4, head.grid.shape)
    gradient = np.gradient(head.ventricle_distance_mm[box])
    return np.array([float(g.mean()) for g in gradient])


def _box(centre: Vector, reach: int, shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    i, j, k = (
        slice(max(0, int(c) - reach), min(n, int(c) + reach + 1))
        for c, n in zip(centre, shape, strict=True)
    )
    return i, j, k


def _soften(head: Brain, lesions: Array, t1w: Array, flair: Array) -> Plaques:
    """Give lesions soft edges; intensities spread outwards with them."""
    sigma = 0.7 / head.grid.voxel_sizes[0]
    share = ndimage.gaussian_filter(lesions, sigma)
    weight = np.maximum(share, np.float32(1e-6))
    inside = share > 1e-4
    halo = ndimage.gaussian_filter(lesions, 3 / head.grid.voxel_sizes[0]) * head.white_matter
    return Plaques(
        share=share,
        halo=halo,
        t1w=np.where(inside, ndimage.gaussian_filter(t1w, sigma) / weight, 1).astype(np.float32),
        flair=np.where(inside, ndimage.gaussian_filter(flair, sigma) / weight, 1).astype(
            np.float32
        ),
    )
