"""The report as one HTML file that needs nothing else: no network, no script, no font.

Every value passes through Jinja's escaping; the page forbids itself to load anything.
"""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from dlb_core.report.content import Content
from dlb_core.report.figures import Figures
from dlb_core.report.language import say

PRINTED_ROWS = 60
"""Lesions that a printed table holds; the screen and lesions.csv show all."""


def render_html(content: Content, figures: Figures) -> str:
    """Lay the report out as a page.

    Parameters
    ----------
    content : Content
        What it says.
    figures : Figures
        What was drawn of it.

    Returns
    -------
    str
        A complete HTML document.
    """
    template = page_environment("dlb_core.report").get_template("report.html.j2")
    return template.render(content=content, figures=figures, printed_rows=PRINTED_ROWS)


def page_environment(*packages: str) -> Environment:
    """How pages are made of the templates of these packages, the first that has one."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["say"] = say
    return environment
