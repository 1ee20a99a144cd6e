"""What a report says, for whichever form it takes.

All sentences about a case are here and in `wording`: a translation replaces these two.
"""

from functools import partial

from dlb_core.report import trust, wording
from dlb_core.report.content import CheckRow, ClassRow, Column, Content, Fact, Section
from dlb_core.report.document import (
    CheckStatus,
    Lesion,
    LocationTotals,
    Report,
    SideTotals,
)
from dlb_core.report.glass_brain import SHADES
from dlb_core.tiling import GRID_SHAPE
from dlb_core.uncertainty import HIGH_AGREEMENT, MODERATE_AGREEMENT, POSSIBLE_SHARE, SURE_SHARE

LESION_COLUMNS = (
    Column("No."),
    Column("Location", is_number=False),
    Column("Side", is_number=False),
    Column("Volume", "mm³"),
    Column("Diameter", "mm"),
    Column("Centre, MNI", "x, y, z, mm"),
    Column("To ventricle", "mm"),
    Column("To cortex", "mm"),
    Column("Centres"),
    Column("Probability", "%"),
    Column("Agreement", "%"),
    Column("Confidence", is_number=False),
)


CLASSES = Section(
    "Where lesions lie",
    "Classes in the words of the MAGNIMS and McDonald criteria, by geometric rule.",
    "This counts lesions by place. It is not a verdict on dissemination in space, which takes "
    "a clinician, the spinal cord and the optic nerves too.",
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
        kicker="Multiple sclerosis lesion report",
        title=report.label or "Unlabelled case",
        identity=_identity(report),
        research_title="Research use only.",
        research=report.research_use.replace("For research use only. ", ""),
        correction=_correction(report),
        headline=wording.headline(report),
        summary=wording.summary(report),
        key_figures=_key_figures(report),
        quality_status=status,
        quality_symbol=wording.STATUS_SYMBOLS[status],
        quality_headline=checks,
        classes=CLASSES,
        class_columns=("Location", "Lesions", "Volume, ml", "Right", "Left", "Midline"),
        class_rows=_class_rows(report),
        glass=Section(
            "Glass brain",
            "All lesions seen through the brain, shaded by class. Dashed lines: the template’s "
            "lateral ventricles, cerebellum and brainstem.",
        ),
        slices=_slices(report, unseen),
        projections=_projections(report),
        scale="agreement, probability",
        largest=_largest(report),
        largest_rows=("FLAIR", "T1w", "Agreement of the networks"),
        lesions=Section("Lesions", _lesions_lead(report), _lesions_remark()),
        lesion_columns=LESION_COLUMNS,
        lesion_rows=tuple(_lesion_row(lesion) for lesion in report.lesions),
        smaller=partial(wording.smaller, report.lesions),
        size_classes=wording.size_classes(report.lesions),
        nothing=_nothing(report),
        quality=Section("Quality checks", _quality_lead(report, status, checks)),
        check_columns=("Outcome", "Check", "Measured", "Asked for"),
        checks=_checks(report),
        trust_light=None if report.input_trust is None else trust.light(report.input_trust),
        trust=trust.section(report.input_trust),
        trait_columns=("Trait", "Measured", "Known range"),
        trait_rows=trust.trait_rows(report.input_trust),
        robustness=trust.robustness_section(report),
        robustness_columns=("Both images", "Lesions", "Volume, ml", "Overlap (Dice)"),
        robustness_rows=trust.robustness_rows(report),
        method=Section("How this was made"),
        method_paragraphs=_method(report),
        limits=Section("What it cannot tell"),
        limit_points=LIMITS,
        source="Kamraoui et al., DeepLesionBrain: Towards a broader deep-learning generalization "
        "for multiple sclerosis lesion segmentation, Medical Image Analysis 76 (2022) 102312.",
        fine_print=f"Model manifest SHA-256 {report.model.sha256} · report schema "
        f"{report.schema_version} · the numbers for programs: report.json, lesions.csv · how to "
        "repeat this run: run.json",
    )


def _correction(report: Report) -> str:
    """What readers changed, if they did."""
    if not report.corrections:
        return ""
    first, last = report.corrections[0], report.corrections[-1]
    author = f" by {last.author}" if last.author else ""
    note = f" Their note: {last.note}" if last.note else ""
    added, removed = (wording.hundredths(ml) for ml in (last.added_ml, last.removed_ml))
    return (
        f"Version {last.version}, corrected by hand{author} on {wording.moment(last.created)}, on "
        f"the {last.space}: {added} ml added, {removed} ml removed. The networks’ own result, "
        f"version 1, had {wording.number(first.lesion_count_before)} lesions and "
        f"{wording.millilitres(first.lesion_volume_before_ml)} ml; probability, agreement and "
        f"confidence are still what the networks say.{note}"
    )


def _identity(report: Report) -> tuple[Fact, ...]:
    model = report.model
    day, time = wording.day_and_time(report.created)
    return (
        Fact("Report made", day, remark=time),
        Fact("Scan date", "not recorded", remark="see the scan itself"),
        Fact("Software", "DeepLesionBrain Service", remark=report.software_version),
        Fact("Model", f"{model.name} {model.version}", remark=model.sha256[:12]),
        Fact("Images", f"T1w and FLAIR, {wording.INPUT_STATES[report.options.input_state]}"),
    )


def _key_figures(report: Report) -> tuple[Fact, ...]:
    totals = report.totals
    low, high = totals.lesion_volume_low_ml, totals.lesion_volume_high_ml
    return (
        Fact(
            "Lesions",
            wording.number(totals.lesion_count),
            remark=f"{wording.number(totals.centre_count)} counted by centres",
        ),
        Fact(
            "Lesion volume",
            wording.millilitres(totals.lesion_volume_ml),
            "ml",
            f"agreement interval {wording.millilitres(low)} to {wording.millilitres(high)} ml",
        ),
        Fact(
            "Lesion load",
            wording.hundredths(totals.lesion_load_percent),
            "% of brain",
        ),
        Fact(
            "Brain volume",
            wording.number(totals.brain_volume_ml),
            "ml",
            "of the brain mask",
        ),
    )


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
        name=wording.LOCATION_NAMES[item.location].capitalize(),
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


_CONVENTION = (
    "Radiological convention: the patient’s right (R) is on the left. Coordinates are MNI152."
)


def _slices(report: Report, unseen: int) -> Section:
    if not report.lesions:
        text = (
            "Axial slices spread over the brain, from the top of the head down. "
            "No lesion is outlined, since none was found."
        )
        return Section("FLAIR slices", f"{text} {_CONVENTION}")
    text = (
        "Axial slices that pass through {which}, from the top of the head down. A number stands "
        "beside a lesion in the slice that shows most of it, and is the lesion’s number in the "
        "table."
    )
    which = "every lesion" if unseen == 0 else f"all lesions but {wording.number(unseen)}"
    return Section("FLAIR slices", f"{text.format(which=which)} {_CONVENTION}")


def _projections(report: Report) -> Section:
    text = "The highest lesion probability along each line of sight, over the brain’s silhouette. "
    if report.lesions:
        text += (
            "Outlined: the lesions as segmented. Colour without an outline: some networks "
            "hesitated, but the majority said no, or the spot was too small to keep."
        )
    else:
        text += (
            "Any colour marks places where some networks hesitated; none of them became a lesion."
        )
    return Section("Whole brain at a glance", text)


def _largest(report: Report) -> Section:
    if not report.lesions:
        return Section("Largest lesion")
    volume = wording.volume(report.lesions[0].volume_mm3)
    return Section(
        "Largest lesion",
        f"Lesion 1, {volume}, in the three planes that hold most of it. The bottom row shows "
        "how many of the networks that saw a voxel called it lesion; the outline is the "
        "majority’s.",
    )


def _lesions_lead(report: Report) -> str:
    count = len(report.lesions)
    if count < 2:
        return ""
    return f"{wording.number(count)} in all, the largest first"


def _lesions_remark() -> str:
    return (
        "Volumes and distances are in the patient’s own space, from the lesion’s nearest voxel. "
        "Diameter: the longest straight line. Centres: more than 1 where lesions grew into one. "
        f"Confidence is a word for the networks’ agreement: high from "
        f"{wording.number(100 * HIGH_AGREEMENT)} %, moderate from "
        f"{wording.number(100 * MODERATE_AGREEMENT)} %. Voxels of the files and more are in "
        "lesions.csv; the numbers are the values of space-MNI152_desc-lesions_dseg.nii.gz."
    )


def _lesion_row(lesion: Lesion) -> tuple[str, ...]:
    return (
        wording.number(lesion.id),
        wording.SHORT_NAMES[lesion.location],
        lesion.side.value,
        wording.cubic_millimetres(lesion.volume_mm3),
        wording.number(lesion.largest_diameter_mm, 1),
        wording.point(lesion.centroid_mni_mm, 0),
        wording.number(lesion.ventricle_distance_mm, 1),
        wording.number(lesion.cortex_distance_mm, 1),
        wording.number(lesion.centres),
        wording.number(100 * lesion.mean_probability),
        wording.number(100 * lesion.agreement),
        lesion.confidence.value,
    )


def _nothing(report: Report) -> tuple[str, ...]:
    if report.lesions:
        return ()
    if report.corrections:
        return (
            "No lesion left",
            "The reader’s mask marks no lesion. The networks’ own result is version 1.",
        )
    return (
        "No lesion found",
        "The pipeline ran to its end, and no connected group of at least "
        f"{wording.measured(report.options.minimum_lesion_mm3)} mm³ was called lesion by the "
        "majority of the networks. This is a result, not an error: the mask files exist and are "
        "empty.",
        "Please look at the slices and the quality checks before relying on it.",
    )


def _quality_lead(report: Report, status: CheckStatus, headline: str) -> str:
    if status is CheckStatus.FAIL and report.options.ignore_quality_failures:
        return (
            f"{headline}. The case went on because its sender asked to ignore failed checks: do "
            "not trust these results without a close look."
        )
    if status is CheckStatus.WARN and report.quality:
        return f"{headline}. The results may be affected; see the advice beside the check."
    return f"{headline}."


def _checks(report: Report) -> tuple[CheckRow, ...]:
    return tuple(
        CheckRow(
            status=check.status,
            word=wording.STATUS_WORDS[check.status],
            symbol=wording.STATUS_SYMBOLS[check.status],
            title=wording.typeset(check.title),
            advice=wording.typeset(check.message),
            measured="–"
            if check.value is None
            else f"{wording.measured(check.value)} {check.unit}".strip(),
            asked=wording.typeset(check.threshold),
        )
        for check in report.quality
    )


def _method(report: Report) -> tuple[str, ...]:
    stripped = "skull-stripped, " if report.options.input_state == "raw" else ""
    grid = " × ".join(str(n) for n in GRID_SHAPE)
    edited = (
        ("The lesion mask was then corrected by a reader; all measures were made anew from it.",)
        if report.corrections
        else ()
    )
    return (
        f"Both images were denoised, {stripped}registered to the ICBM152 template (affine), "
        f"resampled once to its 1 mm grid ({grid}), corrected for uneven sensitivity and scaled so "
        "that white matter is 1. DeepLesionBrain’s 75 networks, each in charge of its own part of "
        "the brain and its mirror image, voted on each voxel in overlapping subvolumes. A voxel is "
        "lesion where the majority says so; a tie is decided by the mean probability.",
        f"Lesion voxels that touch by face, edge or corner ({report.connectivity} neighbours) are "
        f"one lesion. Lesions under {wording.measured(report.options.minimum_lesion_mm3)} mm³ in "
        "the patient’s own space were left out. Centres: where the smoothed probability bulges in "
        "every direction (after Dworkin et al., AJNR 39 (2018) 626-633).",
        "The agreement interval runs from the volume that "
        f"{wording.number(100 * SURE_SHARE)} % of the networks call lesion to the one that "
        f"{wording.number(100 * POSSIBLE_SHARE)} % do; it is no confidence interval. Brain volume "
        "is the brain mask’s on the T1w as sent. No norms are applied.",
        *edited,
        f"Model: {report.model.description}",
    )


LIMITS = (
    "It marks what looks like white-matter lesions in FLAIR and T1w. It does not tell multiple "
    "sclerosis from other causes, nor active lesions from old ones.",
    "Cortical, infratentorial and very small lesions are missed more often; the spinal cord is not "
    "looked at.",
    "Bright normal structures (choroid plexus, veins, pulsation) may be marked.",
    "Location classes follow the template’s anatomy to within some millimetres; lesions at a "
    "class’s border may fall on either side. Confluent lesions have one class.",
    "Counts depend on where touching lesions are parted; volumes on resolution, contrast and "
    "scanner. Compare visits only when they were scanned alike.",
    "Agreement, probability and confidence say how sure the networks are, not how right.",
)
