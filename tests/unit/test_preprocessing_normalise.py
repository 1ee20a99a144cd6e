"""White matter to 1."""

import numpy as np
import pytest

from dlb_core.errors import ImplausibleImage
from dlb_core.preprocessing.normalise import normalise_pair, white_matter_mode
from dlb_core.template import load_template
from tests.unit.images import flair_contrast


def _sample(*parts: tuple[float, float, int]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(*part) for part in parts]).astype(np.float32)


def test_the_mode_is_the_commonest_intensity() -> None:
    """A mean would be drawn off by the tail of lesions and fluid."""
    mode = white_matter_mode(_sample((600, 20, 50_000), (300, 100, 10_000)))

    assert mode.value == pytest.approx(600, rel=0.01)
    assert not mode.ambiguous


def test_two_peaks_of_similar_height_are_ambiguous() -> None:
    """Then the one nearest to the median is taken, and the caller is told."""
    mode = white_matter_mode(_sample((600, 20, 30_000), (400, 20, 28_000)))

    assert mode.ambiguous
    assert mode.value == pytest.approx(600, rel=0.02)


def test_ripples_on_one_peak_are_not_ambiguous() -> None:
    """Stored integers make a comb of the histogram."""
    assert not white_matter_mode(np.round(_sample((40, 2, 50_000)))).ambiguous


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """The template's brain with noise: T1w white matter at 700, FLAIR at 90."""
    rng = np.random.default_rng(1)
    template = load_template()
    noise = rng.normal(1, 0.03, (2, *template.t1w.shape)).astype(np.float32)
    t1w = template.white_matter + 0.75 * template.grey_matter + 0.1 * template.brain_mask
    return 700 / 1.1 * t1w * noise[0], 90 * flair_contrast() * noise[1]


def _normalise(t1w: np.ndarray, flair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    template = load_template()
    t1w, flair, _, _ = normalise_pair(
        t1w, flair, brain_mask=template.brain_mask, white_matter=template.white_matter
    )
    return t1w, flair


def test_white_matter_comes_to_one(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Whatever units the scanner used; and nothing is left outside the brain."""
    template = load_template()
    for image in _normalise(*pair):
        assert np.median(image[template.white_matter > 0.98]) == pytest.approx(1, abs=0.02)
        assert not image[~template.brain_mask].any()
        assert image.dtype == np.float32


def test_lesions_and_large_ventricles_do_not_move_the_scale(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    """A third of the white matter replaced: the scale must not follow the disease."""
    t1w, flair = (image.copy() for image in pair)
    white = np.argwhere(load_template().white_matter > 0.9)
    lesions, fluid = white[::6], white[1::6]
    t1w[tuple(lesions.T)] *= 0.6
    flair[tuple(lesions.T)] *= 1.6
    t1w[tuple(fluid.T)] *= 0.3
    flair[tuple(fluid.T)] *= 0.3

    for healthy, sick in zip(_normalise(*pair), _normalise(t1w, flair), strict=True):
        kept = tuple(white[2::6].T)
        np.testing.assert_allclose(sick[kept], healthy[kept], rtol=0.03)


def test_an_image_without_white_matter_is_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Dividing by the mode of nothing would make noise look like a brain."""
    t1w, flair = pair

    with pytest.raises(ImplausibleImage, match="FLAIR shows too little white matter"):
        _normalise(t1w, np.zeros_like(flair))
