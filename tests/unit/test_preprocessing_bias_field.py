"""N4."""

import numpy as np

from dlb_core.preprocessing.bias_field import correct_bias
from dlb_core.template import load_coarse_t1w
from dlb_core.volume import Volume


def _unevenness(image: np.ndarray, true: np.ndarray, mask: np.ndarray) -> float:
    """Spread of the remaining field, relative."""
    ratio = image[mask] / true[mask]
    return float(ratio.std() / ratio.mean())


def test_a_smooth_field_is_divided_out() -> None:
    """Uncorrected, white matter near a coil is as bright as a lesion far from it."""
    template = load_coarse_t1w()
    brain = template.data > 0.4
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in template.data.shape), indexing="ij")
    field = np.exp(0.3 * x - 0.2 * y**2 + 0.25 * z)
    lit = Volume((500 * template.data * field).astype(np.float32), template.affine)

    even = correct_bias(lit, brain)

    assert even.data.dtype == np.float32
    assert not even.data[~brain].any()
    before = _unevenness(lit.data, template.data, brain)
    assert _unevenness(even.data, template.data, brain) < 0.4 * before


def test_zeros_within_the_brain_are_no_obstacle() -> None:
    """Clipped voxels have no logarithm; one infinity would spoil the whole field."""
    template = load_coarse_t1w()
    brain = template.data > 0.4
    holed = template.data.copy()
    holed[40:44, 50:54, 40:44] = 0

    even = correct_bias(Volume(holed, template.affine), brain)

    assert np.isfinite(even.data).all()
    assert not even.data[40:44, 50:54, 40:44].any()
