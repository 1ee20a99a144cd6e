"""Lateral ventricles, cerebral cortex and infratentorial brain on the MNI grid.

Made by rule from the installed template, so that nothing is shipped or downloaded for it:

- **Lateral ventricles**: fluid of the template (dark T1w, no tissue) connected with a seed in
  each ventricle's body, within a box that keeps it from the cisterns; the inferior and occipital
  horns, which are slits too thin for the template, as tubes along points set by hand.
- **Cortex**: large pieces of grey matter outside boxes that hold the deep grey matter, and not
  infratentorial.
- **Infratentorial**: cerebellum by a watershed from hand-set seeds on either side of the
  tentorium, over a landscape that is high where tissue is not; the brainstem as the tissue below a
  plane from the posterior commissure to behind the mammillary bodies.
- **Posterior fossa**: these, and below the midbrain what is no tissue and lies nearer to them than
  to the rest of the brain, since only an affine joins template and patient.

Coordinates are MNI152 world mm, given for the right side and mirrored: the template is symmetric.
They were set and checked by eye on it (docs/report.md).
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from dlb_core.template import MNI_GRID, Template, load_template
from dlb_core.volume import Mask

PointMm = tuple[float, float, float]

FLUID_T1W = 0.5
"""Fluid is darker than this; of the template's maximum."""

LIKELY, POSSIBLE = 0.5, 0.4
"""Grey matter's share in the template that makes a voxel likely, or possible, cortex."""

_VENTRICLE_SEEDS = ((10, -10, 25), (25, -42, 10))
_VENTRICLE_BOX = ((-46, 46), (-62, 40), (-26, 36))
_INFERIOR_HORN = (
    (35, -40, -4),
    (37, -36, -7),
    (38, -28, -12),
    (38, -20, -16),
    (36.5, -12, -21),
    (33, -8, -23),
)
_OCCIPITAL_HORN = ((31, -51, 5), (30, -58, 5), (28, -64, 6))
_HORN_RADIUS_MM = 1.5

_TOP_OF_LANDSCAPE_MM = 12
_INFRATENTORIAL_SEEDS = (
    (25, -60, -38),
    (40, -60, -38),
    (20, -75, -35),
    (30, -45, -42),
    (12, -60, -20),
    (8, -50, -12),
    (14, -42, -34),
    (30, -70, -30),
    (20, -55, -28),
    (6, -70, -20),
    (42, -50, -32),
    (45, -65, -32),
    (0, -28, -30),
    (0, -38, -50),
    (0, -55, -5),
    (0, -45, -62),
)
_SUPRATENTORIAL_SEEDS = (
    (50, -30, -20),
    (40, -45, -14),
    (35, -60, -10),
    (25, -75, -8),
    (15, -85, -6),
    (28, -20, -20),
    (40, 0, -30),
    (30, -35, -12),
    (55, -50, -15),
    (45, -70, -8),
    (12, -70, 2),
    (22, -45, -6),
    (25, -5, -25),
    (30, -90, -8),
    (14, -18, 6),
    (25, 0, 0),
    (20, 40, -10),
    (22, -30, -18),
    (10, -50, 6),
    (35, -80, -14),
    (50, -58, -18),
    (33, -40, -20),
    (12, -92, -8),
    (20, 10, -30),
    (45, -20, -28),
)
_SEED_RADIUS_MM = 3.0
_BRAINSTEM_BOXES = (((-17, 17), (-44, -8), (-72, -7)), ((-9, 9), (-40, -20), (-7, 0)))
_BRAINSTEM_PLANE = ((-28, -1), (-10, -14))
"""(y, z) of the posterior commissure and of behind the mammillary bodies."""

_TOP_OF_FOSSA_MM = -15
"""Below the midbrain: further up, what lies between the tissues may be the thalamus's."""

_SMALLEST_CORTEX_MM3 = 5000
_DEEP_GREY_BOXES = (
    ((-24, 24), (-24, 14), (-14, -8)),
    ((-33, 33), (-36, 20), (-8, 8)),
    ((-30, 30), (-36, 20), (8, 24)),
)


@dataclass(frozen=True, slots=True, eq=False)
class LocationAtlas:
    """Masks on `MNI_GRID`, shared by all callers, and read-only."""

    ventricles: Mask
    """Lateral ventricles, their thin horns included."""
    horns: Mask
    """The thin horns alone."""
    other_fluid: Mask
    """Fluid of the template outside the lateral ventricles."""
    cortex: Mask
    """Where cerebral cortex is likelier than not."""
    possible_cortex: Mask
    """Where it may be."""
    infratentorial: Mask
    """Brainstem and cerebellum."""
    posterior_fossa: Mask
    """These with their surroundings."""


@cache
def location_atlas() -> LocationAtlas:
    """The masks made from the installed template.

    Raises
    ------
    TemplateCorrupt
        The template is missing or is not the one we know.
    """
    template = load_template()
    fluid = _fluid(template)
    body = _ventricle_bodies(fluid)
    horns = _tube(_INFERIOR_HORN) | _tube(_OCCIPITAL_HORN)
    infratentorial = _infratentorial(template)
    masks = (
        body | horns,
        horns,
        fluid & ~body & ~horns,
        _cortex(template, infratentorial, LIKELY),
        _cortex(template, infratentorial, POSSIBLE),
        infratentorial,
        _posterior_fossa(template, infratentorial),
    )
    for mask in masks:
        mask.setflags(write=False)
    return LocationAtlas(*masks)


def _fluid(template: Template) -> Mask:
    dark = (template.t1w > 0) & (template.t1w < FLUID_T1W)
    return np.asarray(dark & (template.grey_matter < 0.5) & (template.white_matter < 0.2))


def _ventricle_bodies(fluid: Mask) -> Mask:
    """What is connected with the seeds; the third ventricle and the cisterns are cut off."""
    x, _, z = _axes()
    third = (abs(x) <= 4) & (z <= 6)
    ambient = (abs(x) < 18) & (z < -2)
    labels, _ = ndimage.label(fluid & _in_boxes(_VENTRICLE_BOX) & ~third & ~ambient)
    found = {int(labels[_index(seed)]) for point in _VENTRICLE_SEEDS for seed in _both(point)}
    return np.asarray(np.isin(labels, sorted(found - {0})))


def _cortex(template: Template, infratentorial: Mask, least: float) -> Mask:
    """Large pieces only: the caudate's rim and the like are grey matter, but no cortex."""
    grey = (template.grey_matter >= least) & ~infratentorial & ~_in_boxes(*_DEEP_GREY_BOXES)
    labels, _ = ndimage.label(grey)
    large = np.bincount(labels.ravel()) >= _SMALLEST_CORTEX_MM3
    large[0] = False
    return np.asarray(large[labels])


def _infratentorial(template: Template) -> Mask:
    (y0, z0), (y1, z1) = _BRAINSTEM_PLANE
    _, y, z = _axes()
    below = z <= z0 + (y - y0) * (z1 - z0) / (y1 - y0)
    tissue = template.grey_matter + template.white_matter >= 0.5
    return _cerebellum(template) | (tissue & below & _in_boxes(*_BRAINSTEM_BOXES))


def _cerebellum(template: Template) -> Mask:
    """Every second voxel is enough for the tentorium, and eight times as fast."""
    top = _index((0, 0, _TOP_OF_LANDSCAPE_MM))[2]
    part = np.s_[::2, ::2, :top:2]
    t1w = template.t1w[part]
    tissue = template.grey_matter[part] + template.white_matter[part]
    landscape = ndimage.gaussian_filter(1 - np.minimum(tissue, 1) + 0.5 * (1 - t1w), 0.5)
    seeds = np.zeros(MNI_GRID.shape, dtype=np.int32)
    for value, points in ((2, _SUPRATENTORIAL_SEEDS), (1, _INFRATENTORIAL_SEEDS)):
        for point in points:
            for seed in _both(point):
                seeds[_ball(seed, _SEED_RADIUS_MM)] = value
    coarse = watershed(landscape, seeds[part], mask=t1w > 0) == 1
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    mask = np.zeros(MNI_GRID.shape, dtype=bool)
    mask[:, :, :top] = fine[: MNI_GRID.shape[0], : MNI_GRID.shape[1], :top]
    # Doubling moved the edge by one voxel to one side.
    return (mask | mask[::-1]) & (template.t1w > 0)


def _posterior_fossa(template: Template, infratentorial: Mask) -> Mask:
    """Every second voxel is enough here, too."""
    part = np.s_[::2, ::2, : _index((0, 0, 0))[2] : 2]
    tissue = template.grey_matter[part] + template.white_matter[part] >= 0.5
    tissue |= infratentorial[part]
    nearest = ndimage.distance_transform_edt(~tissue, return_distances=False, return_indices=True)
    around = infratentorial[part][tuple(nearest)] & ~tissue
    fine = around.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    top = _index((0, 0, _TOP_OF_FOSSA_MM))[2]
    mask = infratentorial.copy()
    mask[:, :, :top] |= fine[: MNI_GRID.shape[0], : MNI_GRID.shape[1], :top]
    # Doubling moved the edge, and may have taken tissue of the brain above with it.
    above = (template.grey_matter + template.white_matter >= 0.5) & ~infratentorial
    return (mask | mask[::-1]) & ~above


def _tube(points: tuple[PointMm, ...]) -> Mask:
    """All within `_HORN_RADIUS_MM` of a line through the points, on both sides."""
    mask = np.zeros(MNI_GRID.shape, dtype=bool)
    for start, stop in pairwise(points):
        for share in np.linspace(0, 1, 10):
            x, y, z = (a + share * (b - a) for a, b in zip(start, stop, strict=True))
            for point in _both((x, y, z)):
                mask[_ball(point, _HORN_RADIUS_MM)] = True
    return mask


def _ball(centre: PointMm, radius_mm: float) -> tuple[NDArray[np.intp], ...]:
    """Indices of the voxels within a ball."""
    reach = int(np.ceil(radius_mm)) + 1
    middle = np.array(_index(centre))
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1)
    voxels = middle + steps.reshape(-1, 3)
    offset = voxels + MNI_GRID.affine[:3, 3] - np.array(centre)
    inside = voxels[(offset**2).sum(axis=1) <= radius_mm**2]
    return tuple(inside.T)


def _both(point: PointMm) -> tuple[PointMm, ...]:
    x, y, z = point
    return (point,) if x == 0 else (point, (-x, y, z))


def _index(point: PointMm) -> tuple[int, int, int]:
    i, j, k = (round(mm - first) for mm, first in zip(point, MNI_GRID.affine[:3, 3], strict=True))
    return i, j, k


def _axes() -> tuple[NDArray[np.float64], ...]:
    """World coordinates of the grid's voxels, mm; they broadcast."""
    return np.meshgrid(
        *(
            first + np.arange(n)
            for first, n in zip(MNI_GRID.affine[:3, 3], MNI_GRID.shape, strict=True)
        ),
        indexing="ij",
        sparse=True,
    )


def _in_boxes(*boxes: tuple[tuple[float, float], ...]) -> Mask:
    """What lies in any of the boxes, limits included."""
    mask = np.zeros(MNI_GRID.shape, dtype=bool)
    for box in boxes:
        inside = [
            (low <= axis) & (axis <= high) for axis, (low, high) in zip(_axes(), box, strict=True)
        ]
        mask |= inside[0] & inside[1] & inside[2]
    return mask
