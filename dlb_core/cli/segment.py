"""`dlb segment`: one case from files to results, with no server."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from dlb_core.bundled import default_bundle
from dlb_core.cli.case_inputs import case_files
from dlb_core.cli.case_options import add_case_options, parse_case_options
from dlb_core.cli.display import progress_bar, summarise
from dlb_core.contracts import Device, Progress
from dlb_core.documents import overall_fraction
from dlb_core.errors import BadOption


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
        "--keep-identity",
        action="store_true",
        help="keep the patient's and the study's attributes in DICOM results",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where the results go"
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the pipeline under a progress bar."""
    options = parse_case_options(args)
    if args.threads is not None and args.threads < 1:
        raise BadOption("--threads: at least 1")
    # Loading PyTorch takes seconds; `dlb --help` need not wait for it.
    from dlb_core.pipeline import segment_case

    console = Console()
    with (
        case_files(args, keep_identity=args.keep_identity) as case,
        progress_bar(console, "reading") as (bar, task),
    ):
        for line in case.explanation:
            bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

        def show(progress: Progress) -> None:
            counted = f" {progress.done}/{progress.total}" if progress.total > 1 else ""
            text = progress.stage.value.replace("_", " ") + counted
            bar.update(task, completed=overall_fraction(progress), description=text)

        report = segment_case(
            case.t1w,
            case.flair,
            args.output,
            options=options,
            bundle=args.weights or default_bundle(),
            device=Device(args.device),
            num_threads=args.threads,
            on_progress=show,
        )
        if case.reference is not None:
            from dlb_core.dicom.results.write import write_dicom

            write_dicom(args.output, case.reference)
    summarise(report, args.output, console)
    return 0
