"""What a report says, for whichever form it takes.

Every text passes through `dlb_core.report.language`, which says it in the reader's language.
"""

from functools import partial

from dlb_core.report import trust, wording
from dlb_core.report.content import ClassRow, Column, Content, Fact, Section
from dlb_core.report.document import (
    CheckStatus,
    Lesion,
    LocationTotals,
    Report,
    SideTotals,
    Totals,
)
from dlb_core.report.glass_brain import SHADES
from dlb_core.report.language import mark, say, say_count, spoken
from dlb_core.report.method import LIMITS, method
from dlb_core.uncertainty import HIGH_AGREEMENT, MODERATE_AGREEMENT
from dlb_core.voting import CONVINCING_SHARE

LESION_COLUMNS = (
    Column(mark("No.")),
    Column(mark("Location"), is_number=False),
    Column(mark("Side"), is_number=False),
    Column(mark("Volume"), "mm³"),
    Column(mark("Diameter"), "mm"),
    Column(mark("Centre, MNI"), "x, y, z, mm"),
    Column(mark("To ventricle"), "mm"),
    Column(mark("To cortex"), "mm"),
    Column(mark("Centres")),
    Column(mark("Probability"), "%"),
    Column(mark("Agreement"), "%"),
    Column(mark("Confidence"), is_number=False),
)


def write_content(report: Report, unseen: int) -> Content:
    """Say everything a report says.

    Parameters
    ----------
    report : Report
    unseen : int
        Lesions that no slice shown passes through.
    """
    status, checks = wording.quality_headline(report.quality)
    return Content(
        language=spoken().code,
        kicker=say("Multiple sclerosis lesion report"),
        title=report.label or say("Unlabelled case"),
        identity=_identity(report),
        research_title=say("Research use only."),
        research=wording.research_use(report.research_use),
        correction=_correction(report),
        headline=wording.headline(report),
        summary=wording.summary(report),
        key_figures=_key_figures(report),
        quality_status=status,
        quality_symbol=wording.STATUS_SYMBOLS[status],
        quality_headline=checks,
        classes=_classes(),
        class_columns=(
            say("Location"),
            say("Lesions"),
            say("Volume, ml"),
            say("Right"),
            say("Left"),
            say("Midline"),
        ),
        class_rows=_class_rows(report),
        glass=Section(
            say("Glass brain"),
            say(
                "All lesions seen through the brain, shaded by class. Dashed lines: the template’s "
                "lateral ventricles, cerebellum and brainstem."
            ),
        ),
        slices=_slices(report, unseen),
        projections=_projections(report),
        scale=say("agreement, probability"),
        largest=_largest(report),
        largest_rows=("FLAIR", "T1w", say("Agreement of the networks")),
        lesions=Section(say("Lesions"), _lesions_lead(report), _lesions_remark()),
        lesion_columns=tuple(
            Column(say(each.name), each.unit, each.is_number) for each in LESION_COLUMNS
        ),
        lesion_rows=tuple(_lesion_row(lesion) for lesion in report.lesions),
        smaller=partial(wording.smaller, report.lesions),
        size_classes=wording.size_classes(report.lesions),
        nothing=_nothing(report),
        quality=Section(say("Quality checks"), _quality_lead(report, status, checks)),
        check_columns=wording.check_columns(),
        checks=tuple(wording.check_row(check) for check in report.quality),
        trust_light=None if report.input_trust is None else trust.light(report.input_trust),
        trust=trust.section(report.input_trust),
        trait_columns=(say("Trait"), say("Measured"), say("Known range")),
        trait_rows=trust.trait_rows(report.input_trust),
        robustness=trust.robustness_section(report),
        robustness_columns=(
            say("Both images"),
            say("Lesions"),
            say("Volume, ml"),
            say("Overlap (Dice)"),
        ),
        robustness_rows=trust.robustness_rows(report),
        method=Section(say("How this was made")),
        method_paragraphs=method(report),
        limits=Section(say("What it cannot tell")),
        limit_points=tuple(say(limit) for limit in LIMITS),
        source=say(
            "Kamraoui et al., DeepLesionBrain: Towards a broader deep-learning generalization "
            "for multiple sclerosis lesion segmentation, Medical Image Analysis 76 (2022) 102312."
        ),
        fine_print=say(
            "Model manifest SHA-256 {sha256} · report schema {schema} · the numbers for programs: "
            "report.json, lesions.csv · how to repeat this run: run.json",
            sha256=report.model.sha256,
            schema=report.schema_version,
        ),
    )


def _classes() -> Section:
    return Section(
        say("Where lesions lie"),
        say("Classes in the words of the MAGNIMS and McDonald criteria, by geometric rule."),
        say(
            "This counts lesions by place. It is not a verdict on dissemination in space, which "
            "takes a clinician, the spinal cord and the optic nerves too."
        ),
    )


def _correction(report: Report) -> str:
    """What readers changed, if they did."""
    if not report.corrections:
        return ""
    first, last = report.corrections[0], report.corrections[-1]
    moment = wording.moment(last.created)
    who = (
        say(
            "Version {version}, corrected by hand by {author} on {moment}, on the {space}:",
            version=last.version,
            author=last.author,
            moment=moment,
            space=last.space,
        )
        if last.author
        else say(
            "Version {version}, corrected by hand on {moment}, on the {space}:",
            version=last.version,
            moment=moment,
            space=last.space,
        )
    )
    what = say(
        "{added} ml added, {removed} ml removed.",
        added=wording.hundredths(last.added_ml),
        removed=wording.hundredths(last.removed_ml),
    )
    before = say_count(
        "The networks’ own result, version 1, had {count} lesion and {ml} ml; probability, "
        "agreement and confidence are still what the networks say.",
        "The networks’ own result, version 1, had {count} lesions and {ml} ml; probability, "
        "agreement and confidence are still what the networks say.",
        first.lesion_count_before,
        ml=wording.millilitres(first.lesion_volume_before_ml),
    )
    note = say("Their note: {note}", note=last.note) if last.note else ""
    return " ".join(filter(None, (who, what, before, note)))


def _identity(report: Report) -> tuple[Fact, ...]:
    model = report.model
    day, time = wording.day_and_time(report.created)
    return (
        Fact(say("Report made"), day, remark=time),
        Fact(say("Scanned on"), wording.scan_day(report.scan_date)),
        Fact(say("Software"), "DeepLesionBrain Service", remark=report.software_version),
        Fact(say("Model"), f"{model.name} {model.version}", remark=model.sha256[:12]),
        Fact(say("Images"), say(wording.INPUT_STATES[report.options.input_state])),
    )


def _key_figures(report: Report) -> tuple[Fact, ...]:
    totals = report.totals
    low, high = totals.lesion_volume_low_ml, totals.lesion_volume_high_ml
    return (
        Fact(
            say("Lesions"),
            wording.number(totals.lesion_count),
            remark=say_count(
                "{count} counted by centres", "{count} counted by centres", totals.centre_count
            ),
        ),
        Fact(
            say("Lesion volume"),
            wording.millilitres(totals.lesion_volume_ml),
            "ml",
            say(
                "agreement interval {low} to {high} ml",
                low=wording.millilitres(low),
                high=wording.millilitres(high),
            ),
        ),
        Fact(
            say("Lesion load"),
            wording.hundredths(totals.lesion_load_percent),
            "%",
            say("of the intracranial volume")
            if totals.intracranial_volume_ml is not None
            else say("of the brain mask"),
        ),
        _head(totals),
    )


def _head(totals: Totals) -> Fact:
    """What the lesion load is a share of."""
    if totals.intracranial_volume_ml is not None:
        skull = wording.number(totals.intracranial_volume_ml)
        return Fact(say("Intracranial volume"), skull, "ml", say("estimated by deepbet’s mask"))
    mask = wording.number(totals.brain_volume_ml)
    return Fact(say("Brain mask"), mask, "ml", wording.intracranial_gap(totals.intracranial_gap))


def _class_rows(report: Report) -> tuple[ClassRow, ...]:
    fullest = max((item.lesion_count for item in report.locations), default=0)
    by_location = {item.location: item for item in report.locations}
    return tuple(
        _class_row(by_location[location], rule, fullest)
        for location, rule in wording.location_rules(report.location_rules).items()
        if location in by_location
    )


def _class_row(item: LocationTotals, rule: str, fullest: int) -> ClassRow:
    return ClassRow(
        name=say(wording.LOCATION_NAMES[item.location]).capitalize(),
        rule=rule,
        shade=SHADES[item.location],
        count=wording.number(item.lesion_count),
        volume_ml=wording.hundredths(item.lesion_volume_ml),
        share=item.lesion_count / fullest if fullest else 0.0,
        sides=tuple(_side(side) for side in (item.right, item.left, item.midline)),
    )


def _side(side: SideTotals) -> str:
    if side.lesion_count == 0:
        return "–"
    return f"{wording.number(side.lesion_count)} ({wording.hundredths(side.lesion_volume_ml)} ml)"


def _slices(report: Report, unseen: int) -> Section:
    convention = say(
        "Radiological convention: the patient’s right (R) is on the left. Coordinates are MNI152."
    )
    if not report.lesions:
        text = say(
            "Axial slices spread over the brain, from the top of the head down. "
            "No lesion is outlined, since none was found."
        )
        return Section(say("FLAIR slices"), f"{text} {convention}")
    which = (
        say("Axial slices that pass through every lesion, from the top of the head down.")
        if unseen == 0
        else say_count(
            "Axial slices that pass through all lesions but {count}, from the top of the head "
            "down.",
            "Axial slices that pass through all lesions but {count}, from the top of the head "
            "down.",
            unseen,
        )
    )
    numbers = say(
        "A number stands beside a lesion in the slice that shows most of it, and is the lesion’s "
        "number in the table."
    )
    return Section(say("FLAIR slices"), f"{which} {numbers} {convention}")


def _projections(report: Report) -> Section:
    shown = say(
        "The highest lesion probability along each line of sight, over the brain’s silhouette."
    )
    colour = (
        say(
            "Outlined: the lesions as segmented. Colour without an outline: some networks "
            "hesitated, but the majority said no, or the spot was too small or too unsure to keep."
        )
        if report.lesions
        else say(
            "Any colour marks places where some networks hesitated; none of them became a lesion."
        )
    )
    return Section(say("Whole brain at a glance"), f"{shown} {colour}")


def _largest(report: Report) -> Section:
    if not report.lesions:
        return Section(say("Largest lesion"))
    return Section(
        say("Largest lesion"),
        say(
            "Lesion 1, {volume}, in the three planes that hold most of it. The bottom row shows "
            "how many of the networks that saw a voxel called it lesion; the outline is the "
            "majority’s.",
            volume=wording.volume(report.lesions[0].volume_mm3),
        ),
    )


def _lesions_lead(report: Report) -> str:
    count = len(report.lesions)
    if count < 2:
        return ""
    return say_count(
        "{count} in all, the largest first", "{count} in all, the largest first", count
    )


def _lesions_remark() -> str:
    return say(
        "Volumes and distances are in the patient’s own space, from the lesion’s nearest voxel. "
        "Diameter: the longest straight line. Centres: more than 1 where lesions grew into one. "
        "Confidence is a word for the networks’ agreement: high from {high} %, moderate from "
        "{moderate} %. Voxels of the files and more are in lesions.csv; the numbers are the "
        "values of space-MNI152_desc-lesions_dseg.nii.gz.",
        high=wording.number(100 * HIGH_AGREEMENT),
        moderate=wording.number(100 * MODERATE_AGREEMENT),
    )


def _lesion_row(lesion: Lesion) -> tuple[str, ...]:
    return (
        wording.number(lesion.id),
        say(wording.SHORT_NAMES[lesion.location]),
        say(wording.SIDES[lesion.side]),
        wording.cubic_millimetres(lesion.volume_mm3),
        wording.number(lesion.largest_diameter_mm, 1),
        wording.point(lesion.centroid_mni_mm, 0),
        wording.number(lesion.ventricle_distance_mm, 1),
        wording.number(lesion.cortex_distance_mm, 1),
        wording.number(lesion.centres),
        wording.number(100 * lesion.mean_probability),
        wording.number(100 * lesion.agreement),
        say(wording.CONFIDENCES[lesion.confidence]),
    )


def _nothing(report: Report) -> tuple[str, ...]:
    if report.lesions:
        return ()
    if report.corrections:
        return (
            say("No lesion left"),
            say("The reader’s mask marks no lesion. The networks’ own result is version 1."),
        )
    return (
        say("No lesion found"),
        say(
            "The pipeline ran to its end, and no connected group of at least {smallest} mm³ was "
            "called lesion by the majority of the networks and, in one voxel at least, by "
            "{convinced} % of them. This is a result, not an error: the mask files exist and are "
            "empty.",
            smallest=wording.measured(report.options.minimum_lesion_mm3),
            convinced=wording.number(float(100 * CONVINCING_SHARE)),
        ),
        say("Please look at the slices and the quality checks before relying on it."),
    )


def _quality_lead(report: Report, status: CheckStatus, headline: str) -> str:
    if status is CheckStatus.FAIL and report.options.ignore_quality_failures:
        return say(
            "{headline}. The case went on because its sender asked to ignore failed checks: do "
            "not trust these results without a close look.",
            headline=headline,
        )
    if status is CheckStatus.WARN and report.quality:
        return say(
            "{headline}. The results may be affected; see the advice beside the check.",
            headline=headline,
        )
    return f"{headline}."
