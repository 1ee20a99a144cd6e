"""What a preprocessed pair looks like, in a dozen numbers: contrast, noise, sharpness, fit.

They are taken from the two images on the MNI grid and from how these got there, never from what
the networks say of them. Intensities are relative to white matter, which is 1 in both images.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.lesions import linear_scale
from dlb_core.metrics import dice
from dlb_core.preprocessing.denoise import bounding_box
from dlb_core.report.language import record
from dlb_core.template import Template, load_template
from dlb_core.volume import Affine, Mask

BRIGHT_T1W = 1.3
"""Brighter than this on a T1w are fat, or vessels after contrast agent."""
_BINS = 48
_SURE, _NONE = 0.8, 0.1
"""Template probabilities of a tissue that is there, and of one that is not."""


@dataclass(frozen=True, slots=True)
class Trait:
    """One number, and what it says."""

    name: str
    title: str
    unit: str = ""


TRAITS = (
    Trait("t1w_grey", record("T1w: grey over white matter")),
    Trait("t1w_fluid", record("T1w: fluid over white matter")),
    Trait("t1w_unevenness", record("T1w: spread of white matter")),
    Trait("t1w_sharpness", record("T1w: steepness of edges"), record("per mm")),
    Trait("t1w_bright", record("T1w: share brighter than white matter")),
    Trait("flair_grey", record("FLAIR: grey over white matter")),
    Trait("flair_fluid", record("FLAIR: fluid over white matter")),
    Trait("flair_unevenness", record("FLAIR: spread of white matter")),
    Trait("flair_sharpness", record("FLAIR: steepness of edges"), record("per mm")),
    Trait("template_dice", record("Overlap of the brain with the template’s")),
    Trait("template_correlation", record("Correlation of T1w and template")),
    Trait("pair_information", record("Mutual information of FLAIR and T1w")),
    Trait("head_scale", record("Template’s volume over the brain’s")),
)
"""In the order of a report."""


def input_statistics(
    *,
    t1w: NDArray[np.floating[Any]],
    flair: NDArray[np.floating[Any]],
    brain_mask: Mask,
    t1w_to_mni: Affine,
) -> dict[str, float]:
    """Describe a preprocessed pair.

    Parameters
    ----------
    t1w, flair : (181, 217, 181) float
        On the MNI grid, white matter at 1, zero outside the brain.
    brain_mask : (181, 217, 181) bool
        Not empty.
    t1w_to_mni : (4, 4)
        T1w world mm -> MNI world mm.

    Returns
    -------
    dict of float
        Trait's name -> value, in the order of `TRAITS`; NaN where nothing can be measured.
    """
    template = load_template()
    dice_of_brains = dice(brain_mask, template.brain_mask)
    box = bounding_box(brain_mask, margin=1)
    t1w, flair, brain_mask, template = t1w[box], flair[box], brain_mask[box], _cut(template, box)
    tissue = _tissues(brain_mask, template)
    inner = ndimage.binary_erosion(brain_mask, iterations=3)
    both = brain_mask & template.brain_mask
    values = (
        _median(t1w, tissue.grey),
        _median(t1w, tissue.fluid),
        _spread(t1w, tissue.white),
        _sharpness(t1w, inner),
        _share(t1w > BRIGHT_T1W, inner),
        _median(flair, tissue.grey),
        _median(flair, tissue.fluid),
        _spread(flair, tissue.white),
        _sharpness(flair, inner),
        dice_of_brains,
        correlation(t1w[both], template.t1w[both]),
        normalised_mutual_information(t1w[both], flair[both]) if both.any() else float("nan"),
        linear_scale(t1w_to_mni),
    )
    return {trait.name: float(value) for trait, value in zip(TRAITS, values, strict=True)}


def correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Pearson's correlation; 0 where one of the samples says nothing."""
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def normalised_mutual_information(first: NDArray[Any], second: NDArray[Any]) -> float:
    """(H(A) + H(B)) / H(A, B) of two samples; from 1 (unrelated) to 2 (the same).

    Parameters
    ----------
    first, second : (N,) float
        Paired intensities, N > 0.

    References
    ----------
    Studholme et al., Pattern Recognition 32 (1999) 71-86.
    """
    joint, _, _ = np.histogram2d(_to_unit(first), _to_unit(second), bins=_BINS)
    joint /= joint.sum()
    together = _entropy(joint)
    if together == 0:
        return 1.0
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / together


@dataclass(frozen=True, slots=True, eq=False)
class _Tissues:
    grey: Mask
    white: Mask
    fluid: Mask


def _cut(template: Template, box: tuple[slice, ...]) -> Template:
    return Template(
        template.t1w[box],
        template.grey_matter[box],
        template.white_matter[box],
        template.brain_mask[box],
    )


def _tissues(brain_mask: Mask, template: Template) -> _Tissues:
    """Where the template is sure of one tissue, within the brain."""
    brain = brain_mask & template.brain_mask
    grey, white = template.grey_matter, template.white_matter
    return _Tissues(
        grey=brain & (grey > _SURE),
        white=brain & (white > _SURE),
        fluid=brain & (grey < _NONE) & (white < _NONE),
    )


def _median(image: NDArray[Any], where: Mask) -> float:
    return float(np.median(image[where])) if where.any() else float("nan")


def _spread(image: NDArray[Any], where: Mask) -> float:
    """Half the width of the middle half: lesions and rims hardly move it."""
    if not where.any():
        return float("nan")
    low, high = np.percentile(image[where], [25, 75])
    return float(high - low) / 2


def _sharpness(image: NDArray[Any], inner: Mask) -> float:
    """How steep the steepest tenth of the brain is, away from its own edge."""
    if not inner.any():
        return float("nan")
    steps = [np.gradient(image.astype(np.float32), axis=axis)[inner] for axis in range(3)]
    return float(np.percentile(np.sqrt(sum(step**2 for step in steps)), 90))


def _share(condition: Mask, where: Mask) -> float:
    return float(condition[where].mean()) if where.any() else float("nan")


def _to_unit(values: NDArray[Any]) -> NDArray[np.float64]:
    low, high = np.percentile(values, [0.5, 99.5])
    unit: NDArray[np.float64] = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return unit


def _entropy(shares: NDArray[np.float64]) -> float:
    held = shares[shares > 0]
    return float(-(held * np.log(held)).sum())
