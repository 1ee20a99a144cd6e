"""`dlb segment`: one case from files to results, with no server."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from dlb_core.bundled import default_bundle
from dlb_core.cli.case_inputs import CaseFiles, case_files
from dlb_core.cli.case_options import add_case_options, parse_case_options
from dlb_core.cli.display import progress_bar, summarise
from dlb_core.contracts import Device, Progress, ProgressCallback, SegmentationOptions
from dlb_core.dicom.dating import dated
from dlb_core.documents import overall_fraction
from dlb_core.errors import BadOption
from dlb_core.report.document import Report


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "segment",
        help="segment the lesions of one T1w and FLAIR pair",
        description="Segment one case on this machine: masks, lesion table and report.html "
        "in the output folder. Exit code 0: done; 2: the input is at fault; 1: anything else.",
    )
    add_case_options(parser)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where the results go"
    )
    add_run_options(parser)
    parser.set_defaults(run=run)


def add_run_options(parser: argparse._ActionsContainer) -> None:
    """Add how cases are segmented on this machine."""
    parser.add_argument(
        "--keep-identity",
        action="store_true",
        help="keep the patient's and the study's attributes in DICOM results",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        default=None,
        metavar="DIR",
        help="bundle (default: the shipped one)",
    )
    parser.add_argument(
        "--device",
        choices=[device.value for device in Device],
        default=Device.CPU.value,
        help="where the networks run (default: cpu)",
    )
    parser.add_argument(
        "--threads", type=int, default=None, metavar="N", help="CPU threads (default: all)"
    )


def check_run_options(args: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is done.

    Raises
    ------
    BadOption
    """
    if args.threads is not None and args.threads < 1:
        raise BadOption("--threads: at least 1")


def segment_files(
    args: argparse.Namespace,
    case: CaseFiles,
    output: Path,
    *,
    options: SegmentationOptions,
    on_progress: ProgressCallback,
    votes: Path | None = None,
) -> Report:
    """Segment a case as the options of `add_run_options` say; see `segment_case`."""
    # Loading PyTorch takes seconds; `dlb --help` need not wait for it.
    from dlb_core.pipeline import segment_case

    report = segment_case(
        case.t1w,
        case.flair,
        output,
        options=options,
        bundle=args.weights or default_bundle(),
        device=Device(args.device),
        num_threads=args.threads,
        on_progress=on_progress,
        votes=votes,
    )
    write_dicom_of(case, output)
    return report


def write_dicom_of(case: CaseFiles, output: Path) -> None:
    """Make DICOM objects of the results of a case that came as DICOM."""
    if case.reference is not None:
        from dlb_core.dicom.results.write import write_dicom

        write_dicom(output, case.reference)


def in_words(progress: Progress) -> str:
    """Say how far a case is."""
    counted = f" {progress.done}/{progress.total}" if progress.total > 1 else ""
    return progress.stage.value.replace("_", " ") + counted


def say_choice(case: CaseFiles, console: Console) -> None:
    """Say which DICOM series were taken, if any were."""
    for line in case.explanation:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def run(args: argparse.Namespace) -> int:
    """Run the pipeline under a progress bar."""
    options = parse_case_options(args)
    check_run_options(args)
    console = Console()
    with (
        case_files(args, keep_identity=args.keep_identity) as case,
        progress_bar(console, "reading") as (bar, task),
    ):
        say_choice(case, bar.console)
        options = dated(options, case.reference)

        def show(progress: Progress) -> None:
            fraction = overall_fraction(progress)
            bar.update(task, completed=fraction, description=in_words(progress))

        report = segment_files(args, case, args.output, options=options, on_progress=show)
    summarise(report, args.output, console)
    return 0
