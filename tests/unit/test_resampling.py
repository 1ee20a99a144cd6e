"""Moving images between spaces."""

import numpy as np
import pytest

from dlb_core.resampling import resample, to_native
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Affine, Grid, Volume
from tests.unit.images import SHAPE, centred_affine, oblique_affine, rigid


def _world(grid: Grid) -> np.ndarray:
    """World mm of every voxel, (I, J, K, 3)."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def _linear(points: np.ndarray) -> np.ndarray:
    """A function of world mm that linear interpolation reproduces exactly."""
    return 500 + points @ np.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize(
    "transform", [np.eye(4), rigid((0, 0, 0), (7, -3, 11)), rigid((10, -20, 30), (5, 5, -5))]
)
def test_values_land_where_the_transform_sends_them(order: int, transform: Affine) -> None:
    """A sign or an order of multiplication wrong anywhere shows in a function of the place."""
    grid = Grid(SHAPE, oblique_affine())
    volume = Volume(_linear(_world(grid)).astype(np.float32), grid.affine)
    # Within the source wherever it is sent.
    target = Grid(
        (10, 9, 8), transform @ rigid((3, 4, 5), (30, -20, 10)) @ centred_affine((10, 9, 8), 5)
    )

    sampled = resample(volume, target, transform, order=order)

    back = np.linalg.inv(transform)
    expected = _linear(_world(target) @ back[:3, :3].T + back[:3, 3])
    np.testing.assert_allclose(sampled, expected, rtol=2e-3 if order == 3 else 1e-5)


def test_outside_of_the_source_is_zero() -> None:
    """Beyond the field of view nothing is known."""
    volume = Volume(np.ones(SHAPE, np.float32), centred_affine())

    sampled = resample(volume, Grid((4, 4, 4), rigid(shift_mm=(500, 0, 0))), np.eye(4))

    assert not sampled.any()


def test_the_way_to_mni_and_back_returns_the_mask() -> None:
    """Native masks come from MNI masks: left must stay left, and the volume must hold."""
    native_to_mni = rigid((6, -9, 4), (12, 30, -25)) @ np.diag([1.1, 1.15, 1.05, 1.0])
    grid = Grid(
        (200, 220, 60),
        rigid((5, 5, 0), (-5, -20, 20))
        @ np.diag([-1, -1, 1, 1.0])
        @ np.diag([1, 1, 3, 1.0])
        @ rigid(shift_mm=(-100, -110, -30)),
    )
    lesion = np.zeros(MNI_GRID.shape, np.float32)
    lesion[110:122, 90:104, 85:97] = 1  # on the patient's right

    native = to_native(lesion, grid, native_to_mni) >= 0.5

    again = resample(Volume(native.astype(np.float32), grid.affine), MNI_GRID, native_to_mni) >= 0.5
    both = (again & (lesion > 0)).sum()
    assert 2 * both / (again.sum() + lesion.sum()) > 0.9
    expected_mm3 = lesion.sum() / np.linalg.det(native_to_mni[:3, :3])
    assert native.sum() * grid.voxel_mm3 == pytest.approx(expected_mm3, rel=0.1)


def test_one_step_is_sharper_than_two() -> None:
    """Why transforms are composed before the one interpolation."""
    image = Volume(load_template().t1w[60:120, 60:140, 60:120], MNI_GRID.affine)
    first, second = rigid((3, 0, 0), (0.5, 0.3, 0.4)), rigid((0, 4, 0), (0.4, 0.5, 0.3))
    grid = Grid((60, 80, 60), MNI_GRID.affine)
    back = np.linalg.inv(second @ first)

    once = resample(image, grid, second @ first)
    twice = resample(Volume(resample(image, grid, first), grid.affine), grid, second)

    def loss(sampled: np.ndarray) -> float:
        returned = resample(Volume(sampled, grid.affine), grid, back)
        inner = np.s_[15:-15, 15:-15, 15:-15]
        return float(np.abs(returned - image.data)[inner].mean())

    assert loss(once) < 0.8 * loss(twice)
