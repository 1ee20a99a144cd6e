"""Lists in options: networks as `0-37,40`, subjects as `01,07`."""

import argparse
import re

from dlb_core.contracts import NUM_NETWORKS

_PART = re.compile(r"(\d+)(?:-(\d+))?")


def parse_networks(text: str) -> list[int]:
    """Read numbers and ranges, comma-separated; as argparse's `type`.

    Raises
    ------
    argparse.ArgumentTypeError
        Something else stands there, or a number beyond the last network's.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise argparse.ArgumentTypeError(f"'{part}' is no number or range, as in 0-37,40")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < NUM_NETWORKS:
            raise argparse.ArgumentTypeError(f"'{part}': networks are 0 to {NUM_NETWORKS - 1}")
        chosen.update(range(first, last + 1))
    return sorted(chosen)


def parse_subjects(text: str) -> frozenset[str]:
    """Read names, comma-separated; none where nothing stands."""
    return frozenset(filter(None, text.split(",")))
