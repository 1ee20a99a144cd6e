"""What a comparison says, for whichever form it takes. All its sentences are here."""

from dlb_core.longitudinal.changes import CHANGED
from dlb_core.longitudinal.content import ChangeContent, ChangeRow, FateRow
from dlb_core.longitudinal.document import ChangeStatus, Comparison, LesionChange
from dlb_core.report import wording
from dlb_core.report.content import CheckRow, Column, Fact, Section
from dlb_core.report.document import CheckStatus, QualityCheck

NAMES = {
    ChangeStatus.NEW: "New",
    ChangeStatus.ENLARGING: "Enlarging",
    ChangeStatus.MERGED: "Merged",
    ChangeStatus.SPLIT: "Split",
    ChangeStatus.SHRINKING: "Shrinking",
    ChangeStatus.RESOLVED: "Resolved",
    ChangeStatus.STABLE: "Stable",
    ChangeStatus.UNCONFIRMED: "Unconfirmed",
}
RULES = {
    ChangeStatus.NEW: "not there at the first visit",
    ChangeStatus.ENLARGING: "grew by more than noise can",
    ChangeStatus.MERGED: "several became fewer",
    ChangeStatus.SPLIT: "one became several",
    ChangeStatus.SHRINKING: "shrank by more than noise can",
    ChangeStatus.RESOLVED: "no longer there at the second visit",
    ChangeStatus.STABLE: "there at both visits, change within noise",
    ChangeStatus.UNCONFIRMED: "at one visit only, smaller than what noise can make",
}
COLUMNS = (
    Column("No."),
    Column("What", is_number=False),
    Column("Location", is_number=False),
    Column("Side", is_number=False),
    Column("First", "mm³"),
    Column("Second", "mm³"),
    Column("Change", "mm³"),
    Column("By agreement", "mm³"),
    Column("Smallest told", "mm³"),
    Column("FLAIR", "%"),
    Column("Numbers in the reports", "first → second", is_number=False),
)
LIMITS = (
    "It compares what looks like white-matter lesions in FLAIR. It does not tell active from "
    "inactive disease, and sees nothing of contrast enhancement.",
    "Lesions smaller than the limit, cortical and spinal ones are not followed.",
    "A change of scanner or sequence between the visits can hide changes or feign them; the "
    "checks see only part of it.",
    "Swelling or shrinkage of the whole brain is not corrected for: the registration is rigid.",
    "A new lesion that touches an old one counts as enlarging, or as merged where it joins "
    "several; as new only where the old ones are less than a tenth of it.",
)


def write_change_content(comparison: Comparison, unseen: int) -> ChangeContent:
    """Say everything a comparison says.

    Parameters
    ----------
    comparison : Comparison
    unseen : int
        Changes that no slice shown passes through.
    """
    status, checks = wording.quality_headline(comparison.quality)
    changed = _changed(comparison)
    return ChangeContent(
        kicker="Multiple sclerosis lesions, two visits compared",
        title=comparison.label or "Unlabelled comparison",
        identity=_identity(comparison),
        research_title="Research use only.",
        research=comparison.research_use.replace("For research use only. ", ""),
        headline=headline(comparison),
        summary=_summary(comparison),
        key_figures=_key_figures(comparison),
        quality_status=status,
        quality_symbol=wording.STATUS_SYMBOLS[status],
        quality_headline=checks,
        nothing=() if changed else _nothing(comparison),
        fates=Section("What became of the lesions", "", _seen_once(comparison)),
        fate_columns=("Lesions", "Number", "First → second, ml"),
        fate_rows=tuple(_fate_row(comparison, fate) for fate in NAMES),
        slices=_slices(bool(changed), unseen),
        pictures=("First visit", "Second visit", "Difference"),
        largest=Section(
            "Largest change",
            "Closer, in the three planes that hold most of it: axial, coronal, sagittal.",
        ),
        lesions=Section("Lesions", "What changed first, then by size.", _remark()),
        columns=COLUMNS,
        rows=tuple(
            ChangeRow(_cells(change), change.status in CHANGED) for change in comparison.lesions
        ),
        quality=Section("Checks", f"{checks}."),
        check_columns=("Outcome", "Check", "Measured", "Asked for"),
        checks=tuple(_check_row(check) for check in comparison.quality),
        method=Section("How this was made"),
        method_paragraphs=_method(comparison),
        limits=Section("What it cannot tell"),
        limit_points=LIMITS,
        source="Half-way space: Reuter et al., NeuroImage 61 (2012) 1402-1418. Segmentation: "
        "Kamraoui et al., Medical Image Analysis 76 (2022) 102312.",
        fine_print=f"Model manifest SHA-256 {comparison.second.model.sha256} · comparison schema "
        f"{comparison.schema_version} · the numbers for programs: comparison.json, "
        "lesions-change.csv",
    )


def headline(comparison: Comparison) -> str:
    """The result in one line."""
    totals = comparison.totals
    parts = [
        f"{wording.number(getattr(totals, status.value))} {status.value}"
        for status in NAMES
        if status in CHANGED and getattr(totals, status.value)
    ]
    return ", ".join(parts) if parts else "No change found"


def _changed(comparison: Comparison) -> list[LesionChange]:
    return [change for change in comparison.lesions if change.status in CHANGED]


def _summary(comparison: Comparison) -> str:
    totals = comparison.totals
    volumes = (
        f"Decided together, the lesions measure "
        f"{wording.millilitres(comparison.first.joint_lesion_volume_ml)} ml at the first visit "
        f"and {wording.millilitres(comparison.second.joint_lesion_volume_ml)} ml at the second."
    )
    if not _changed(comparison):
        return f"No lesion changed by more than noise can. {volumes}"
    return (
        f"{volumes} In lesions that changed, {wording.hundredths(totals.gained_ml)} ml were gained "
        f"and {wording.hundredths(totals.lost_ml)} ml lost."
    )


def _key_figures(comparison: Comparison) -> tuple[Fact, ...]:
    totals = comparison.totals
    grown = totals.enlarging + totals.merged
    waned = totals.shrinking + totals.split
    return (
        Fact(
            "New", wording.number(totals.new), remark=f"{wording.number(totals.resolved)} resolved"
        ),
        Fact(
            "Enlarging or merged",
            wording.number(grown),
            remark=f"{wording.number(waned)} shrinking or split",
        ),
        Fact("Stable", wording.number(totals.stable)),
        Fact(
            "Volume change",
            _signed(totals.change_ml, 2),
            "ml",
            f"smallest told: {wording.hundredths(totals.smallest_detectable_ml)} ml",
        ),
    )


def _identity(comparison: Comparison) -> tuple[Fact, ...]:
    model = comparison.second.model
    visits = [
        Fact(
            name,
            visit.label or "unlabelled",
            remark=f"{wording.number(visit.lesion_count)} lesions by itself, FLAIR "
            f"{' × '.join(f'{size:.2g}' for size in visit.flair_voxel_mm)} mm",
        )
        for name, visit in (("First visit", comparison.first), ("Second visit", comparison.second))
    ]
    day, time = wording.day_and_time(comparison.created)
    return (
        Fact("Comparison made", day, remark=time),
        *visits,
        Fact("Software", "DeepLesionBrain Service", remark=comparison.software_version),
        Fact("Model", f"{model.name} {model.version}", remark=model.sha256[:12]),
    )


def _nothing(comparison: Comparison) -> tuple[str, ...]:
    smallest = wording.measured(comparison.rules.limit_floor_mm3)
    return (
        "No change found",
        "Both visits were brought together, and no lesion is new, gone, larger or smaller by more "
        f"than noise can make, which is {smallest} mm³ for the smallest ones. This is a result, "
        "not an error: the change mask exists and is empty.",
        "Please look at the slices and the checks before relying on it.",
    )


def _seen_once(comparison: Comparison) -> str:
    first, second = comparison.first, comparison.second
    return (
        f"By itself, the first visit has {wording.number(first.lesion_count)} lesions and the "
        f"second {wording.number(second.lesion_count)}. Of these, "
        f"{wording.number(first.seen_once_count)} and {wording.number(second.seen_once_count)} "
        "were seen at that visit only, though the FLAIRs do not differ there. They are taken for "
        "the networks’ noise and are no change."
    )


def _fate_row(comparison: Comparison, fate: ChangeStatus) -> FateRow:
    rows = [change for change in comparison.lesions if change.status is fate]
    first, second = (
        sum(getattr(change, name) for change in rows) / 1000
        for name in ("volume_first_mm3", "volume_second_mm3")
    )
    return FateRow(
        name=NAMES[fate],
        rule=RULES[fate],
        count=wording.number(len(rows)),
        volume=f"{wording.hundredths(first)} → {wording.hundredths(second)}" if rows else "–",
        is_change=fate in CHANGED and bool(rows),
    )


def _slices(changed: bool, unseen: int) -> Section:
    convention = (
        "Radiological convention: the patient’s right (R) is on the left. Coordinates are those of "
        "the half-way space. Difference: orange grew brighter, blue darker, from the first visit "
        "to the second."
    )
    if not changed:
        text = "Axial slices spread over the brain. Nothing is outlined, since nothing changed."
        return Section("Both visits, slice by slice", f"{text} {convention}")
    which = "every change" if unseen == 0 else f"all changes but {wording.number(unseen)}"
    text = (
        f"Axial slices that pass through {which}, from the top of the head down. Outlined: what "
        "was gained or lost, with its number in the table."
    )
    return Section("Both visits, slice by slice", f"{text} {convention}")


def _remark() -> str:
    return (
        "Volumes are the patient’s own, decided from both visits together. By agreement: the "
        "change at a quarter and at three quarters of the networks’ votes. Smallest told: changes "
        "up to this are not told from noise. FLAIR: mean difference of what changed, in per cent "
        "of white matter."
    )


def _cells(change: LesionChange) -> tuple[str, ...]:
    low, high = (_signed(value) for value in (change.change_low_mm3, change.change_high_mm3))
    return (
        wording.number(change.id),
        change.status.value,
        wording.SHORT_NAMES[change.location] if change.location else "–",
        change.side.value if change.side else "–",
        wording.number(change.volume_first_mm3),
        wording.number(change.volume_second_mm3),
        _signed(change.change_mm3),
        low if low == high else f"{low} to {high}",
        wording.number(change.smallest_detectable_mm3),
        "–" if change.flair_change is None else _signed(100 * change.flair_change),
        f"{_listed(change.lesions_first)} → {_listed(change.lesions_second)}",
    )


def _listed(numbers: tuple[int, ...], most: int = 4) -> str:
    shown = ", ".join(str(number) for number in numbers[:most])
    return (shown + " …" if len(numbers) > most else shown) or "–"


def _signed(value: float, digits: int = 0) -> str:
    text = wording.number(value, digits)
    return f"+{text}" if round(value, digits) > 0 else text


def _check_row(check: QualityCheck) -> CheckRow:
    return CheckRow(
        status=check.status,
        word=wording.STATUS_WORDS[check.status],
        symbol=wording.STATUS_SYMBOLS[check.status],
        title=check.title,
        advice=check.message,
        measured="–"
        if check.value is None
        else f"{wording.measured(check.value)} {check.unit}".strip(),
        asked=wording.typeset(check.threshold),
    )


def _method(comparison: Comparison) -> tuple[str, ...]:
    rules = comparison.rules
    paragraphs = [
        "The FLAIRs as sent were registered rigidly to one another, in both directions, and each "
        "was moved half of the way, so that both are resampled once and alike. Both were scaled "
        "to white matter and to one sensitivity, and blurred to one resolution.",
        "Where the FLAIRs do not differ by more than "
        f"{wording.measured(rules.doubtful_z)} times their noise, both visits get the mean of the "
        "networks’ votes; "
        f"where they differ by more than {wording.measured(rules.certain_z)} times and by "
        f"{wording.number(100 * rules.certain_contrast)} % of white matter, in the direction of "
        "the votes, each visit keeps its own. So what only the networks’ votes changed is no "
        "change.",
        "Lesions of the two visits belong together where they share "
        f"{wording.number(100 * rules.overlap)} % of the smaller one. A change counts where it is "
        "larger than what repeated scans without change showed "
        f"({wording.measured(rules.limit_floor_mm3)} mm³ at least), and has one sign at a quarter, "
        "half and three quarters of the votes.",
    ]
    if any(check.status is CheckStatus.FAIL for check in comparison.quality):
        paragraphs.append("A failed check was overridden: do not trust this without a close look.")
    return tuple(paragraphs)
