"""`dlb bundle`: look at a bundle of weights, and verify it."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from dlb_core.bundled import default_bundle
from dlb_core.cli.display import progress_bar
from dlb_core.contracts import NUM_NETWORKS


def add_parser(subparsers: Any) -> None:
    """Add `bundle verify` and `bundle show`."""
    parser = subparsers.add_parser("bundle", help="look at or verify a bundle of weights")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text, action in (
        ("verify", "check every file's digest and every network's answer to the canary", verify),
        ("show", "print what the bundle says of itself", show),
    ):
        child = actions.add_parser(name, help=text, description=text.capitalize() + ".")
        child.add_argument(
            "folder", type=Path, nargs="?", default=None, help="bundle (default: the shipped one)"
        )
        child.set_defaults(run=action)


def verify(args: argparse.Namespace) -> int:
    """Verify a bundle, network by network."""
    from dlb_core.checkpoints import open_bundle, verify_bundle

    console = Console()
    bundle = open_bundle(args.folder or default_bundle())
    with progress_bar(console, "verifying") as (bar, task):
        verify_bundle(bundle, lambda done: bar.update(task, completed=done / NUM_NETWORKS))
    console.print(f"{bundle.manifest.name} {bundle.manifest.version}: {NUM_NETWORKS} networks good")
    return 0


def show(args: argparse.Namespace) -> int:
    """Print a bundle's identity."""
    from dlb_core.checkpoints import open_bundle

    bundle = open_bundle(args.folder or default_bundle())
    manifest = bundle.manifest
    console = Console(highlight=False)
    console.print(f"[bold]{manifest.name} {manifest.version}[/bold]  sha256 {bundle.sha256}")
    console.print(manifest.description)
    console.print(
        f"{NUM_NETWORKS} networks of width {manifest.architecture.width}, "
        f"{manifest.architecture.num_levels} levels; vote threshold {manifest.vote_threshold:g}"
    )
    return 0
