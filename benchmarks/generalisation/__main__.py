"""Which of the paper's ingredients helps on domains that were not trained on.

    python -m benchmarks.generalisation --work DIR [--results FILE] [--quick]

Trains small variants of DeepLesionBrain on simulated domains and tests them on others, as the
paper's tables 2, 3 and 10 do. Everything is seeded. A killed run goes on where it was when the
same command is given again. docs/generalisation.md shows and discusses the committed results.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from benchmarks.generalisation.experiment import markdown, run
from benchmarks.generalisation.plan import FULL, QUICK
from dlb_core.artefacts import write_text


def main() -> None:
    """Run, write the JSON document and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for cases, runs, masks")
    parser.add_argument("--results", type=Path, help="JSON to write (default: in --work)")
    parser.add_argument("--quick", action="store_true", help="under a minute, means nothing")
    args = parser.parse_args()
    # Results must not depend on how many cores a machine has.
    torch.set_num_threads(1)
    document = run(
        args.work,
        QUICK if args.quick else FULL,
        say=lambda text: print(time.strftime("%H:%M:%S"), text, flush=True),
    )
    write_text(args.results or args.work / "results.json", json.dumps(document, indent=1) + "\n")
    print(markdown(document))


if __name__ == "__main__":
    main()
