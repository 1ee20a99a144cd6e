"""The comparison as a PDF: A4, to be printed and filed. It says what `ChangeContent` says."""

from collections.abc import Sequence
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm

from dlb_core.longitudinal.content import ChangeContent
from dlb_core.longitudinal.figures import ChangeFigures, Triple
from dlb_core.report.content import Fact, Section
from dlb_core.report.document import CheckStatus
from dlb_core.report.sheet import (
    BOLD,
    BOTTOM,
    CAPTION_HEIGHT,
    LINE,
    MARGIN,
    PAGE_WIDTH,
    REGULAR,
    SOFT,
    WASH,
    WIDTH,
    Sheet,
    Style,
    paragraph_of,
)

PRINTED_ROWS = 40
"""Lines that the PDF's table holds; lesions-change.csv has all."""

SMALL, NOTE, LABEL = Style(6.6), Style(6.3, colour=SOFT), Style(6.2, colour=SOFT)
HEADING = Style(11, is_bold=True)
GAP = 4 * mm
TABLE_SIZE = 5.9
WIDTHS = (7, 19, 24, 13, 12, 13, 13, 25, 20, 11, 30)
"""mm, of the lesion table's columns."""
STATUS_COLOURS = {
    CheckStatus.PASS: "#17693f",
    CheckStatus.WARN: "#7a4d00",
    CheckStatus.FAIL: "#a31621",
}
CHANGE_WASH = "#fdf6e6"


def render_change_pdf(content: ChangeContent, figures: ChangeFigures) -> bytes:
    """Lay the comparison out on paper.

    Parameters
    ----------
    content : ChangeContent
        What it says.
    figures : ChangeFigures
        What was drawn of it.

    Returns
    -------
    bytes
        A complete PDF document; the same comparison gives the same bytes.
    """

    def footer(sheet: Sheet) -> None:
        _footer(sheet, content)

    sheet = Sheet(
        title=f"{content.kicker} – {content.title}", subject=content.headline, on_page=footer
    )
    _head(sheet, content)
    _result(sheet, content)
    if content.nothing:
        _nothing(sheet, content.nothing)
    _fates(sheet, content)
    _slices(sheet, content.slices, figures.slices)
    if figures.largest:
        _slices(sheet, content.largest, figures.largest)
    if content.rows:
        _lesions(sheet, content)
    _checks(sheet, content)
    _method(sheet, content)
    return sheet.finish()


def _footer(sheet: Sheet, content: ChangeContent) -> None:
    sheet.rule(BOTTOM - 3 * mm)
    words = f"{content.research_title} {content.research}"
    sheet.line(words, Style(5.6, is_bold=True), x=MARGIN, y=BOTTOM - 6 * mm)
    sheet.line(content.title, LABEL, x=MARGIN, y=BOTTOM - 9.2 * mm)
    number = Style(6.2, colour=SOFT, align_right=True)
    sheet.line(f"Page {sheet.page}", number, x=PAGE_WIDTH - MARGIN, y=BOTTOM - 9.2 * mm)


def _head(sheet: Sheet, content: ChangeContent) -> None:
    sheet.write(content.kicker.upper(), Style(6.6, colour=SOFT))
    sheet.y -= 1.5
    sheet.write(content.title, Style(16, is_bold=True))
    sheet.y -= 6
    _facts(sheet, content.identity)
    sheet.y -= 5
    _box(
        sheet,
        (f"{content.research_title} {content.research}",),
        (Style(7, is_bold=True),),
        edge="#7a4d00",
    )


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


def _result(sheet: Sheet, content: ChangeContent) -> None:
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
    sheet.y -= GAP


def _nothing(sheet: Sheet, paragraphs: tuple[str, ...]) -> None:
    """A result of its own, set apart."""
    styles = (Style(11, is_bold=True), *(Style(7.6) for _ in paragraphs[1:]))
    _box(sheet, paragraphs, styles, edge="#14506e")


def _box(sheet: Sheet, paragraphs: Sequence[str], styles: Sequence[Style], *, edge: str) -> None:
    blocks = [paragraph_of(text, style) for text, style in zip(paragraphs, styles, strict=True)]
    heights = [block.wrap(WIDTH - 22, 400)[1] for block in blocks]
    total = sum(heights) + 4 * (len(heights) - 1) + 9
    sheet.rectangle(MARGIN, sheet.y - total, WIDTH, total, WASH)
    sheet.rectangle(MARGIN, sheet.y - total, 3, total, edge)
    y = sheet.y - 4.5
    for block, height in zip(blocks, heights, strict=True):
        block.drawOn(sheet.canvas, MARGIN + 11, y - height)
        y -= height + 4
    sheet.y -= total + GAP


def _heading(sheet: Sheet, section: Section, *, room: float) -> None:
    sheet.need(room)
    sheet.write(section.title, HEADING)
    sheet.y -= 2
    if section.lead:
        sheet.write(section.lead, NOTE)
        sheet.y -= 4


def _fates(sheet: Sheet, content: ChangeContent) -> None:
    _heading(sheet, content.fates, room=60 * mm)
    rows: list[list[Any]] = [[content.fate_columns[0], "", *content.fate_columns[1:]]]
    commands = [*_table_style(6.6), ("ALIGN", (2, 0), (3, -1), "RIGHT")]
    for n, row in enumerate(content.fate_rows, 1):
        rows.append([row.name, row.rule, row.count, row.volume])
        commands += _changed(n) if row.is_change else []
    sheet.table(rows, [part * WIDTH for part in (0.14, 0.48, 0.12, 0.26)], commands)
    sheet.y -= 4
    sheet.write(content.fates.remark, NOTE)
    sheet.y -= GAP


def _slices(sheet: Sheet, section: Section, triples: Sequence[Triple]) -> None:
    """Two rows of three side by side."""
    gap, middle = 3.0, 10.0
    width = (WIDTH - 4 * gap - middle) / 6
    first = triples[0][0]
    row = first.height * width / first.width + CAPTION_HEIGHT + 3
    _heading(sheet, section, room=min(2 * row, 120 * mm) + 40)
    for start in range(0, len(triples), 2):
        sheet.need(row)
        x = MARGIN
        for triple in triples[start : start + 2]:
            for picture in triple:
                sheet.picture(picture, x=x, top=sheet.y, width=width)
                x += width + gap
            x += middle - gap
        sheet.y -= row
    sheet.y -= GAP / 2


def _lesions(sheet: Sheet, content: ChangeContent) -> None:
    _heading(sheet, content.lesions, room=40 * mm)
    head = [
        f"{column.name}\n{column.unit}" if column.unit else column.name
        for column in content.columns
    ]
    rows = content.rows[:PRINTED_ROWS]
    commands = _table_style(TABLE_SIZE)
    for n, column in enumerate(content.columns):
        if column.is_number:
            commands.append(("ALIGN", (n, 0), (n, -1), "RIGHT"))
        else:
            commands.append(("LEFTPADDING", (n, 0), (n, -1), 7))
    for n, row in enumerate(rows, 1):
        commands += _changed(n) if row.is_change else []
    widths = [part * WIDTH / sum(WIDTHS) for part in WIDTHS]
    sheet.table([head, *(row.cells for row in rows)], widths, commands)
    sheet.y -= 4
    left_out = len(content.rows) - len(rows)
    if left_out:
        sheet.write(f"And {left_out} more: see lesions-change.csv.", Style(6.6, is_bold=True))
        sheet.y -= 2
    sheet.write(content.lesions.remark, NOTE)
    sheet.y -= GAP


def _checks(sheet: Sheet, content: ChangeContent) -> None:
    _heading(sheet, content.quality, room=50 * mm)
    rows: list[list[Any]] = [list(content.check_columns)]
    commands = [
        *_table_style(TABLE_SIZE),
        ("ALIGN", (2, 0), (2, -1), "RIGHT"),
        ("LEFTPADDING", (3, 0), (3, -1), 12),
    ]
    for n, check in enumerate(content.checks, 1):
        title: Any = check.title
        if check.advice:
            plain = Style(TABLE_SIZE)
            title = [paragraph_of(check.title, plain), paragraph_of(check.advice, LABEL)]
        rows.append([f"{check.symbol}  {check.word}", title, check.measured, check.asked])
        commands.append(("TEXTCOLOR", (0, n), (0, n), HexColor(STATUS_COLOURS[check.status])))
        commands.append(("FONTNAME", (0, n), (0, n), BOLD))
    sheet.table(rows, [part * WIDTH for part in (0.13, 0.46, 0.13, 0.28)], commands)
    sheet.y -= GAP


def _method(sheet: Sheet, content: ChangeContent) -> None:
    """Two columns, kept together."""
    width = (WIDTH - 8 * mm) / 2
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
    heights = [[block.wrap(width, 800)[1] for block in column] for column in columns]
    tallest = max(sum(each) + 3 * len(each) for each in heights)
    sheet.need(tallest + 20)
    for n, (column, each) in enumerate(zip(columns, heights, strict=True)):
        y = sheet.y
        for block, height in zip(column, each, strict=True):
            block.drawOn(sheet.canvas, MARGIN + n * (width + 8 * mm), y - height)
            y -= height + 3
    sheet.y -= tallest + 4
    sheet.write(content.fine_print, Style(5.6, colour=SOFT))


def _changed(row: int) -> list[tuple[Any, ...]]:
    """A row that says change: shaded, and its word in bold."""
    return [
        ("BACKGROUND", (0, row), (-1, row), HexColor(CHANGE_WASH)),
        ("FONTNAME", (0, row), (1, row), BOLD),
    ]


def _table_style(size: float) -> list[tuple[Any, ...]]:
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
