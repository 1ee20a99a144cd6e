"""The space half way between two visits, where both have moved alike.

Comparing one visit on the other's grid would blur only one of them, and blurred edges look like
shrunken lesions. So each visit travels half of the way. The grid has 1 mm voxels and the template's
orientation, but is not stretched to it: volumes are the patient's own.

Source: Reuter et al., NeuroImage 61 (2012) 1402-1418 (half-way space; inverse consistency).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import polar, sqrtm

from dlb_core.preprocessing.registration import register_rigid
from dlb_core.volume import Affine, Grid, Mask, Volume

_CORNER = np.eye(4)
_CORNER[:3, 3] = -92, -128, -74
HALF_WAY_GRID = Grid((185, 221, 185), _CORNER)
"""World mm, RAS+; the brain's centre lies where the template's does. Not MNI space."""

BRAIN_CENTRE = np.array([0.0, -18.0, 8.0])
"""MNI mm."""


@dataclass(frozen=True, slots=True, eq=False)
class HalfWay:
    """How two visits' FLAIRs get to the half-way space."""

    first: Affine
    second: Affine
    """(4, 4), FLAIR world mm -> half-way world mm; both rigid."""
    disagreement_mm: float
    """Between registering the first to the second and the second to the first: the mean over the
    brain."""


def meet_half_way(
    first: Volume,
    first_brain: Mask,
    second: Volume,
    second_brain: Mask,
    *,
    to_mni: tuple[Affine, Affine],
) -> HalfWay:
    """Register two FLAIRs to one another, and place the space half way.

    Parameters
    ----------
    first, second : Volume
        Native FLAIRs.
    first_brain, second_brain : (I, J, K) bool
    to_mni : (4, 4), (4, 4)
        FLAIR world mm -> MNI world mm, of either visit: they decide the orientation.

    Raises
    ------
    StageFailed
        The registration diverged.
    """
    forward = register_rigid(first, first_brain, second, second_brain)
    backward = register_rigid(second, second_brain, first, first_brain)
    between = middle(forward, np.linalg.inv(backward))
    half = _root(between)
    back = np.linalg.inv(half)
    upright = _upright((to_mni[0] @ back + to_mni[1] @ half) / 2)
    return HalfWay(
        upright @ half,
        upright @ back,
        _distance_mm(forward, np.linalg.inv(backward), first, first_brain),
    )


def middle(one: Affine, other: Affine) -> Affine:
    """The rigid transform half way between two."""
    return np.asarray(one @ _root(np.linalg.inv(one) @ other))


def _root(rigid: Affine) -> Affine:
    """The transform that, done twice, is this one."""
    return np.real(np.asarray(sqrtm(rigid)))


def _upright(to_mni: Affine) -> Affine:
    """The rigid transform that turns the head as an affine one does, and centres the brain."""
    rotation, _ = polar(to_mni[:3, :3])
    centre = (np.linalg.inv(to_mni) @ [*BRAIN_CENTRE, 1])[:3]
    rigid = np.eye(4)
    rigid[:3, :3] = rotation
    rigid[:3, 3] = BRAIN_CENTRE - rotation @ centre
    return rigid


def _distance_mm(one: Affine, other: Affine, volume: Volume, mask: Mask) -> float:
    points = np.argwhere(mask)[::997] @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return float(np.linalg.norm(_moved(points, one) - _moved(points, other), axis=1).mean())


def _moved(points: NDArray[np.float64], transform: Affine) -> NDArray[np.float64]:
    return np.asarray(points @ transform[:3, :3].T + transform[:3, 3], dtype=np.float64)
