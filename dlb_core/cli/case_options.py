"""Arguments that every subcommand has that takes one case."""

import argparse

from pydantic import ValidationError

from dlb_core.cli.case_inputs import add_case_inputs, given_date
from dlb_core.contracts import GIVEN, InputState, SegmentationOptions
from dlb_core.errors import BadOption


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Add the images and what may be chosen for them."""
    add_case_inputs(parser)
    add_processing_options(parser)
    parser.add_argument("--label", default="", help="printed on the report; no patient identifiers")


def add_processing_options(parser: argparse._ActionsContainer) -> None:
    """Add what may be chosen for one case, or for many alike."""
    parser.add_argument(
        "--input-state",
        choices=[state.value for state in InputState],
        default=InputState.RAW.value,
        help="skull_stripped: zero marks all that is not brain, in both images (default: raw)",
    )
    parser.add_argument(
        "--minimum-lesion-mm3",
        type=float,
        default=3.0,
        metavar="MM3",
        help="drop smaller lesions (default: 3)",
    )
    parser.add_argument(
        "--ignore-quality-failures", action="store_true", help="go on where a check fails"
    )
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="also segment the images blurred, in 3 mm slices and with weaker contrast, and "
        "report how far the volume moves (inference takes four times as long)",
    )


def parse_case_options(args: argparse.Namespace, visit: str = "") -> SegmentationOptions:
    """Check the options before anything is done; of one visit among several, with its date.

    Raises
    ------
    BadOption
        Names each option at fault.
    """
    try:
        return SegmentationOptions.model_validate(
            {
                "input_state": args.input_state,
                "minimum_lesion_mm3": args.minimum_lesion_mm3,
                "label": getattr(args, "label", ""),
                "ignore_quality_failures": args.ignore_quality_failures,
                "robustness": args.robustness,
                "scan_date": given_date(args, visit),
            },
            context=GIVEN,
        )
    except ValidationError as error:
        faults = {str(fault["loc"][0]): fault["msg"] for fault in error.errors()}
        own = {"scan_date": f"{visit}-scan-date" if visit else "scan-date"}
        listed = "; ".join(
            f"--{own.get(name, name.replace('_', '-'))}: {text}" for name, text in faults.items()
        )
        raise BadOption(listed, fields=faults) from error
