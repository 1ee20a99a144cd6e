"""Check a preprocessed case before its lesions are searched.

Each check carries what was measured and what is asked for; a failed one stops the case unless
the caller overrides it. Where the thresholds come from: docs/preprocessing.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core.errors import QualityFailed
from dlb_core.input_statistics import correlation, normalised_mutual_information
from dlb_core.preprocessing.steps import NativeImage, PreprocessedCase
from dlb_core.report.document import CheckStatus, QualityCheck
from dlb_core.report.language import record
from dlb_core.template import MNI_GRID, Template, load_template
from dlb_core.tissue import brain_volume_ml
from dlb_core.volume import Affine, Grid, Mask


@dataclass(frozen=True, slots=True)
class _Range:
    """Good from `good[0]` to `good[1]`, usable from `usable[0]` to `usable[1]`."""

    good: tuple[float, float]
    usable: tuple[float, float]

    def judge(self, value: float) -> CheckStatus:
        if self.good[0] <= value <= self.good[1]:
            return CheckStatus.PASS
        if self.usable[0] <= value <= self.usable[1]:
            return CheckStatus.WARN
        # Also what is not a number.
        return CheckStatus.FAIL

    def __str__(self) -> str:
        (low, high), (lowest, highest) = self.good, self.usable
        if np.isinf(high):
            return record(">= {good} (fail < {usable})", good=f"{low:g}", usable=f"{lowest:g}")
        if np.isinf(low):
            return record("<= {good} (fail > {usable})", good=f"{high:g}", usable=f"{highest:g}")
        return record(
            "{low} to {high} (fail outside {lowest} to {highest})",
            low=f"{low:g}",
            high=f"{high:g}",
            lowest=f"{lowest:g}",
            highest=f"{highest:g}",
        )


def _at_least(good: float, usable: float) -> _Range:
    return _Range((good, np.inf), (usable, np.inf))


def _at_most(good: float, usable: float) -> _Range:
    return _Range((-np.inf, good), (-np.inf, usable))


_REGISTRATION_DICE = _at_least(0.92, 0.85)
_TEMPLATE_CORRELATION = _at_least(0.30, 0.15)
_FLAIR_T1W_NMI = _at_least(1.02, 1.01)
_BRAIN_VOLUME_ML = _Range((900, 1900), (600, 2300))
# A slice stated as 4 mm may be 4.00001.
_VOXEL_SIZE_MM = _at_most(4.05, 6.05)
_COVERAGE = _at_least(0.95, 0.80)
_SNR = _at_least(10, 5)
_CONTRAST_ORDER = _at_least(0.05, 0.0)
_FLAIR_CSF = _at_most(0.80, 1.0)


def assess(case: PreprocessedCase) -> tuple[QualityCheck, ...]:
    """Judge a preprocessed case.

    Parameters
    ----------
    case : PreprocessedCase
        Both images on the MNI grid, and how they got there.

    Returns
    -------
    tuple of QualityCheck
        In the order of the report; never empty.
    """
    template = load_template()
    return (
        *_registration(case, template),
        _brain_volume(case.native_t1w),
        *_acquisition("T1w", case.native_t1w, case.t1w_to_mni, template),
        *_acquisition("FLAIR", case.native_flair, case.flair_to_mni, template),
        *_contrast(case, template),
    )


def require_passed(checks: Iterable[QualityCheck]) -> None:
    """Stop where a check failed.

    Raises
    ------
    QualityFailed
        Names each failed check, its value and what is asked for.
    """
    failed = [check for check in checks if check.status is CheckStatus.FAIL]
    if failed:
        facts = " ".join(_fact(check) for check in failed)
        raise QualityFailed(
            f"{len(failed)} quality check(s) failed: {facts} "
            "To go on regardless, set ignore_quality_failures."
        )


def _fact(check: QualityCheck) -> str:
    value = "not measurable" if check.value is None else f"{check.value:.3g} {check.unit}".strip()
    return f"{check.title}: {value}, asked for {check.threshold}. {check.message}"


def coverage(grid: Grid, to_mni: Affine, region: Mask) -> float:
    """Share of a region of the MNI grid that lies within a native image's field of view.

    Parameters
    ----------
    grid : Grid
        The native image's lattice.
    to_mni : (4, 4) float
        Its world mm -> MNI world mm.
    region : (181, 217, 181) bool
        Not empty.
    """
    return float(_seen(grid, to_mni, region).mean())


def _registration(case: PreprocessedCase, template: Template) -> Iterator[QualityCheck]:
    both = case.brain_mask & template.brain_mask
    yield _check(
        "registration_dice",
        record("Overlap of the brain with the template's"),
        _dice_where_seen(case, template.brain_mask),
        _REGISTRATION_DICE,
        record(
            "The registration to the template, or the brain mask, is likely wrong: look at the "
            "brain mask, and check the image's orientation and that it shows one whole brain."
        ),
    )
    yield _check(
        "registration_similarity",
        record("Correlation of the T1w with the template"),
        correlation(case.t1w[both], template.t1w[both]),
        _TEMPLATE_CORRELATION,
        record(
            "The T1w does not look like the template after registration: check that it is a "
            "T1-weighted image and look at the preprocessed T1w."
        ),
    )
    yield _check(
        "flair_alignment",
        record("Mutual information of FLAIR and T1w"),
        normalised_mutual_information(case.t1w[both], case.flair[both]) if both.any() else 1.0,
        _FLAIR_T1W_NMI,
        record("FLAIR and T1w are likely not aligned: check that both show the same person."),
    )


def _brain_volume(t1w: NativeImage) -> QualityCheck:
    return _check(
        "brain_volume",
        record("Volume of the brain mask"),
        brain_volume_ml(t1w.brain_mask, t1w.grid),
        _BRAIN_VOLUME_ML,
        record("The brain mask is likely wrong or the brain cut off: look at the brain mask."),
        unit="ml",
    )


def _acquisition(
    role: str, image: NativeImage, to_mni: Affine, template: Template
) -> Iterator[QualityCheck]:
    suffix = role.lower()
    yield _check(
        f"resolution_{suffix}",
        record("{role}: longest voxel edge", role=role),
        max(image.grid.voxel_sizes),
        _VOXEL_SIZE_MM,
        record("The {role}'s slices are thick: small lesions will be missed.", role=role),
        unit="mm",
    )
    yield _check(
        f"coverage_{suffix}",
        record("{role}: share of the brain within the field of view", role=role),
        coverage(image.grid, to_mni, template.brain_mask),
        _COVERAGE,
        record(
            "Part of the brain lies outside the {role}: lesions there cannot be found.", role=role
        ),
    )
    yield _check(
        f"snr_{suffix}",
        record("{role}: white matter over noise", role=role),
        image.white_matter.value / image.noise if image.noise > 0 else np.inf,
        _SNR,
        record("The {role} is noisy: expect false and missed lesions.", role=role),
    )
    yield QualityCheck(
        name=f"white_matter_{suffix}",
        title=record("{role}: white matter's intensity is clear", role=role),
        status=CheckStatus.WARN if image.white_matter.ambiguous else CheckStatus.PASS,
        value=round(image.white_matter.value, 3),
        threshold=record("one peak (warn: two of similar height)"),
        message=(
            record(
                "The {role}'s white matter has two intensity peaks (strong shading, extensive "
                "disease or misregistration): look at the preprocessed image.",
                role=role,
            )
            if image.white_matter.ambiguous
            else ""
        ),
    )


def _contrast(case: PreprocessedCase, template: Template) -> Iterator[QualityCheck]:
    grey = case.brain_mask & (template.grey_matter > 0.8)
    fluid = case.brain_mask & template.brain_mask
    fluid &= (template.grey_matter < 0.1) & (template.white_matter < 0.1)
    yield _check(
        "contrast_order",
        record("Grey over white matter, FLAIR minus T1w"),
        # White matter is at 1 in both. Grey matter is darker than it in T1w, brighter in FLAIR.
        _median(case.flair[grey]) - _median(case.t1w[grey]),
        _CONTRAST_ORDER,
        record("T1w and FLAIR look swapped, or are the same image: check which file is which."),
    )
    yield _check(
        "flair_fluid",
        record("FLAIR: fluid over white matter"),
        _median(case.flair[fluid]),
        _FLAIR_CSF,
        record(
            "Fluid is not dark in the FLAIR: check that it is a FLAIR and not a T2-weighted image."
        ),
    )


def _check(
    name: str, title: str, value: float, wanted: _Range, message: str, *, unit: str = ""
) -> QualityCheck:
    status = wanted.judge(value)
    return QualityCheck(
        name=name,
        title=title,
        status=status,
        # JSON knows no infinity.
        value=round(value, 4) if np.isfinite(value) else None,
        unit=unit,
        threshold=str(wanted),
        message="" if status is CheckStatus.PASS else message,
    )


def _dice_where_seen(case: PreprocessedCase, template_mask: Mask) -> float:
    """Dice of the brain masks, leaving out what the T1w's field of view cuts off.

    A cut brain can be well registered; `coverage_t1w` is the check that tells of the cut.
    """
    expected = int(_seen(case.native_t1w.grid, case.t1w_to_mni, template_mask).sum())
    both = int((case.brain_mask & template_mask).sum())
    return 2 * both / (int(case.brain_mask.sum()) + expected)


def _seen(grid: Grid, to_mni: Affine, region: Mask) -> NDArray[np.bool_]:
    """Which voxels of an MNI region lie within a native field of view; in C order."""
    index = np.argwhere(region)
    to_native = np.linalg.inv(to_mni @ grid.affine) @ MNI_GRID.affine
    native = index @ to_native[:3, :3].T + to_native[:3, 3]
    inside = np.all((native >= -0.5) & (native <= np.array(grid.shape) - 0.5), axis=1)
    return np.asarray(inside)


def _median(values: NDArray[Any]) -> float:
    """NaN, which fails every check, where there is nothing to measure."""
    return float(np.median(values)) if values.size else float("nan")
