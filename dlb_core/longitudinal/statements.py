"""What a comparison says, for whichever form it takes. All its sentences are here.

Every text passes through `dlb_core.report.language`, which says it in the reader's language.
"""

from dlb_core.longitudinal.changes import CHANGED
from dlb_core.longitudinal.content import ChangeContent, ChangeRow, FateRow
from dlb_core.longitudinal.document import (
    ChangeStatus,
    ComparedVisit,
    Comparison,
    LesionChange,
)
from dlb_core.report import wording
from dlb_core.report.content import Column, Fact, Section
from dlb_core.report.document import CheckStatus
from dlb_core.report.language import mark, say, say_count, spoken, written

NAMES = {
    ChangeStatus.NEW: mark("New"),
    ChangeStatus.ENLARGING: mark("Enlarging"),
    ChangeStatus.MERGED: mark("Merged"),
    ChangeStatus.SPLIT: mark("Split"),
    ChangeStatus.SHRINKING: mark("Shrinking"),
    ChangeStatus.RESOLVED: mark("Resolved"),
    ChangeStatus.STABLE: mark("Stable"),
    ChangeStatus.UNCONFIRMED: mark("Unconfirmed"),
}
RULES = {
    ChangeStatus.NEW: mark("not there at the first visit"),
    ChangeStatus.ENLARGING: mark("grew by more than noise can"),
    ChangeStatus.MERGED: mark("several became fewer"),
    ChangeStatus.SPLIT: mark("one became several"),
    ChangeStatus.SHRINKING: mark("shrank by more than noise can"),
    ChangeStatus.RESOLVED: mark("no longer there at the second visit"),
    ChangeStatus.STABLE: mark("there at both visits, change within noise"),
    ChangeStatus.UNCONFIRMED: mark("at one visit only, smaller than what noise can make"),
}
WORDS = {
    ChangeStatus.NEW: mark("new"),
    ChangeStatus.ENLARGING: mark("enlarging"),
    ChangeStatus.MERGED: mark("merged"),
    ChangeStatus.SPLIT: mark("split"),
    ChangeStatus.SHRINKING: mark("shrinking"),
    ChangeStatus.RESOLVED: mark("resolved"),
    ChangeStatus.STABLE: mark("stable"),
    ChangeStatus.UNCONFIRMED: mark("unconfirmed"),
}
"""Within a line."""
COLUMNS = (
    Column(mark("No.")),
    Column(mark("What"), is_number=False),
    Column(mark("Location"), is_number=False),
    Column(mark("Side"), is_number=False),
    Column(mark("First"), "mm³"),
    Column(mark("Second"), "mm³"),
    Column(mark("Change"), "mm³"),
    Column(mark("By agreement"), "mm³"),
    Column(mark("Smallest told"), "mm³"),
    Column(mark("FLAIR"), "%"),
    Column(mark("Numbers in the reports"), mark("first → second"), is_number=False),
)
LIMITS = (
    mark(
        "It compares what looks like white-matter lesions in FLAIR. It does not tell active from "
        "inactive disease, and sees nothing of contrast enhancement."
    ),
    mark("Lesions smaller than the limit, cortical and spinal ones are not followed."),
    mark(
        "A change of scanner or sequence between the visits can hide changes or feign them; the "
        "checks see only part of it."
    ),
    mark(
        "Swelling or shrinkage of the whole brain is not corrected for: the registration is rigid."
    ),
    mark(
        "A new lesion that touches an old one counts as enlarging, or as merged where it joins "
        "several; as new only where the old ones are less than a tenth of it."
    ),
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
        language=spoken().code,
        kicker=say("Multiple sclerosis lesions, two visits compared"),
        title=comparison.label or say("Unlabelled comparison"),
        identity=_identity(comparison),
        research_title=say("Research use only."),
        research=wording.research_use(comparison.research_use),
        headline=headline(comparison),
        summary=_summary(comparison),
        key_figures=_key_figures(comparison),
        quality_status=status,
        quality_symbol=wording.STATUS_SYMBOLS[status],
        quality_headline=checks,
        nothing=() if changed else _nothing(comparison),
        fates=Section(say("What became of the lesions"), "", _seen_once(comparison)),
        fate_columns=(say("Lesions"), say("Number"), say("First → second, ml")),
        fate_rows=tuple(_fate_row(comparison, fate) for fate in NAMES),
        slices=_slices(bool(changed), unseen),
        pictures=(say("First visit"), say("Second visit"), say("Difference")),
        largest=Section(
            say("Largest change"),
            say("Closer, in the three planes that hold most of it: axial, coronal, sagittal."),
        ),
        lesions=Section(say("Lesions"), say("What changed first, then by size."), _remark()),
        columns=tuple(Column(say(each.name), say(each.unit), each.is_number) for each in COLUMNS),
        rows=tuple(
            ChangeRow(_cells(change), change.status in CHANGED) for change in comparison.lesions
        ),
        quality=Section(say("Checks"), f"{checks}."),
        check_columns=wording.check_columns(),
        checks=tuple(wording.check_row(check) for check in comparison.quality),
        method=Section(say("How this was made")),
        method_paragraphs=_method(comparison),
        limits=Section(say("What it cannot tell")),
        limit_points=tuple(say(limit) for limit in LIMITS),
        source=say(
            "Half-way space: Reuter et al., NeuroImage 61 (2012) 1402-1418. Segmentation: "
            "Kamraoui et al., Medical Image Analysis 76 (2022) 102312."
        ),
        fine_print=say(
            "Model manifest SHA-256 {sha256} · comparison schema {schema} · the numbers for "
            "programs: comparison.json, lesions-change.csv",
            sha256=comparison.second.model.sha256,
            schema=comparison.schema_version,
        ),
    )


def headline(comparison: Comparison) -> str:
    """The result in one line."""
    totals = comparison.totals
    parts = [
        f"{wording.number(getattr(totals, status.value))} {say(WORDS[status])}"
        for status in NAMES
        if status in CHANGED and getattr(totals, status.value)
    ]
    return ", ".join(parts) if parts else say("No change found")


def _changed(comparison: Comparison) -> list[LesionChange]:
    return [change for change in comparison.lesions if change.status in CHANGED]


def _summary(comparison: Comparison) -> str:
    totals = comparison.totals
    volumes = say(
        "Decided together, the lesions measure {first} ml at the first visit and {second} ml at "
        "the second.",
        first=wording.millilitres(comparison.first.joint_lesion_volume_ml),
        second=wording.millilitres(comparison.second.joint_lesion_volume_ml),
    )
    if not _changed(comparison):
        return f"{say('No lesion changed by more than noise can.')} {volumes}"
    moved = say(
        "In lesions that changed, {gained} ml were gained and {lost} ml lost.",
        gained=wording.hundredths(totals.gained_ml),
        lost=wording.hundredths(totals.lost_ml),
    )
    return f"{volumes} {moved}"


def _key_figures(comparison: Comparison) -> tuple[Fact, ...]:
    totals = comparison.totals
    grown = totals.enlarging + totals.merged
    waned = totals.shrinking + totals.split
    return (
        Fact(
            say("New"),
            wording.number(totals.new),
            remark=say_count("{count} resolved", "{count} resolved", totals.resolved),
        ),
        Fact(
            say("Enlarging or merged"),
            wording.number(grown),
            remark=say_count("{count} shrinking or split", "{count} shrinking or split", waned),
        ),
        Fact(say("Stable"), wording.number(totals.stable)),
        Fact(
            say("Volume change"),
            _signed(totals.change_ml, 2),
            "ml",
            say("smallest told: {ml} ml", ml=wording.hundredths(totals.smallest_detectable_ml)),
        ),
    )


def _identity(comparison: Comparison) -> tuple[Fact, ...]:
    model = comparison.second.model
    visits = [
        Fact(
            name,
            visit.label or say("unlabelled"),
            remark=_visit_remark(visit),
        )
        for name, visit in (
            (say("First visit"), comparison.first),
            (say("Second visit"), comparison.second),
        )
    ]
    day, time = wording.day_and_time(comparison.created)
    interval = comparison.interval_days
    return (
        Fact(say("Comparison made"), day, remark=time),
        *visits,
        Fact(
            say("Between the scans"),
            say("not known") if interval is None else _days(interval),
        ),
        Fact(say("Software"), "DeepLesionBrain Service", remark=comparison.software_version),
        Fact(say("Model"), f"{model.name} {model.version}", remark=model.sha256[:12]),
    )


def _visit_remark(visit: ComparedVisit) -> str:
    """When it was scanned, and what was found at it alone."""
    known = visit.scan_date
    when = (
        say("scan date not given")
        if known is None
        else say("scanned on {day}", day=wording.day(known))
    )
    alone = say_count(
        "{count} lesion by itself, FLAIR {voxels} mm",
        "{count} lesions by itself, FLAIR {voxels} mm",
        visit.lesion_count,
        voxels=" × ".join(written(f"{size:.2g}") for size in visit.flair_voxel_mm),
    )
    return f"{when}; {alone}"


def _days(count: int) -> str:
    return say_count("{count} day", "{count} days", count)


def _nothing(comparison: Comparison) -> tuple[str, ...]:
    return (
        say("No change found"),
        say(
            "Both visits were brought together, and no lesion is new, gone, larger or smaller by "
            "more than noise can make, which is {smallest} mm³ for the smallest ones. This is a "
            "result, not an error: the change mask exists and is empty.",
            smallest=wording.measured(comparison.rules.limit_floor_mm3),
        ),
        say("Please look at the slices and the checks before relying on it."),
    )


def _seen_once(comparison: Comparison) -> str:
    first, second = comparison.first, comparison.second
    by_itself = say_count(
        "By itself, the first visit has {count} lesion and the second {second}.",
        "By itself, the first visit has {count} lesions and the second {second}.",
        first.lesion_count,
        second=wording.number(second.lesion_count),
    )
    once = say(
        "Of these, {first} and {second} were seen at that visit only, though the FLAIRs do not "
        "differ there. They are taken for the networks’ noise and are no change.",
        first=wording.number(first.seen_once_count),
        second=wording.number(second.seen_once_count),
    )
    return f"{by_itself} {once}"


def _fate_row(comparison: Comparison, fate: ChangeStatus) -> FateRow:
    rows = [change for change in comparison.lesions if change.status is fate]
    first, second = (
        sum(getattr(change, name) for change in rows) / 1000
        for name in ("volume_first_mm3", "volume_second_mm3")
    )
    return FateRow(
        name=say(NAMES[fate]),
        rule=say(RULES[fate]),
        count=wording.number(len(rows)),
        volume=f"{wording.hundredths(first)} → {wording.hundredths(second)}" if rows else "–",
        is_change=fate in CHANGED and bool(rows),
    )


def _slices(changed: bool, unseen: int) -> Section:
    title = say("Both visits, slice by slice")
    convention = say(
        "Radiological convention: the patient’s right (R) is on the left. Coordinates are those of "
        "the half-way space. Difference: orange grew brighter, blue darker, from the first visit "
        "to the second."
    )
    if not changed:
        text = say(
            "Axial slices spread over the brain. Nothing is outlined, since nothing changed."
        )
        return Section(title, f"{text} {convention}")
    which = (
        say("Axial slices that pass through every change, from the top of the head down.")
        if unseen == 0
        else say_count(
            "Axial slices that pass through all changes but {count}, from the top of the head "
            "down.",
            "Axial slices that pass through all changes but {count}, from the top of the head "
            "down.",
            unseen,
        )
    )
    outlined = say("Outlined: what was gained or lost, with its number in the table.")
    return Section(title, f"{which} {outlined} {convention}")


def _remark() -> str:
    return say(
        "Volumes are the patient’s own, decided from both visits together. By agreement: the "
        "change at a quarter and at three quarters of the networks’ votes. Smallest told: changes "
        "up to this are not told from noise. FLAIR: mean difference of what changed, in per cent "
        "of white matter."
    )


def _cells(change: LesionChange) -> tuple[str, ...]:
    low, high = (_signed(value) for value in (change.change_low_mm3, change.change_high_mm3))
    return (
        wording.number(change.id),
        say(WORDS[change.status]),
        say(wording.SHORT_NAMES[change.location]) if change.location else "–",
        say(wording.SIDES[change.side]) if change.side else "–",
        wording.number(change.volume_first_mm3),
        wording.number(change.volume_second_mm3),
        _signed(change.change_mm3),
        low if low == high else say("{low} to {high}", low=low, high=high),
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


def _method(comparison: Comparison) -> tuple[str, ...]:
    rules = comparison.rules
    paragraphs = [
        say(
            "The FLAIRs as sent were registered rigidly to one another, in both directions, and "
            "each was moved half of the way, so that both are resampled once and alike. Both were "
            "scaled to white matter and to one sensitivity, and blurred to one resolution."
        ),
        say(
            "Where the FLAIRs do not differ by more than {doubtful} times their noise, both visits "
            "get the mean of the networks’ votes; where they differ by more than {certain} times "
            "and by {contrast} % of white matter, in the direction of the votes, each visit keeps "
            "its own. So what only the networks’ votes changed is no change.",
            doubtful=wording.measured(rules.doubtful_z),
            certain=wording.measured(rules.certain_z),
            contrast=wording.number(100 * rules.certain_contrast),
        ),
        say(
            "Lesions of the two visits belong together where they share {overlap} % of the smaller "
            "one. A change counts where it is larger than what repeated scans without change "
            "showed ({smallest} mm³ at least), and has one sign at a quarter, half and three "
            "quarters of the votes.",
            overlap=wording.number(100 * rules.overlap),
            smallest=wording.measured(rules.limit_floor_mm3),
        ),
    ]
    if any(check.status is CheckStatus.FAIL for check in comparison.quality):
        paragraphs.append(
            say("A failed check was overridden: do not trust this without a close look.")
        )
    return tuple(paragraphs)
