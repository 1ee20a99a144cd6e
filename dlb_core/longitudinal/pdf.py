"""The comparison as a PDF: A4, to be printed and filed. It says what `ChangeContent` says."""

from collections.abc import Sequence
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm

from dlb_core.longitudinal.content import ChangeContent
from dlb_core.longitudinal.figures import ChangeFigures, Triple
from dlb_core.report.content import Section
from dlb_core.report.language import say_count
from dlb_core.report.parts import (
    CHECK_WIDTHS,
    GAP,
    NOTE,
    RESEARCH_USE,
    TABLE_SIZE,
    Method,
    check_table,
    head_of,
    table_style,
    write_footer,
    write_heading,
    write_result,
    write_title,
)
from dlb_core.report.sheet import (
    BOLD,
    CAPTION_HEIGHT,
    MARGIN,
    WASH,
    WIDTH,
    Sheet,
    Style,
    paragraph_of,
)

PRINTED_ROWS = 40
"""Lines that the PDF's table holds; lesions-change.csv has all."""

WIDTHS = (7, 19, 24, 13, 12, 13, 13, 24, 19, 10, 33)
"""mm, of the lesion table's columns."""
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
        write_footer(sheet, content)

    sheet = Sheet(
        title=f"{content.kicker} – {content.title}",
        subject=content.headline,
        language=content.language,
        on_page=footer,
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
    Method(content).draw(sheet)
    return sheet.finish()


def _head(sheet: Sheet, content: ChangeContent) -> None:
    write_title(sheet, content)
    _box(
        sheet,
        (f"{content.research_title} {content.research}",),
        (RESEARCH_USE,),
        edge="#7a4d00",
    )


def _result(sheet: Sheet, content: ChangeContent) -> None:
    write_result(sheet, content)
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


def _fates(sheet: Sheet, content: ChangeContent) -> None:
    write_heading(sheet, content.fates, room=60 * mm)
    rows: list[list[Any]] = [[content.fate_columns[0], "", *content.fate_columns[1:]]]
    commands = [*table_style(6.6), ("ALIGN", (2, 0), (3, -1), "RIGHT")]
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
    write_heading(sheet, section, room=min(2 * row, 120 * mm) + 40)
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
    write_heading(sheet, content.lesions, room=40 * mm)
    head = head_of(content.columns)
    rows = content.rows[:PRINTED_ROWS]
    commands = table_style(TABLE_SIZE)
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
        more = say_count(
            "And {count} more: see lesions-change.csv.",
            "And {count} more: see lesions-change.csv.",
            left_out,
        )
        sheet.write(more, Style(6.6, is_bold=True))
        sheet.y -= 2
    sheet.write(content.lesions.remark, NOTE)
    sheet.y -= GAP


def _checks(sheet: Sheet, content: ChangeContent) -> None:
    write_heading(sheet, content.quality, room=50 * mm)
    rows, commands = check_table(content)
    sheet.table(
        rows, [part * WIDTH for part in CHECK_WIDTHS], [*table_style(TABLE_SIZE), *commands]
    )
    sheet.y -= GAP


def _changed(row: int) -> list[tuple[Any, ...]]:
    """A row that says change: shaded, and its word in bold."""
    return [
        ("BACKGROUND", (0, row), (-1, row), HexColor(CHANGE_WASH)),
        ("FONTNAME", (0, row), (1, row), BOLD),
    ]
