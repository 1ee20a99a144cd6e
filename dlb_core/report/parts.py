"""What printed reports have in common: title, result, checks, method, the foot of each page."""

from collections.abc import Sequence
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth

from dlb_core.report.content import Column, Fact, Printed, Section
from dlb_core.report.document import CheckStatus
from dlb_core.report.language import say
from dlb_core.report.sheet import (
    BOLD,
    BOTTOM,
    LINE,
    MARGIN,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    REGULAR,
    SOFT,
    WASH,
    WIDTH,
    Sheet,
    Style,
    paragraph_of,
)

SMALL, NOTE, LABEL = Style(6.6), Style(6.3, colour=SOFT), Style(6.2, colour=SOFT)
HEADING = Style(11, is_bold=True)
RESEARCH_USE = Style(6.6, is_bold=True)
"""Of what it is for, under the title: one line."""
FINE_PRINT = Style(5.6, colour=SOFT)
TABLE_SIZE = 5.9
CHECK_WIDTHS = (0.13, 0.46, 0.13, 0.28)
"""Of the page's width, of the columns of the checks."""
ASKED_INDENT = 12
"""Points between what was measured and what is asked for."""
GAP = 4 * mm

STATUS_COLOURS = {
    CheckStatus.PASS: "#17693f",
    CheckStatus.WARN: "#7a4d00",
    CheckStatus.FAIL: "#a31621",
}


def write_footer(sheet: Sheet, content: Printed) -> None:
    """What stands at the foot of every page."""
    sheet.rule(BOTTOM - 3 * mm)
    words = f"{content.research_title} {content.research}"
    sheet.line(words, Style(5.6, is_bold=True), x=MARGIN, y=BOTTOM - 6 * mm)
    sheet.line(content.title, LABEL, x=MARGIN, y=BOTTOM - 9.2 * mm)
    x, y = PAGE_WIDTH - MARGIN - 4, BOTTOM - 9.2 * mm
    page = say("Page {page} of", page=sheet.page)
    sheet.line(page, Style(6.2, colour=SOFT, align_right=True), x=x - 2, y=y)
    sheet.page_count(LABEL, x=x, y=y)


def write_title(sheet: Sheet, content: Printed) -> None:
    """What it is, and of whom."""
    sheet.write(content.kicker.upper(), Style(6.6, colour=SOFT))
    sheet.y -= 1.5
    sheet.write(content.title, Style(16, is_bold=True))
    sheet.y -= 6
    _facts(sheet, content.identity)
    sheet.y -= 5


def _facts(sheet: Sheet, facts: Sequence[Fact]) -> None:
    """Side by side, each under its name."""
    width = WIDTH / len(facts)
    lowest = sheet.y
    for n, fact in enumerate(facts):
        x, y = MARGIN + n * width, sheet.y
        for text, style in ((fact.name, LABEL), (fact.value, SMALL), (fact.remark, LABEL)):
            if text:
                y -= sheet.write_at(text, style, x=x, y=y, width=width - 6)
        lowest = min(lowest, y)
    sheet.y = lowest


def write_result(sheet: Sheet, content: Printed) -> None:
    """The headline, the key figures, and what the checks say together."""
    sheet.write(content.headline, Style(15, is_bold=True))
    sheet.y -= 4
    sheet.write(content.summary, Style(8.4))
    sheet.y -= 6
    width, height = WIDTH / len(content.key_figures), 44.0
    sheet.rectangle(MARGIN, sheet.y - height, WIDTH, height, WASH)
    for n, fact in enumerate(content.key_figures):
        x = MARGIN + n * width + 8
        sheet.line(fact.name, LABEL, x=x, y=sheet.y - 11)
        big = Style(14, is_bold=True)
        sheet.line(fact.value, big, x=x, y=sheet.y - 26)
        end = x + sheet.canvas.stringWidth(fact.value, big.font, big.size) + 4
        sheet.line(fact.unit, Style(7.4, colour=SOFT), x=end, y=sheet.y - 26)
        sheet.line(fact.remark, Style(5.7, colour=SOFT), x=x, y=sheet.y - 37)
    sheet.y -= height + 7
    colour = STATUS_COLOURS[content.quality_status]
    text = f"{content.quality_symbol}  {content.quality_headline}"
    sheet.write(text, Style(8, is_bold=True, colour=colour))


def write_heading(sheet: Sheet, section: Section, *, room: float) -> None:
    """A section's title and lead, on a new page where less than `room` is left."""
    sheet.need(room)
    sheet.write(section.title, HEADING)
    sheet.y -= 2
    if section.lead:
        sheet.write(section.lead, NOTE)
        sheet.y -= 4


def head_of(columns: Sequence[Column]) -> list[str]:
    """The first row of a table, units below names."""
    return [f"{each.name}\n{each.unit}" if each.unit else each.name for each in columns]


def check_table(content: Printed) -> tuple[list[list[Any]], list[tuple[Any, ...]]]:
    """Rows of the quality checks, and how they are set."""
    rows: list[list[Any]] = [list(content.check_columns)]
    commands: list[tuple[Any, ...]] = [
        ("ALIGN", (2, 0), (2, -1), "RIGHT"),
        ("LEFTPADDING", (3, 0), (3, -1), ASKED_INDENT),
    ]
    plain = Style(TABLE_SIZE)
    for n, check in enumerate(content.checks, 1):
        title: Any = check.title
        asked: Any = check.asked
        if check.advice:
            title = [paragraph_of(check.title, plain), paragraph_of(check.advice, LABEL)]
        if stringWidth(asked, REGULAR, TABLE_SIZE) > CHECK_WIDTHS[3] * WIDTH - ASKED_INDENT - 2:
            asked = paragraph_of(asked, plain)
        rows.append([f"{check.symbol}  {check.word}", title, check.measured, asked])
        commands += coloured(n, check.status)
    return rows, commands


def coloured(row: int, status: CheckStatus) -> list[tuple[Any, ...]]:
    """A row's first cell, in the colour of what it says."""
    cell = (0, row), (0, row)
    return [("TEXTCOLOR", *cell, HexColor(STATUS_COLOURS[status])), ("FONTNAME", *cell, BOLD)]


def table_style(size: float) -> list[tuple[Any, ...]]:
    """Every table: a bold head, and lines between rows."""
    return [
        ("FONT", (0, 0), (-1, -1), REGULAR, size, size * 1.15),
        ("FONT", (0, 0), (-1, 0), BOLD, size, size * 1.15),
        ("TEXTCOLOR", (0, 0), (-1, 0), HexColor(SOFT)),
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ("VALIGN", (0, 1), (-1, -1), "MIDDLE"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, HexColor(SOFT)),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, HexColor(LINE)),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.9),
    ]


class Method:
    """How it was made and what it cannot tell: two columns, kept together, and the small print."""

    _WIDTH = (WIDTH - 8 * mm) / 2

    def __init__(self, content: Printed) -> None:
        small = Style(6.3)
        texts = (
            (
                (content.method.title, HEADING),
                *((text, small) for text in content.method_paragraphs),
                (content.source, NOTE),
            ),
            (
                (content.limits.title, HEADING),
                *((f"•  {text}", small) for text in content.limit_points),
            ),
        )
        columns = [[paragraph_of(text, style) for text, style in column] for column in texts]
        self._columns = [
            [(block, float(block.wrap(self._WIDTH, PAGE_HEIGHT)[1])) for block in column]
            for column in columns
        ]
        self._fine_print = content.fine_print

    @property
    def height(self) -> float:
        """What it takes of a page."""
        return self._tallest + 4 + FINE_PRINT.leading * 2

    @property
    def _tallest(self) -> float:
        return max(sum(height + 3 for _, height in column) for column in self._columns)

    def draw(self, sheet: Sheet) -> None:
        """At the cursor, or on a new page."""
        sheet.need(self.height)
        for n, column in enumerate(self._columns):
            y = sheet.y
            for block, height in column:
                block.drawOn(sheet.canvas, MARGIN + n * (self._WIDTH + 8 * mm), y - height)
                y -= height + 3
        sheet.y -= self._tallest + 4
        sheet.write(self._fine_print, FINE_PRINT)
