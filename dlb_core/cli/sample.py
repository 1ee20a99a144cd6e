"""`dlb sample`: write a synthetic patient to try things out with."""

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "sample",
        help="make a synthetic MS patient with known lesions",
        description="Write a synthetic T1w and FLAIR pair with its lesion mask: "
        "the template's anatomy in a head of its own, no person's scan.",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where the files go"
    )
    parser.add_argument(
        "--seed", type=seed, default=1, help="which patient; a seed gives one patient (default: 1)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the patient and say what to do with it."""
    # Loading PyTorch takes seconds; `dlb --help` need not wait for it.
    from dlb_core.synthesis.patient import FLAIR_FILE, LESIONS_FILE, T1W_FILE, write_patient

    output: Path = args.output
    patient = write_patient(output, args.seed)
    mask = patient.lesions_flair
    volume_ml = float(mask.data.sum()) * mask.grid.voxel_mm3 / 1000
    print(f"Synthetic patient {args.seed}, {volume_ml:.1f} ml of lesions:")
    for name in (T1W_FILE, FLAIR_FILE, LESIONS_FILE):
        print(f"  {output / name}")
    print(f"Next: dlb segment --t1w {output / T1W_FILE} --flair {output / FLAIR_FILE} --output DIR")


def seed(text: str) -> int:
    """A seed from the command line: a whole number that is not negative."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("a seed is 0 or more")
    return number
