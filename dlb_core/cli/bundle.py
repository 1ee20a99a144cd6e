"""`dlb bundle`: look at bundles of weights, verify, average and describe them."""

import argparse
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlb_core.bundled import default_bundle
from dlb_core.cli.display import progress_bar
from dlb_core.contracts import NUM_NETWORKS

if TYPE_CHECKING:
    from dlb_core.model_facts import Facts, Measured, Training


def add_parser(subparsers: Any) -> None:
    """Add `bundle verify`, `bundle show`, `bundle average` and `bundle describe`."""
    parser = subparsers.add_parser("bundle", help="look at, verify or join bundles of weights")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text, action in (
        ("verify", "check every file's digest and every network's answer to the canary", verify),
        ("show", "print what the bundle says of itself: training, figures, failures, use", show),
    ):
        child = actions.add_parser(name, help=text, description=text.capitalize() + ".")
        child.add_argument(
            "folder", type=Path, nargs="?", default=None, help="bundle (default: the shipped one)"
        )
        child.set_defaults(run=action)
    _add_average(actions)
    _add_describe(actions)


def _add_average(actions: Any) -> None:
    child = actions.add_parser(
        "average",
        help="write the bundle whose weights are the mean of several bundles'",
        description="Write the bundle whose weights are the mean of several bundles', network by "
        "network: of trainings that started from the same weights and went different ways. "
        "See docs/training.md.",
    )
    child.add_argument("bundles", type=Path, nargs="+", help="two bundles or more")
    child.add_argument("--output", type=Path, required=True, help="bundle to write")
    child.add_argument(
        "--shares",
        type=float,
        nargs="+",
        default=[],
        metavar="SHARE",
        help="how much each bundle counts, in their order (default: all alike)",
    )
    child.add_argument("--name", default="average", help="its name (default: average)")
    child.add_argument("--version", default="1", help="its version (default: 1)")
    child.set_defaults(run=average)


def _add_describe(actions: Any) -> None:
    child = actions.add_parser(
        "describe",
        help="write figures, known failures and intended use into the manifest and the model card",
        description="Write figures, known failures and intended use into a bundle's manifest and "
        "into the marked parts of its model card. The networks' files stay as they are; the "
        "manifest's SHA-256, by which results name the bundle, changes. See docs/training.md.",
    )
    child.add_argument("folder", type=Path, help="bundle")
    child.add_argument(
        "--figures",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="JSON; what the files leave out stays as the manifest says",
    )
    child.add_argument(
        "--new-card", action="store_true", help="replace a card that has no place for figures"
    )
    child.set_defaults(run=describe)


def verify(args: argparse.Namespace) -> int:
    """Verify a bundle, network by network."""
    from dlb_core.checkpoints import open_bundle, verify_bundle

    console = Console()
    bundle = open_bundle(args.folder or default_bundle())
    with progress_bar(console, "verifying") as (bar, task):
        verify_bundle(bundle, lambda done: bar.update(task, completed=done / NUM_NETWORKS))
    console.print(f"{bundle.manifest.name} {bundle.manifest.version}: {NUM_NETWORKS} networks good")
    return 0


def average(args: argparse.Namespace) -> int:
    """Average bundles."""
    from dlb_core.checkpoints import open_bundle
    from dlb_core.training.averaging import average_bundles

    bundles = [open_bundle(folder) for folder in args.bundles]
    names = " and ".join(f"{b.manifest.name} {b.manifest.version}" for b in bundles)
    written = average_bundles(
        bundles,
        args.output,
        shares=args.shares,
        name=args.name,
        version=args.version,
        description=f"Mean of the weights of {names}.",
    )
    Console(highlight=False).print(
        f"bundle {args.name} {args.version}, the mean of {names}, in {written.folder}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def show(args: argparse.Namespace) -> int:
    """Print a bundle's identity and the facts that its manifest holds."""
    from dlb_core.checkpoints import open_bundle
    from dlb_core.model_facts import Facts

    bundle = open_bundle(args.folder or default_bundle())
    manifest = bundle.manifest
    console = Console(highlight=False)
    console.print(f"[bold]{escape(manifest.name)} {escape(manifest.version)}[/bold]")
    console.print(f"sha256 {bundle.sha256}, networks {bundle.weights_sha256}", soft_wrap=True)
    console.print(manifest.description, markup=False)
    console.print(
        f"{NUM_NETWORKS} networks of width {manifest.architecture.width}, "
        f"{manifest.architecture.num_levels} levels; vote threshold {manifest.vote_threshold:g}"
    )
    _show_facts(manifest.facts or Facts(), console)
    return 0


def describe(args: argparse.Namespace) -> int:
    """Write facts into a bundle, and say what became of its digests."""
    from dlb_core.bundle_facts import describe as write_facts
    from dlb_core.checkpoints import MANIFEST, MODEL_CARD, open_bundle
    from dlb_core.model_facts import read_facts

    before = open_bundle(args.folder)
    after = write_facts(before, read_facts(args.figures), new_card=args.new_card)
    console = Console(highlight=False)
    console.print(f"{MANIFEST} and {MODEL_CARD} are written", markup=False)
    console.print(f"networks  {after.weights_sha256}, as before", soft_wrap=True)
    if after.sha256 == before.sha256:
        console.print(f"manifest  {after.sha256}, as before", soft_wrap=True)
        return 0
    console.print(f"manifest  {before.sha256} is now\n          {after.sha256}", soft_wrap=True)
    console.print(
        "Results name a bundle by its manifest: those made before count as another bundle's in "
        "`dlb compare` and `dlb evaluate`. Restart services and workers that use it.",
        soft_wrap=True,
    )
    return 0


def _show_facts(facts: "Facts", console: Console) -> None:
    if facts.training or facts.training_data:
        _heading("Training", console)
    if facts.training:
        _show_training(facts.training, console)
    _show_list(facts.training_data, console)
    _heading("Measured", console)
    for measured in facts.evaluation:
        _show_figures(measured, console)
    if not facts.evaluation:
        console.print("The manifest holds no figures.")
    for title, texts in (
        ("Known failures", facts.known_failures),
        ("Intended use", facts.intended_use),
    ):
        if texts:
            _heading(title, console)
            _show_list(texts, console)


def _heading(text: str, console: Console) -> None:
    console.print(f"\n[bold]{text}[/bold]")


def _show_list(texts: Sequence[str], console: Console) -> None:
    for text in texts:
        console.print(f"- {_plain(text)}", markup=False)


def _show_training(training: "Training", console: Console) -> None:
    from dlb_core.model_card import run_cases, run_samples, run_steps, training_text

    console.print(training_text(training), markup=False)
    for number, run in enumerate(training.runs, start=1):
        console.print(
            f"Run {number}, recipe {run.recipe}: {run_steps(run)}. Samples: {run_samples(run)}. "
            f"Cases: {run_cases(run)}.",
            markup=False,
        )


def _show_figures(measured: "Measured", console: Console) -> None:
    from dlb_core.model_card import METHOD, figure_rows, seen

    header, rows = figure_rows(measured)
    if METHOD in header:
        # A terminal is narrow: a table a method, without its column.
        at = header.index(METHOD)
        for method, group in groupby(rows, key=lambda row: row[at]):
            short = [row[:at] + row[at + 1 :] for row in group]
            title = f"{measured.title}: {method}"
            console.print(_table(title, header[:at] + header[at + 1 :], short))
    else:
        console.print(_table(measured.title, header, rows))
    console.print(f"{_plain(measured.protocol)} {seen(measured)}", markup=False)
    console.print(f"Made by: {measured.command}\n", markup=False)


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=escape(_plain(title)), title_justify="left", box=SIMPLE_HEAD, padding=0)
    for number, name in enumerate(header):
        # Headings may break, figures may not.
        heading = escape(_plain(name)).replace(" ", "\n")
        table.add_column(heading, justify="right" if number else "left", no_wrap=number > 0)
    for row in rows:
        table.add_row(*(escape(_plain(cell)) for cell in row))
    return table


def _plain(text: str) -> str:
    """Markdown's emphasis means nothing in a terminal."""
    return text.replace("**", "").replace("`", "")
