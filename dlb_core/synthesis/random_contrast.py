"""T1w and FLAIR made from tissue shares by domain randomisation.

Intensities are relative to normal white matter = 1 in both images, as the pipeline's own
normalisation leaves them. Ranges come from real cases: docs/training.md gives them.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from dlb_core.synthesis.fields import Array, smooth_field
from dlb_core.synthesis.lesion_placement import LesionContrast, lesion_intensities
from dlb_core.volume import Shape

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ContrastRanges:
    """From which each sample's contrasts are drawn."""

    t1w_csf: Range = (0.2, 0.45)
    t1w_grey: Range = (0.58, 0.85)
    flair_csf: Range = (0.15, 0.6)
    flair_grey: Range = (1.0, 1.4)
    lesion: LesionContrast = field(default_factory=LesionContrast)
    lesion_above_grey: float = 0.12
    """In FLAIR the core of a lesion is brighter than grey matter by at least this."""
    noise: Range = (0.01, 0.06)
    noise_grain: Range = (1.0, 2.0)
    """Voxels over which noise is smooth: images are resampled before they get here."""
    blur_sigma: Range = (0.3, 0.8)
    slice_thickness: Range = (1.0, 4.0)
    bias: Range = (0.0, 0.15)


def synthesise(
    rng: np.random.Generator, tissues: Array, lesions: Array, ranges: ContrastRanges
) -> Array:
    """Make one image pair.

    Parameters
    ----------
    rng : numpy.random.Generator
    tissues : (3, I, J, K) float32
        Shares of CSF, grey and white matter, without lesions; their sum is the brain.
    lesions : (I, J, K) float32
        Share of lesion, which takes the place of the tissue.
    ranges : ContrastRanges

    Returns
    -------
    (2, I, J, K) float32
        T1w and FLAIR; 0 outside the brain.
    """
    shape: Shape = lesions.shape
    brain = tissues.sum(0)
    t1w = _paint(rng, tissues, (rng.uniform(*ranges.t1w_csf), rng.uniform(*ranges.t1w_grey), 1.0))
    flair_levels = (rng.uniform(*ranges.flair_csf), rng.uniform(*ranges.flair_grey), 1.0)
    flair = _paint(rng, tissues, flair_levels)
    flair = _add_bright_structures(rng, flair, tissues)
    dimmest = max(ranges.lesion.flair[0], flair_levels[1] + ranges.lesion_above_grey)
    brightest = dimmest + ranges.lesion.flair[1] - ranges.lesion.flair[0]
    contrast = replace(ranges.lesion, flair=(dimmest, brightest))
    lesion_t1w, lesion_flair = lesion_intensities(rng, lesions, contrast)
    t1w += lesions * (lesion_t1w * brain - t1w)
    flair += lesions * (lesion_flair * brain - flair)
    images = np.stack([t1w, flair])
    images[0] = _acquire(rng, images[0], ranges, thick=rng.random() < 0.3)
    images[1] = _acquire(rng, images[1], ranges, thick=rng.random() < 0.6)
    for image in images:
        amplitude = rng.uniform(*ranges.bias)
        image *= np.exp(amplitude * smooth_field(rng, shape, 48))
    return np.asarray(images * (brain > 0.3), dtype=np.float32)


def _paint(rng: np.random.Generator, tissues: Array, levels: tuple[float, float, float]) -> Array:
    """Mean intensity per tissue, each slowly varying over space."""
    shape: Shape = tissues.shape[1:]
    image = np.zeros(shape, dtype=np.float32)
    for tissue, level in zip(tissues, levels, strict=True):
        variation = rng.uniform(0.01, 0.09) * smooth_field(rng, shape, rng.uniform(6, 24))
        image += tissue * level * (1 + variation)
    painted: Array = image * (1 + rng.uniform(0.0, 0.04) * smooth_field(rng, shape, 2.5))
    return painted


def _add_bright_structures(rng: np.random.Generator, flair: Array, tissues: Array) -> Array:
    """Paint what is bright in FLAIR and no lesion: plexus, vessels, septum, the brain's rim."""
    csf, grey, white = tissues
    shape: Shape = csf.shape
    blobs = smooth_field(rng, shape, rng.uniform(2.5, 6)) > rng.uniform(1.3, 2.2)
    inside = ndimage.gaussian_filter(blobs.astype(np.float32), 0.6) * np.clip(csf * 1.5, 0, 1)
    flair = flair + inside * (rng.uniform(0.9, 1.6) - flair) * rng.uniform(0, 1)
    edge = np.clip(1.2 - ndimage.gaussian_filter(csf + grey + white, 1.5), 0, 1)
    rim = edge * np.clip(smooth_field(rng, shape, 8), 0, None) * rng.uniform(0, 0.8)
    caps = _caps(rng, csf, white) + _lining(rng, csf, grey + white) + _seams(rng, tissues)
    cortex = grey * np.clip(smooth_field(rng, shape, 10) - 0.5, 0, None) * rng.uniform(0, 0.2)
    return np.asarray(flair + rim + caps + cortex, dtype=np.float32)


def _caps(rng: np.random.Generator, csf: Array, white: Array) -> Array:
    """White matter near large pools of fluid is brighter, and more so in places: no lesion."""
    near = np.clip(2 * ndimage.gaussian_filter(csf, rng.uniform(1.0, 3.5)), 0, 1)
    places = np.clip(smooth_field(rng, csf.shape, rng.uniform(8, 20)) + 0.5, 0, 1)
    return np.asarray(white * near * places * rng.uniform(0, 0.4), dtype=np.float32)


def _lining(rng: np.random.Generator, csf: Array, tissue: Array) -> Array:
    """The ventricles' wall is thin and bright in places: no lesion."""
    near = np.clip(2 * ndimage.gaussian_filter(csf, rng.uniform(0.7, 1.2)), 0, 1)
    places = np.clip(smooth_field(rng, csf.shape, rng.uniform(5, 12)), 0, 1.5)
    return np.asarray(tissue * near * places * rng.uniform(0, 0.6), dtype=np.float32)


def _seams(rng: np.random.Generator, tissues: Array) -> Array:
    """Thin bright sheets where tissues meet, as at fimbria, alveus and capsules: no lesion."""
    _, grey, white = ndimage.gaussian_filter(tissues, (0, 0.7, 0.7, 0.7))
    places = np.clip(smooth_field(rng, grey.shape, rng.uniform(5, 10)) - 0.7, 0, 1.2)
    return np.asarray(4 * grey * white * places * rng.uniform(0, 0.7), dtype=np.float32)


def _acquire(rng: np.random.Generator, image: Array, ranges: ContrastRanges, thick: bool) -> Array:
    """Blur, thick slices along one axis (mostly axial) and Rician-like noise."""
    image = ndimage.gaussian_filter(image, rng.uniform(*ranges.blur_sigma))
    noise = rng.uniform(*ranges.noise) * uneven_noise_level(rng, image.shape)
    grain = rng.uniform(*ranges.noise_grain)
    real = image + noise * smooth_field(rng, image.shape, grain)
    image = np.sqrt(real**2 + (noise * smooth_field(rng, image.shape, grain)) ** 2)
    if thick:
        axis = int(rng.choice(3, p=(0.15, 0.15, 0.7)))
        image = _thick_slices(image, axis, rng.uniform(*ranges.slice_thickness))
    acquired: Array = ndimage.gaussian_filter(image, rng.uniform(0.2, 0.5)).astype(np.float32)
    return acquired


def uneven_noise_level(rng: np.random.Generator, shape: Shape) -> Array:
    """Factor on noise: parallel imaging leaves several times more of it deep in the head."""
    return np.asarray(np.exp(rng.uniform(0, 0.7) * smooth_field(rng, shape, 24)), np.float32)


def _thick_slices(image: Array, axis: int, thickness: float) -> Array:
    """Average over slices of `thickness` voxels and interpolate back."""
    length = image.shape[axis]
    averaged = ndimage.gaussian_filter1d(image, thickness / 2.355, axis=axis)
    centres = np.arange(thickness / 2, length, thickness)
    position = np.clip(np.interp(np.arange(length), centres, np.arange(len(centres))), 0, None)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, len(centres) - 1)
    slices = np.take(averaged, np.clip(np.round(centres), 0, length - 1).astype(int), axis)
    weight = (position - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(
        np.take(slices, low, axis) * (1 - weight) + np.take(slices, high, axis) * weight
    )
