"""The report as one HTML file that needs nothing else: no network, no script, no font.

Every value passes through Jinja's escaping; the page forbids itself to load anything.
"""

from jinja2 import Environment, PackageLoader, StrictUndefined

from dlb_core.report import wording
from dlb_core.report.document import Report
from dlb_core.report.figures import Figures
from dlb_core.tiling import GRID_SHAPE

PRINTED_ROWS = 60
"""Lesions that a printed table holds; the screen and lesions.csv show all."""


def render_html(report: Report, figures: Figures) -> str:
    """Lay the report out.

    Parameters
    ----------
    report : Report
        What was measured.
    figures : Figures
        What was drawn of it.

    Returns
    -------
    str
        A complete HTML document.
    """
    status, checks = wording.quality_headline(report.quality)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            figures=figures,
            title=report.label or "Unlabelled case",
            quality_status=status,
            quality_headline=checks,
            size_classes=wording.size_classes(report.lesions),
            grid=" × ".join(str(n) for n in GRID_SHAPE),
            printed_rows=PRINTED_ROWS,
            words=wording,
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("dlb_core.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
