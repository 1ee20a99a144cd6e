"""A light for input that is unlike anything the method was tried on.

The networks have no say in it: they can agree and be wrong on what none of them has seen. A dozen
numbers of the preprocessed pair (`dlb_core.input_statistics`) are held against the ranges that they
had in reference pairs. The ranges, and what they were taken from: `REFERENCE`; how they were made,
and what the light does on images spoilt on purpose: docs/report.md.
"""

import math

from dlb_core.input_statistics import TRAITS, input_statistics
from dlb_core.preprocessing.steps import PreprocessedCase
from dlb_core.report.document import CheckStatus, InputTrait, InputTrust, QualityCheck
from dlb_core.report.language import record

REFERENCE = record(
    "six real pairs (two data sets, five people) and simulated ones, and the contrasts that "
    "training draws from"
)
KNOWN: dict[str, tuple[float, float]] = {
    "t1w_grey": (0.58, 1.0),
    "t1w_fluid": (0.06, 0.57),
    "t1w_unevenness": (0.0, 0.2),
    "t1w_sharpness": (0.068, 0.343),
    "t1w_bright": (0.0, 0.006),
    "flair_grey": (0.93, 1.4),
    "flair_fluid": (0.06, 0.68),
    "flair_unevenness": (0.0, 0.12),
    "flair_sharpness": (0.063, 0.505),
    "template_dice": (0.945, 1.0),
    "template_correlation": (0.25, 1.0),
    "pair_information": (1.019, 1.154),
    "head_scale": (0.82, 1.88),
}
"""Trait -> its range: the references' lowest and highest value, a quarter of that width further on
either side, joined with the range that training's synthesis draws from where there is one."""

FAR = 1.0
"""Widths outside a known range from which on the input counts as strange."""


def judge_input(case: PreprocessedCase) -> InputTrust:
    """Hold a preprocessed case against what is known.

    Parameters
    ----------
    case : PreprocessedCase
    """
    return judge_statistics(
        input_statistics(
            t1w=case.t1w,
            flair=case.flair,
            brain_mask=case.brain_mask,
            t1w_to_mni=case.t1w_to_mni,
        )
    )


def judge_statistics(statistics: dict[str, float]) -> InputTrust:
    """Hold a case's numbers against the known ranges.

    Parameters
    ----------
    statistics : dict of float
        From `input_statistics`.
    """
    traits = tuple(
        _trait(trait.name, trait.title, trait.unit, statistics[trait.name]) for trait in TRAITS
    )
    deviations = [trait.deviation for trait in traits]
    known = [deviation for deviation in deviations if deviation is not None]
    worst = max(known) if len(known) == len(deviations) else None
    return InputTrust(
        status=_status(worst),
        deviation=worst,
        traits=traits,
        reference=REFERENCE,
    )


def trust_check(trust: InputTrust) -> QualityCheck:
    """The light among the quality checks: it warns, and stops no case.

    Parameters
    ----------
    trust : InputTrust
    """
    outside = [trait.title for trait in trust.traits if trait.deviation != 0]
    return QualityCheck(
        name="input_trust",
        title=record("Input is like what this was tried on"),
        status=CheckStatus.WARN if outside else CheckStatus.PASS,
        value=trust.deviation,
        unit=record("widths outside"),
        threshold=record("0 (strange > {far})", far=f"{FAR:g}"),
        message=record(
            "Unlike the references: {traits}. Errors there are unknown.", traits="; ".join(outside)
        )
        if outside
        else "",
    )


def _trait(name: str, title: str, unit: str, value: float) -> InputTrait:
    low, high = KNOWN[name]
    measurable = math.isfinite(value)
    outside = max(low - value, value - high, 0.0) / (high - low)
    return InputTrait(
        name=name,
        title=title,
        unit=unit,
        value=round(value, 4) if measurable else None,
        low=low,
        high=high,
        deviation=round(outside, 2) if measurable else None,
    )


def _status(worst: float | None) -> CheckStatus:
    if worst is None or worst > FAR:
        return CheckStatus.FAIL
    return CheckStatus.WARN if worst > 0 else CheckStatus.PASS
