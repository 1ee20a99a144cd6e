"""The intracranial volume, and when there is none."""

import numpy as np
import pytest

from dlb_core.contracts import InputState
from dlb_core.report.document import IntracranialGap
from dlb_core.tissue import Intracranial, brain_volume_ml, intracranial_volume
from dlb_core.volume import Grid, Mask

SHAPE = (60, 70, 80)


def ball(centre: tuple[float, float, float] = (30, 35, 40), radius: float = 25) -> Mask:
    """A head's inside, in voxels."""
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
    return np.asarray(squared <= radius**2)


def grid(*voxel_mm: float) -> Grid:
    """Of the T1w, oblique and with one axis turned over, as scanners store them."""
    angle = np.deg2rad(12)
    turned = [
        [-np.cos(angle), np.sin(angle), 0],
        [np.sin(angle), np.cos(angle), 0],
        [0, 0, 1],
    ]
    affine = np.eye(4)
    affine[:3, :3] = np.array(turned) * voxel_mm
    return Grid(SHAPE, affine)


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.1])
def test_a_head_of_another_size_has_its_cube(scale: float) -> None:
    """A ball of 75 mm radius: 4/3 pi 75 x 75 x 75 mm3 at scale 1, 1767 ml."""
    found = intracranial_volume(
        ball(), grid(3 * scale, 3 * scale, 3 * scale), input_state=InputState.RAW
    )

    assert found.volume_ml == pytest.approx(1767 * scale**3, rel=0.01)
    assert found.gap is None


def test_nobody_knows_where_a_stripped_image_was_cut() -> None:
    """The mask may be of the brain alone: called intracranial, it would make loads too large."""
    found = intracranial_volume(ball(), grid(3, 3, 3), input_state=InputState.SKULL_STRIPPED)

    assert found == Intracranial(gap=IntracranialGap.SKULL_STRIPPED)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_head_that_the_scan_cuts_off_has_none(axis: int, side: int) -> None:
    """What lies beyond the first or last slice is missing from the mask, however it is stored."""
    centre = np.array([30, 35, 40])
    centre[axis] = 12 if side < 0 else SHAPE[axis] - 12

    found = intracranial_volume(ball(tuple(centre)), grid(3, 3, 3), input_state=InputState.RAW)

    assert found == Intracranial(gap=IntracranialGap.FIELD_OF_VIEW)


@pytest.mark.parametrize(("radius_mm", "whole"), [(11, True), (24, False)])
def test_the_cord_may_leave_the_image(radius_mm: float, whole: bool) -> None:
    """Every scan ends somewhere in the neck; 3.8 cm2 of cord are no head, 18 cm2 are."""
    mask = ball()
    x, y = np.ogrid[: SHAPE[0], : SHAPE[1]]
    mask[(x - 30) ** 2 + (y - 35) ** 2 <= (radius_mm / 3) ** 2, :20] = True

    found = intracranial_volume(mask, grid(3, 3, 3), input_state=InputState.RAW)

    assert (found.volume_ml is not None) is whole


def test_brain_volume_counts_the_t1ws_own_voxels() -> None:
    """Slices are often thicker than voxels are wide."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:2, :4, :4] = True

    assert brain_volume_ml(mask, grid(5, 5, 4)) == pytest.approx(3.2)
