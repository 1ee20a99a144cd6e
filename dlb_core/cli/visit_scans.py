"""Scans of two visits on the command line: segmented one after the other, and gone on with."""

import argparse
import shutil
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from rich.console import Console

from dlb_core import artefacts
from dlb_core.bundled import default_bundle
from dlb_core.cli.case_inputs import CaseFiles, add_case_inputs, case_files, given_inputs
from dlb_core.cli.case_options import add_processing_options, parse_case_options
from dlb_core.cli.display import progress_bar
from dlb_core.cli.segment import (
    add_run_options,
    check_run_options,
    in_words,
    say_choice,
    segment_files,
    write_dicom_of,
)
from dlb_core.contracts import Progress, SegmentationOptions
from dlb_core.dicom.dating import dated
from dlb_core.documents import overall_fraction
from dlb_core.longitudinal.naming import VISITS, naming_visit
from dlb_core.longitudinal.rules import Sizes, check_order, check_resolution, require_comparable
from dlb_core.report.document import RunRecord
from dlb_core.validation import check_header, check_pair

Known = tuple[Sizes, date | None]
"""Of a visit: its FLAIR's voxels, and the day of its scan."""
VOTES = ".votes"
"""In a visit's folder, until it is done."""


def add_scan_options(parser: argparse.ArgumentParser) -> None:
    """Add both visits' scans, and how they are segmented."""
    for visit, when in zip(VISITS, ("earlier", "later"), strict=True):
        group = parser.add_argument_group(f"scans of the {when} visit, in place of its results")
        add_case_inputs(group, visit)
    group = parser.add_argument_group("how scans are segmented")
    add_processing_options(group)
    add_run_options(group)


def segment_visits(
    visits: list[str], args: argparse.Namespace, console: Console, *, results: list[Path]
) -> list[Path]:
    """Segment visits' scans, but for what an earlier run has done; returns their folders.

    Parameters
    ----------
    visits : list of str
        Those of which there are scans.
    args : argparse.Namespace
    console : Console
    results : list of Path
        Of the other visits.

    Raises
    ------
    InputError, StageFailed
        It names the visit.
    QualityFailed
        The FLAIRs' voxels are too unlike to be compared, or the later visit comes first, and
        nothing says to go on regardless.
    """
    options = {visit: parse_case_options(args, visit) for visit in visits}
    check_run_options(args)
    for visit in visits:
        given_inputs(args, visit)
    with ExitStack() as stack:
        # Both before either is segmented: a mistake in the later one must not cost half an hour.
        cases = {visit: _checked(visit, args, stack) for visit in visits}
        if visits and not args.ignore_differences:
            known: dict[str, Known | None] = {
                visit: _known(cases[visit], options[visit]) for visit in visits
            }
            others = [visit for visit in VISITS if visit not in known]
            known |= dict(zip(others, map(_recorded, results), strict=True))
            _require_comparable([known[visit] for visit in VISITS])
        return [_segment(visit, args, cases[visit], options[visit], console) for visit in visits]


def _checked(visit: str, args: argparse.Namespace, stack: ExitStack) -> CaseFiles:
    """Have a visit's scans as NIfTI files whose headers are good, for as long as the stack."""
    with naming_visit(visit):
        files = case_files(args, keep_identity=args.keep_identity, visit=visit)
        case = stack.enter_context(files)
        check_pair(check_header(case.t1w, role="T1w"), check_header(case.flair, role="FLAIR"))
    return case


def _known(case: CaseFiles, options: SegmentationOptions) -> Known:
    """What is known of a visit's scans before they are segmented."""
    sizes = check_header(case.flair, role="FLAIR").voxel_sizes
    return sizes, dated(options, case.reference).scan_date


def _recorded(folder: Path) -> Known | None:
    """The same of a result; None where the folder holds none, which comparing will say better."""
    try:
        run = RunRecord.model_validate_json((folder / artefacts.RUN_JSON).read_text())
    except (OSError, ValueError):
        return None
    sizes = next(record.voxel_sizes_mm for record in run.inputs if record.role == "FLAIR")
    return sizes, run.options.scan_date


def _require_comparable(visits: list[Known | None]) -> None:
    """Refuse now what the comparison would refuse when both visits are segmented."""
    first, second = visits
    if first is not None and second is not None:
        require_comparable(
            [*check_order(first[1], second[1]), check_resolution(first[0], second[0])]
        )


def _segment(
    visit: str,
    args: argparse.Namespace,
    case: CaseFiles,
    options: SegmentationOptions,
    console: Console,
) -> Path:
    # It loads PyTorch, which takes seconds.
    from dlb_core.checkpoints import open_bundle
    from dlb_core.provenance import is_result_of

    folder: Path = args.output / visit
    bundle = open_bundle(args.weights or default_bundle())
    options = dated(options, case.reference)
    if is_result_of(folder, case.t1w, case.flair, options=options, bundle=bundle):
        write_dicom_of(case, folder)
        said = "results are there already"
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with naming_visit(visit):
            said = _segment_files(visit, args, case, folder, options, console)
    shutil.rmtree(folder / VOTES, ignore_errors=True)
    console.print(f"{visit} visit: {said}", markup=False, highlight=False)
    return folder


def _segment_files(
    visit: str,
    args: argparse.Namespace,
    case: CaseFiles,
    folder: Path,
    options: SegmentationOptions,
    console: Console,
) -> str:
    """Segment one visit under a progress bar; returns what came out, in words."""
    with progress_bar(console, f"{visit} visit: reading") as (bar, task):
        say_choice(case, bar.console)

        def show(progress: Progress) -> None:
            words = f"{visit} visit: {in_words(progress)}"
            bar.update(task, completed=overall_fraction(progress), description=words)

        votes = folder / VOTES / "votes.npz"
        try:
            report = segment_files(
                args, case, folder, options=options, on_progress=show, votes=votes
            )
        except KeyboardInterrupt:
            bar.console.print("to go on from here, give the same command again")
            raise
    totals = report.totals
    return f"{totals.lesion_count} lesions, {totals.lesion_volume_ml:.2f} ml"
