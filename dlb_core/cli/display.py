"""What the subcommands show of a case: one progress bar, and a summary at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dlb_core import artefacts
from dlb_core.report.document import RESEARCH_USE, CheckStatus, Report
from dlb_core.report.wording import head_volume, hundredths

_COLOURS = {CheckStatus.PASS: "green", CheckStatus.WARN: "yellow", CheckStatus.FAIL: "red"}


@contextmanager
def progress_bar(console: Console, description: str) -> Iterator[tuple[Progress, TaskID]]:
    """Show one bar, from 0 to 1."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=40),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield bar, bar.add_task(description, total=1.0)


def summarise(report: Report, folder: Path, console: Console) -> None:
    """Print the case's numbers, the quality checks, and where the report lies."""
    totals = report.totals
    lesions = "1 lesion" if totals.lesion_count == 1 else f"{totals.lesion_count} lesions"
    console.print(
        f"\n[bold]{lesions}, {hundredths(totals.lesion_volume_ml)} ml[/bold] "
        f"({hundredths(totals.lesion_load_percent)} % of "
        f"{head_volume(totals)})",
        highlight=False,
    )
    for check in report.quality:
        colour = _COLOURS[check.status]
        console.print(f"  [{colour}]{check.status.value:>4}[/{colour}]  {escape(check.title)}")
    console.print()
    for name in (artefacts.REPORT_HTML, artefacts.REPORT_PDF):
        if (folder / name).is_file():
            console.print(f"report: {folder / name}", markup=False, soft_wrap=True)
    console.print(RESEARCH_USE, style="dim")
