"""The report as a PDF: A4, two or three pages for a typical case, to be printed and filed.

It says what `Content` says, as the page does. Fonts are embedded; shades and words carry what
colours carry; the same report gives the same bytes.
"""

from collections.abc import Sequence
from typing import Any

from reportlab.lib.units import mm
from reportlab.platypus import Table

from dlb_core.report.content import ClassRow, Content, Section
from dlb_core.report.document import CheckStatus
from dlb_core.report.figures import Figures
from dlb_core.report.glass_brain import GlassView
from dlb_core.report.parts import (
    CHECK_WIDTHS,
    GAP,
    HEADING,
    LABEL,
    NOTE,
    RESEARCH_USE,
    STATUS_COLOURS,
    TABLE_SIZE,
    Method,
    check_table,
    coloured,
    head_of,
    table_style,
    write_footer,
    write_heading,
    write_result,
    write_title,
)
from dlb_core.report.pictures import Picture
from dlb_core.report.sheet import (
    BOTTOM,
    CAPTION_HEIGHT,
    MARGIN,
    PAGE_HEIGHT,
    SOFT,
    TOP,
    WASH,
    WIDTH,
    Sheet,
    Style,
    paragraph_of,
)

PAGES = 3
"""The table is cut so that the report keeps to so many, where it can."""
FEWEST_ROWS, MOST_ROWS = 12, 40
"""Lesions that the PDF's table holds; lesions.csv has all."""

TEXT = Style(7.6)
ROW_HEIGHT = TABLE_SIZE * 1.15 + 3.4
"""Of a table's row of one line."""

LESION_WIDTHS = (7, 26, 13, 12, 14, 23, 17, 15, 13, 17, 17, 19)
"""mm, of the lesion table's columns."""
BAND_WIDTH = 0.7 * WIDTH


def render_pdf(content: Content, figures: Figures) -> bytes:
    """Lay the report out on paper.

    Parameters
    ----------
    content : Content
        What it says.
    figures : Figures
        What was drawn of it.

    Returns
    -------
    bytes
        A complete PDF document.
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
        _nothing(sheet, content)
    else:
        _where(sheet, content, figures.glass)
    _projections(sheet, content, figures)
    _slices(sheet, content.slices, figures.mosaic)
    blocks: list[_Block | Method] = [*_blocks(content), Method(content)]
    if content.lesion_rows:
        _lesions(sheet, content, below=sum(block.height for block in blocks))
    for n, block in enumerate(blocks):
        _keep_together(sheet, [one.height for one in blocks[n:]])
        block.draw(sheet)
    return sheet.finish()


def _keep_together(sheet: Sheet, heights: Sequence[float]) -> None:
    """Part no block between two pages, where what is left fits on the next one."""
    if heights[0] > sheet.y - BOTTOM and sum(heights) <= TOP - BOTTOM:
        sheet.turn_page()


def _head(sheet: Sheet, content: Content) -> None:
    write_title(sheet, content)
    text = f"{content.research_title} {content.research}"
    words = paragraph_of(text, RESEARCH_USE)
    _, height = words.wrap(WIDTH - 12, 100)
    sheet.rectangle(MARGIN, sheet.y - height - 8, WIDTH, height + 8, WASH)
    sheet.rectangle(MARGIN, sheet.y - height - 8, 2.5, height + 8, "#7a4d00")
    words.drawOn(sheet.canvas, MARGIN + 8, sheet.y - height - 4)
    sheet.y -= height + 8 + GAP


def _result(sheet: Sheet, content: Content) -> None:
    if content.correction:
        sheet.write(
            content.correction, Style(7, is_bold=True, colour=STATUS_COLOURS[CheckStatus.WARN])
        )
        sheet.y -= 6
    write_result(sheet, content)
    light = content.trust_light
    if light is not None:
        sheet.y -= 2
        colour = STATUS_COLOURS[light.status]
        sheet.write(f"{light.symbol}  {light.text}", Style(8, is_bold=True, colour=colour))
    sheet.y -= GAP


def _nothing(sheet: Sheet, content: Content) -> None:
    """A result of its own, set apart."""
    styles = (Style(11, is_bold=True), *(TEXT for _ in content.nothing[1:]))
    blocks = [paragraph_of(t, s) for t, s in zip(content.nothing, styles, strict=True)]
    heights = [block.wrap(WIDTH - 26, 200)[1] for block in blocks]
    total = sum(heights) + 4 * (len(heights) - 1) + 18
    sheet.rectangle(MARGIN, sheet.y - total, WIDTH, total, WASH)
    sheet.rectangle(MARGIN, sheet.y - total, 4, total, "#14506e")
    y = sheet.y - 9
    for block, height in zip(blocks, heights, strict=True):
        block.drawOn(sheet.canvas, MARGIN + 14, y - height)
        y -= height + 4
    sheet.y -= total + GAP


def _where(sheet: Sheet, content: Content, views: Sequence[GlassView]) -> None:
    """The class diagram, and the glass brain under it."""
    write_heading(sheet, content.classes, room=75 * mm)
    ends = [MARGIN + part * WIDTH for part in (0.53, 0.64, 0.76, 0.88, 1.0)]
    for name, end in zip(content.class_columns[1:], ends, strict=True):
        sheet.line(name, Style(6.2, True, SOFT, True), x=end, y=sheet.y - 7)
    sheet.line(content.class_columns[0], Style(6.2, True, SOFT), x=MARGIN, y=sheet.y - 7)
    sheet.y -= 10
    for row in content.class_rows:
        _class_row(sheet, row, ends)
    sheet.rule(sheet.y)
    sheet.y -= 4
    sheet.write(content.classes.remark, NOTE)
    sheet.y -= GAP
    _band(sheet, content.glass, views)


def _class_row(sheet: Sheet, row: ClassRow, ends: Sequence[float]) -> None:
    sheet.rule(sheet.y)
    y = sheet.y - 9.5
    sheet.rectangle(MARGIN, y - 0.5, 7, 7, row.shade)
    sheet.line(row.name, Style(7.4, is_bold=True), x=MARGIN + 11, y=y)
    sheet.line(row.rule, Style(5.8, colour=SOFT), x=MARGIN + 11, y=y - 8.5)
    left, right = MARGIN + 0.385 * WIDTH, ends[0] - 16
    sheet.rectangle(left, y - 3, right - left, 6, WASH)
    sheet.rectangle(left, y - 3, (right - left) * row.share, 6, row.shade)
    count, rest = Style(8, True, align_right=True), Style(6.6, align_right=True)
    cells = (row.count, row.volume_ml, *row.sides)
    for n, (text, end) in enumerate(zip(cells, ends, strict=True)):
        sheet.line(text, rest if n else count, x=end, y=y - 2)
    sheet.y -= 22


def _projections(sheet: Sheet, content: Content, figures: Figures) -> None:
    _band(sheet, content.projections, figures.projections)
    x, step = MARGIN + BAND_WIDTH + 8 * mm, 60 / len(figures.scale)
    y = sheet.y + GAP + 12
    sheet.line("0 %", LABEL, x=x, y=y)
    for n, colour in enumerate(figures.scale):
        sheet.rectangle(x + 15 + n * step, y - 1, step + 0.3, 6.5, colour)
    sheet.line("100 %", LABEL, x=x + 79, y=y)


def _band(sheet: Sheet, section: Section, items: Sequence[Any]) -> None:
    """Pictures on the left at one scale, and on the right what they show."""
    height = _height(items, BAND_WIDTH) + CAPTION_HEIGHT
    sheet.need(height)
    x, width = MARGIN + BAND_WIDTH + 8 * mm, WIDTH - BAND_WIDTH - 8 * mm
    y = sheet.y - sheet.write_at(section.title, HEADING, x=x, y=sheet.y, width=width) - 3
    sheet.write_at(section.lead, NOTE, x=x, y=y, width=width)
    _row(sheet, items, width=BAND_WIDTH, colour="#ffffff")
    sheet.y -= height + GAP


def _height(items: Sequence[Any], width: float) -> float:
    """Of a row of pictures that share one scale."""
    scale = (width - 6 * (len(items) - 1)) / sum(item.width for item in items)
    return float(max(item.height for item in items) * scale)


def _row(sheet: Sheet, items: Sequence[Any], *, width: float, colour: str) -> None:
    """Pictures side by side at one scale, on one baseline."""
    scale = (width - 6 * (len(items) - 1)) / sum(item.width for item in items)
    tallest = max(item.height for item in items) * scale
    x = MARGIN
    for item in items:
        where = {
            "x": x,
            "top": sheet.y - tallest + item.height * scale,
            "width": item.width * scale,
        }
        if isinstance(item, GlassView):
            sheet.glass_view(item, **where)
        else:
            sheet.picture(item, **where, colour=colour)
        x += item.width * scale + 6


def _slices(sheet: Sheet, section: Section, pictures: Sequence[Picture]) -> None:
    columns = 4 if len(pictures) <= 12 else 5
    width = (WIDTH - 4 * (columns - 1)) / columns
    row = max(picture.height for picture in pictures) * width / pictures[0].width + 11
    write_heading(sheet, section, room=min(row * 3 + 60, TOP - BOTTOM))
    for start in range(0, len(pictures), columns):
        sheet.need(row)
        for n, picture in enumerate(pictures[start : start + columns]):
            sheet.picture(picture, x=MARGIN + n * (width + 4), top=sheet.y, width=width)
        sheet.y -= row
    sheet.y -= GAP / 2


def _lesions(sheet: Sheet, content: Content, *, below: float) -> None:
    """The largest lesions, as many as leave room for what comes below."""
    write_heading(sheet, content.lesions, room=45 * mm)
    head = head_of(content.lesion_columns)
    right = [n for n, column in enumerate(content.lesion_columns) if column.is_number]
    commands = table_style(TABLE_SIZE) + [("ALIGN", (n, 0), (n, -1), "RIGHT") for n in right]
    commands += [("LEFTPADDING", (n, 0), (n, -1), 7) for n in {*range(12)} - {*right}]
    widths = [part * WIDTH / sum(LESION_WIDTHS) for part in LESION_WIDTHS]
    remark = paragraph_of(content.lesions.remark, NOTE).wrap(WIDTH, PAGE_HEIGHT)[1]
    rows = content.lesion_rows[: _rows_with_room(sheet, below + remark + 14 + GAP)]
    sheet.table([head, *rows], widths, commands)
    sheet.y -= 4
    rest = content.smaller(len(rows))
    if rest:
        sheet.write(rest, Style(6.6, is_bold=True))
        sheet.y -= 2
    sheet.write(content.lesions.remark, NOTE)
    sheet.y -= GAP


def _rows_with_room(sheet: Sheet, below: float) -> int:
    """How many rows a table at the cursor may have, to keep to the pages there are to be."""
    pages = max(PAGES - sheet.page, 0)
    heads = (1 + pages) * 2 * ROW_HEIGHT
    room = sheet.y - BOTTOM + pages * (TOP - BOTTOM) - heads - below
    return min(max(int(room / ROW_HEIGHT), FEWEST_ROWS), MOST_ROWS)


class _Block:
    """A heading and a table under it."""

    def __init__(
        self, section: Section, rows: list[list[Any]], widths: Sequence[float], commands: Any
    ) -> None:
        self._section = section
        self._rows = rows
        self._widths = [part * WIDTH for part in widths]
        self._commands = [*table_style(TABLE_SIZE), *commands]

    @property
    def height(self) -> float:
        """What it takes of a page."""
        lead = paragraph_of(self._section.lead, NOTE).wrap(WIDTH, PAGE_HEIGHT)[1]
        table = Table(self._rows, colWidths=self._widths, style=self._commands)
        below = table.wrap(WIDTH, PAGE_HEIGHT)[1] if len(self._rows) > 1 else 0
        return float(HEADING.leading + 6 + lead + below + GAP)

    def draw(self, sheet: Sheet) -> None:
        """At the cursor; over the page's end where it must."""
        write_heading(sheet, self._section, room=min(self.height, 40 * mm))
        if len(self._rows) > 1:
            sheet.table(self._rows, self._widths, self._commands)
        sheet.y -= GAP


def _blocks(content: Content) -> tuple[_Block, ...]:
    """Quality checks, the input's traits, the altered runs: what there is of them."""
    blocks = [_checks(content)]
    if content.trust_light is not None:
        blocks.append(_traits(content))
    if content.robustness_rows:
        rows = [list(row) for row in (content.robustness_columns, *content.robustness_rows)]
        commands = [("ALIGN", (1, 0), (-1, -1), "RIGHT")]
        blocks.append(_Block(content.robustness, rows, (0.46, 0.13, 0.13, 0.28), commands))
    return tuple(blocks)


def _checks(content: Content) -> _Block:
    rows, commands = check_table(content)
    return _Block(content.quality, rows, CHECK_WIDTHS, commands)


def _traits(content: Content) -> _Block:
    """Those outside their ranges; the page and report.json hold all."""
    rows: list[list[Any]] = [["", *content.trait_columns]]
    commands: list[tuple[Any, ...]] = [
        ("ALIGN", (2, 0), (2, -1), "RIGHT"),
        ("LEFTPADDING", (3, 0), (3, -1), 12),
    ]
    outside = [row for row in content.trait_rows if row.status is not CheckStatus.PASS]
    for n, row in enumerate(outside, 1):
        rows.append([row.symbol, row.title, row.measured, row.known])
        commands += coloured(n, row.status)
    return _Block(content.trust, rows, (0.03, 0.56, 0.13, 0.28), commands)
