"""What the report says of the input's likeness to what is known, and of the altered runs."""

from dlb_core.report import wording
from dlb_core.report.content import Light, Section, TraitRow
from dlb_core.report.document import CheckStatus, InputTrait, InputTrust, Report

SYMBOLS = wording.STATUS_SYMBOLS


def light(trust: InputTrust) -> Light:
    """The outcome in a sentence."""
    outside = [trait.title for trait in trust.traits if trait.deviation != 0]
    named = "; ".join(outside[:3]) + ("; and more" if len(outside) > 3 else "")
    text = {
        CheckStatus.PASS: "Input familiar: like the scans that this was tried on",
        CheckStatus.WARN: f"Input unusual: {named}",
        CheckStatus.FAIL: f"Input strange, results unproven: {named}",
    }[trust.status]
    return Light(status=trust.status, symbol=SYMBOLS[trust.status], text=text)


def section(trust: InputTrust | None) -> Section:
    """What the light means."""
    if trust is None:
        return Section("Input trust")
    verdict = {
        CheckStatus.PASS: "Every trait of the input lies within its known range.",
        CheckStatus.WARN: "Some traits lie outside their known ranges, by no more than one width.",
        CheckStatus.FAIL: "Traits lie far outside their known ranges, or could not be measured: "
        "nobody knows how well the networks do there.",
    }[trust.status]
    return Section(
        "Input trust",
        f"{verdict} The networks have no say in this light: contrast, noise, sharpness and "
        f"registration are held against {trust.reference}. A familiar input is no proof of a "
        "right result.",
    )


def trait_rows(trust: InputTrust | None) -> tuple[TraitRow, ...]:
    """All traits, those outside first."""
    if trust is None:
        return ()
    ordered = sorted(trust.traits, key=lambda trait: trait.deviation == 0)
    return tuple(_trait_row(trait) for trait in ordered)


def _trait_row(trait: InputTrait) -> TraitRow:
    inside = trait.deviation == 0
    status = CheckStatus.PASS if inside else CheckStatus.WARN
    value = "not measurable" if trait.value is None else _value(trait.value, trait.unit)
    return TraitRow(
        status=status,
        symbol=SYMBOLS[status],
        title=trait.title,
        measured=value,
        known=f"{wording.measured(trait.low)} to {_value(trait.high, trait.unit)}",
    )


def _value(value: float, unit: str) -> str:
    return f"{wording.measured(value)} {unit}".strip()


def robustness_section(report: Report) -> Section:
    """What the altered runs came to."""
    found = report.robustness
    if found is None:
        return Section("Robustness")
    low, high = found.lesion_volume_low_ml, found.lesion_volume_high_ml
    own_ml = report.totals.lesion_volume_ml
    if report.corrections:
        # The runs are compared with the networks' own result, not with a reader's.
        own_ml = report.corrections[0].lesion_volume_before_ml
    return Section(
        "Robustness",
        f"With both images altered a little the volume lies between {wording.millilitres(low)} "
        f"and {wording.millilitres(high)} ml; as sent it is "
        f"{wording.millilitres(own_ml)} ml. This is what these alterations "
        "do, not a confidence interval.",
    )


def robustness_rows(report: Report) -> tuple[tuple[str, ...], ...]:
    """One row a run."""
    if report.robustness is None:
        return ()
    return tuple(
        (
            run.title,
            wording.number(run.lesion_count),
            wording.hundredths(run.lesion_volume_ml),
            wording.number(run.overlap_dice, 2),
        )
        for run in report.robustness.runs
    )
