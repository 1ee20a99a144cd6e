"""Build a synthetic person's head round the template's brain.

The brain is the template's, bent by a smooth random field so that no affine transform fits it
exactly. Skull, scalp, face and neck are drawn round it from distances and a few ellipsoids: they
need not be right, only enough like a head that every step of preprocessing has real work to do.

Arrays lie on the head grid: 1 mm (or coarser), RAS, MNI world mm, large enough for a head.
Intensities are relative to normal white matter = 1.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.synthesis.fields import Array, smooth_field
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Grid, Mask, Shape

Tissues = NDArray[np.uint8]

BEFORE = (24, 24, 44)
AFTER = (24, 32, 16)
"""Millimetres that the head grid adds to the MNI grid: left, back, below; right, front, above."""

DISTANCE_STEP_MM = 2
"""Distances are smooth: they are computed on every second voxel and interpolated."""


class Tissue(IntEnum):
    """What fills the head outside the brain."""

    AIR = 0
    FLUID = 1
    BONE = 2
    MARROW = 3
    MUSCLE = 4
    FAT = 5
    SKIN = 6
    EYE = 7
    MUCOSA = 8
    CORD = 9


@dataclass(frozen=True, slots=True, eq=False)
class Brain:
    """One person's brain without the head round it."""

    grid: Grid
    brain: Mask
    white_matter: Array
    grey_matter: Array
    fluid: Array
    """Shares of each brain voxel; the three add up to 1 within the brain."""
    ventricle_distance_mm: Array
    """From the lateral ventricles."""
    texture: Array
    """The template's T1w relative to what its tissues predict: deep nuclei and the like."""


@dataclass(frozen=True, slots=True, eq=False)
class Head(Brain):
    """One person's anatomy on the head grid."""

    surroundings: Tissues
    """A `Tissue` wherever there is no brain."""


def build_head(rng: np.random.Generator, step: int = 1) -> Head:
    """Draw one person.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides the shape.
    step : int
        Voxel size of the head grid in mm; tests use a coarse one.

    Returns
    -------
    Head
    """
    brain, envelope = _build(rng, widened_grid(step, before=BEFORE, after=AFTER))
    surroundings = _surroundings(rng, brain.grid, brain.brain, envelope, _distance_step(brain.grid))
    shared = {field.name: getattr(brain, field.name) for field in fields(Brain)}
    return Head(**shared, surroundings=surroundings)


def build_brain(rng: np.random.Generator, grid: Grid) -> Brain:
    """Draw one person's brain alone, which is quicker.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides the shape.
    grid : Grid
        Axis-aligned, isotropic, in MNI world mm.

    Returns
    -------
    Brain
    """
    return _build(rng, grid)[0]


def _build(rng: np.random.Generator, grid: Grid) -> tuple[Brain, Array]:
    """The brain, and the signed distance from its envelope."""
    t1w, grey, white, brain = _bent_template(rng, grid)
    white, grey, fluid = _crisp(white, grey, brain)
    step, coarse = round(grid.voxel_sizes[0]), _distance_step(grid)
    envelope = _envelope_distance(brain, coarse, step)
    ventricles = _ventricles(fluid, envelope, grid)
    expected = 0.98 * white + 0.72 * grey + 0.28 * fluid
    texture = np.where(brain, np.clip(t1w / np.maximum(expected, 0.2), 0.8, 1.2), 1)
    anatomy = Brain(
        grid=grid,
        brain=brain,
        white_matter=white,
        grey_matter=grey,
        fluid=fluid,
        ventricle_distance_mm=_distance_from(ventricles, coarse, step),
        texture=texture.astype(np.float32),
    )
    return anatomy, envelope


def _distance_step(grid: Grid) -> int:
    """How many voxels of a grid apart distances are computed."""
    return max(1, DISTANCE_STEP_MM // round(grid.voxel_sizes[0]))


def widened_grid(step: int, *, before: Shape = (0, 0, 0), after: Shape = (0, 0, 0)) -> Grid:
    """The MNI grid every `step` mm, with so many mm added at its low and its high ends."""
    low, high = np.array(before), np.array(after)
    i, j, k = (int(n) for n in -(-(np.array(MNI_GRID.shape) + low + high) // step))
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = MNI_GRID.affine[:3, 3] - low
    return Grid((i, j, k), affine)


def coordinates(grid: Grid) -> tuple[Array, Array, Array]:
    """World mm along x, y and z of an axis-aligned grid, ready to broadcast."""
    x, y, z = (
        (grid.affine[a, 3] + grid.affine[a, a] * np.arange(grid.shape[a])).astype(np.float32)
        for a in range(3)
    )
    return x[:, None, None], y[None, :, None], z[None, None, :]


def _bent_template(rng: np.random.Generator, grid: Grid) -> tuple[Array, Array, Array, Mask]:
    """The template's T1w (white matter near 1), tissue maps and brain mask, deformed."""
    template = load_template()
    index = np.linalg.inv(MNI_GRID.affine) @ grid.affine
    step = grid.voxel_sizes[0]
    where = np.indices(grid.shape, dtype=np.float32)
    for axis in range(3):
        where[axis] *= np.float32(index[axis, axis])
        where[axis] += np.float32(index[axis, 3])
        # Lobes differ by millimetres between people, gyri by about one more.
        where[axis] += 1.6 * smooth_field(rng, grid.shape, 45 / step)
        where[axis] += 0.5 * smooth_field(rng, grid.shape, 18 / step)

    def bent(image: NDArray[np.float32]) -> Array:
        moved = ndimage.map_coordinates(image, where, order=1, mode="constant")
        return np.asarray(moved, dtype=np.float32)

    white_level = float(np.median(template.t1w[template.white_matter > 0.9]))
    brain = bent(template.brain_mask.astype(np.float32)) > 0.5
    return (
        bent(template.t1w / np.float32(white_level)),
        bent(template.grey_matter),
        bent(template.white_matter),
        brain,
    )


def _crisp(white: Array, grey: Array, brain: Mask) -> tuple[Array, Array, Array]:
    """Undo the template's averaging: one tissue dominates most voxels of one person's brain."""
    fluid = np.clip(1 - white - grey, 0, 1)
    # Sulci vanish in an average of many brains, so fluid gets a head start.
    powers = [np.float32(gain) * share**3 for gain, share in ((1, white), (1, grey), (4, fluid))]
    total = np.maximum(sum(powers), np.float32(1e-6))
    w, g, f = (np.where(brain, power / total, 0).astype(np.float32) for power in powers)
    return w, g, f


def _distance_from(mask: Mask, coarse: int, step: int) -> Array:
    """Millimetres to the nearest voxel of `mask`, interpolated from every `coarse`-th voxel."""
    small = mask[::coarse, ::coarse, ::coarse]
    distance = ndimage.distance_transform_edt(~small) * (coarse * step)
    return _enlarge(distance.astype(np.float32), mask.shape, coarse)


def _signed_distance(inside: Mask, spacing: float) -> Array:
    outer = ndimage.distance_transform_edt(~inside)
    inner = ndimage.distance_transform_edt(inside)
    return np.asarray((outer - inner) * spacing, dtype=np.float32)


def _enlarge(image: Array, shape: tuple[int, ...], factor: int) -> Array:
    """Interpolate an image of every `factor`-th voxel back to all of them."""
    if factor == 1:
        return image
    full = ndimage.affine_transform(
        image, np.full(3, 1 / factor), output_shape=shape, order=1, mode="nearest"
    )
    return np.asarray(full, dtype=np.float32)


def _envelope_distance(brain: Mask, coarse: int, step: int) -> Array:
    """Signed distance in mm (negative inside) from the brain with its fissures filled in."""
    reach = 14.0
    spacing = float(coarse * step)
    small = brain[::coarse, ::coarse, ::coarse]
    grown = ndimage.distance_transform_edt(~small) * spacing <= reach
    filled = (ndimage.distance_transform_edt(grown) * spacing > reach) | small
    smooth = ndimage.gaussian_filter(_signed_distance(filled, spacing), 3 / spacing)
    return _enlarge(smooth, brain.shape, coarse)


def _ventricles(fluid: Array, envelope: Array, grid: Grid) -> Mask:
    """The lateral ventricles: fluid deep in the brain, near the middle."""
    x, _, z = coordinates(grid)
    return np.asarray((fluid > 0.5) & (envelope < -22) & (np.abs(x) < 34) & (z > -14))


def _ellipsoid(
    grid: Grid, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> Array:
    """Relative distance from a centre, 1 on the ellipsoid's surface (squared)."""
    parts = ((p - c) / r for p, c, r in zip(coordinates(grid), centre, radii, strict=True))
    return np.asarray(sum(part**2 for part in parts), dtype=np.float32)


def _outer_surface(grid: Grid, envelope: Array, coarse: int) -> Array:
    """Depth in mm below the skin, positive inside the head."""
    x, y, z = coordinates(grid)
    face = _ellipsoid(grid, (0, 26, -66), (66, 60, 76)) < 1
    nose = _ellipsoid(grid, (0, 84, -66), (13, 20, 24)) < 1
    neck = ((x / 58) ** 2 + ((y + 28) / 62) ** 2 < 1) & (z < -30)
    head = (envelope < 14) | face | nose | neck
    spacing = coarse * grid.voxel_sizes[0]
    small = head[::coarse, ::coarse, ::coarse]
    depth = ndimage.gaussian_filter(-_signed_distance(small, spacing), 4 / spacing)
    return _enlarge(depth, head.shape, coarse)


def _surroundings(
    rng: np.random.Generator, grid: Grid, brain: Mask, envelope: Array, coarse: int
) -> Tissues:
    """Everything that is not brain: fluid, skull, scalp, face, neck."""
    depth = _outer_surface(grid, envelope, coarse)
    noise = smooth_field(rng, grid.shape, 22 / grid.voxel_sizes[0])
    fat_mm = 5.5 + 1.2 * noise
    tissues = np.full(grid.shape, Tissue.AIR, dtype=np.uint8)
    tissues[depth > 0] = Tissue.SKIN
    tissues[depth > 1.8] = Tissue.FAT
    tissues[depth > fat_mm] = Tissue.MUSCLE
    _add_face(tissues, grid)
    _add_skull(tissues, envelope, noise)
    _add_neck(tissues, grid)
    tissues[brain] = Tissue.FLUID
    return tissues


def _add_skull(tissues: Tissues, envelope: Array, noise: Array) -> None:
    """Fluid over the brain, then bone with marrow between its tables."""
    fluid_mm = 1.6 + 0.5 * noise
    bone_mm = 6.0 - 1.2 * noise
    across = (envelope - fluid_mm) / bone_mm
    tissues[across < 1] = Tissue.BONE
    tissues[(across > 0.32) & (across < 0.7)] = Tissue.MARROW
    tissues[across < 0] = Tissue.FLUID


def _add_face(tissues: Tissues, grid: Grid) -> None:
    """Orbits with their fat, nose and sinuses."""
    inside = tissues != Tissue.AIR
    for side in (-1, 1):
        tissues[inside & (_ellipsoid(grid, (side * 30, 46, -42), (17, 30, 16)) < 1)] = Tissue.FAT
        tissues[inside & (_ellipsoid(grid, (side * 30, 42, -42), (4, 24, 4)) < 1)] = Tissue.MUSCLE
        tissues[inside & (_ellipsoid(grid, (side * 32, 62, -42), (12, 12, 12)) < 1)] = Tissue.EYE
        sinus = _ellipsoid(grid, (side * 30, 46, -76), (15, 18, 16))
        tissues[inside & (sinus < 1)] = Tissue.MUCOSA
        tissues[inside & (sinus < 0.8)] = Tissue.AIR
        air_cells = _ellipsoid(grid, (side * 54, -34, -48), (11, 14, 16))
        tissues[inside & (air_cells < 1)] = Tissue.AIR
    x, _, _ = coordinates(grid)
    nose = inside & (_ellipsoid(grid, (0, 56, -66), (13, 30, 22)) < 1)
    tissues[nose] = Tissue.AIR
    # Septum and conchae: sheets of mucosa through the nasal air.
    tissues[nose & (np.cos(x * np.float32(np.pi / 3)) > 0.3)] = Tissue.MUCOSA


def _add_neck(tissues: Tissues, grid: Grid) -> None:
    """Spine with its canal, cord and airway, below the brain stem."""
    x, y, z = coordinates(grid)

    def column(centre_y: float, radius_x: float, radius_y: float, top: float) -> Mask:
        across = (x / radius_x) ** 2 + ((y - centre_y) / radius_y) ** 2
        return np.asarray((across < 1) & (z < top))

    tissues[column(-46, 24, 16, -78)] = Tissue.BONE
    tissues[column(-24, 13, 10, -78)] = Tissue.BONE
    tissues[column(-24, 11, 8, -80) & ((z % 17) > 4)] = Tissue.MARROW
    tissues[column(-43, 11, 10, -66)] = Tissue.FLUID
    tissues[column(-43, 6.5, 5.5, -69)] = Tissue.CORD
    tissues[column(2, 10, 7, -62)] = Tissue.AIR
