"""What the report says of the input's likeness to what is known, and of the altered runs."""

from dlb_core.report import wording
from dlb_core.report.content import Light, Section, TraitRow
from dlb_core.report.document import CheckStatus, InputTrait, InputTrust, Report
from dlb_core.report.language import recorded, say

SYMBOLS = wording.STATUS_SYMBOLS


def light(trust: InputTrust) -> Light:
    """The outcome in a sentence."""
    outside = [recorded(trait.title) for trait in trust.traits if trait.deviation != 0]
    named = "; ".join((*outside[:3], *([say("and more")] if len(outside) > 3 else [])))
    text = {
        CheckStatus.PASS: say("Input familiar: like the scans that this was tried on"),
        CheckStatus.WARN: say("Input unusual: {traits}", traits=named),
        CheckStatus.FAIL: say("Input strange, results unproven: {traits}", traits=named),
    }[trust.status]
    return Light(status=trust.status, symbol=SYMBOLS[trust.status], text=text)


def section(trust: InputTrust | None) -> Section:
    """What the light means."""
    if trust is None:
        return Section(say("Input trust"))
    verdict = {
        CheckStatus.PASS: say("Every trait of the input lies within its known range."),
        CheckStatus.WARN: say(
            "Some traits lie outside their known ranges, by no more than one width."
        ),
        CheckStatus.FAIL: say(
            "Traits lie far outside their known ranges, or could not be measured: "
            "nobody knows how well the networks do there."
        ),
    }[trust.status]
    meaning = say(
        "The networks have no say in this light: contrast, noise, sharpness and registration are "
        "held against {reference}. A familiar input is no proof of a right result.",
        reference=recorded(trust.reference),
    )
    return Section(say("Input trust"), f"{verdict} {meaning}")


def trait_rows(trust: InputTrust | None) -> tuple[TraitRow, ...]:
    """All traits, those outside first."""
    if trust is None:
        return ()
    ordered = sorted(trust.traits, key=lambda trait: trait.deviation == 0)
    return tuple(_trait_row(trait) for trait in ordered)


def _trait_row(trait: InputTrait) -> TraitRow:
    inside = trait.deviation == 0
    status = CheckStatus.PASS if inside else CheckStatus.WARN
    value = say("not measurable") if trait.value is None else _value(trait.value, trait.unit)
    return TraitRow(
        status=status,
        symbol=SYMBOLS[status],
        title=recorded(trait.title),
        measured=value,
        known=say(
            "{low} to {high}",
            low=wording.measured(trait.low),
            high=_value(trait.high, trait.unit),
        ),
    )


def _value(value: float, unit: str) -> str:
    return f"{wording.measured(value)} {recorded(unit)}".strip()


def robustness_section(report: Report) -> Section:
    """What the altered runs came to."""
    found = report.robustness
    if found is None:
        return Section(say("Robustness"))
    low, high = found.lesion_volume_low_ml, found.lesion_volume_high_ml
    own_ml = report.totals.lesion_volume_ml
    if report.corrections:
        # The runs are compared with the networks' own result, not with a reader's.
        own_ml = report.corrections[0].lesion_volume_before_ml
    return Section(
        say("Robustness"),
        say(
            "With both images altered a little the volume lies between {low} and {high} ml; as "
            "sent it is {own} ml. This is what these alterations do, not a confidence interval.",
            low=wording.millilitres(low),
            high=wording.millilitres(high),
            own=wording.millilitres(own_ml),
        ),
    )


def robustness_rows(report: Report) -> tuple[tuple[str, ...], ...]:
    """One row a run."""
    if report.robustness is None:
        return ()
    return tuple(
        (
            recorded(run.title),
            wording.number(run.lesion_count),
            wording.hundredths(run.lesion_volume_ml),
            wording.number(run.overlap_dice, 2),
        )
        for run in report.robustness.runs
    )
