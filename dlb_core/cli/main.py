"""The `dlb` command: one subcommand a module, errors turned into one line and an exit code."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from dlb_core import __version__
from dlb_core.cli import (
    batch,
    bundle,
    compare,
    correct,
    dataset,
    demo,
    evaluate,
    keys,
    purge,
    sample,
    segment,
    serve,
    submit,
    train,
    view,
)
from dlb_core.errors import DlbError, InputError
from dlb_core.report.document import RESEARCH_USE

DONE, FAILED, USER_CAN_FIX, INTERRUPTED = 0, 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    """Every subcommand's parser."""
    parser = argparse.ArgumentParser(
        prog="dlb",
        description="Multiple sclerosis lesion segmentation from T1w and FLAIR "
        "with DeepLesionBrain.",
        epilog=RESEARCH_USE,
    )
    parser.add_argument("--version", action="version", version=f"dlb {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    using = (segment, correct, compare, view, serve, keys, purge, submit, batch, demo, sample)
    making = (bundle, dataset, train, evaluate)
    for module in using + making:
        module.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Returns
    -------
    int
        0 when done, 2 for input that the user can fix, 130 when interrupted, 1 otherwise.
    """
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.DEBUG if args.debug else logging.WARNING)
    try:
        return int(args.run(args) or DONE)
    except DlbError as error:
        if args.debug:
            raise
        print(f"dlb: {error.code}: {error}", file=sys.stderr)
        return USER_CAN_FIX if isinstance(error, InputError) else FAILED
    except KeyboardInterrupt:
        print("dlb: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (
        FileNotFoundError,
        FileExistsError,
        IsADirectoryError,
        NotADirectoryError,
        PermissionError,
    ) as error:
        if args.debug:
            raise
        print(f"dlb: {error.filename}: {error.strerror}", file=sys.stderr)
        return USER_CAN_FIX
    except BrokenPipeError:
        # The reader of our output left, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


if __name__ == "__main__":
    sys.exit(main())
