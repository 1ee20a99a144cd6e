"""Paper to draw a report on: A4 pages with a cursor that moves down, text, tables and pictures.

Lengths are in PDF points; x and y are taken from the page's lower left corner, as PDF does.
Fonts (DejaVu, from matplotlib) are embedded. The same drawing gives the same bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, Table

from dlb_core.report.glass_brain import GlassView
from dlb_core.report.pictures import Mark, Picture, Polygon

REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"
INK, SOFT, LINE, WASH, OUTLINE = "#16202b", "#51606f", "#c3ccd5", "#f1f4f7", "#ffb627"

PAGE_WIDTH, PAGE_HEIGHT = A4
MARGIN = 14 * mm
WIDTH = PAGE_WIDTH - 2 * MARGIN
TOP = PAGE_HEIGHT - 13 * mm
BOTTOM = 17 * mm

CAPTION_HEIGHT = 9.0


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks."""

    size: float = 8.0
    is_bold: bool = False
    colour: str = INK
    align_right: bool = False

    @property
    def leading(self) -> float:
        """From line to line."""
        return self.size * 1.32

    @property
    def font(self) -> str:
        """The font's name."""
        return BOLD if self.is_bold else REGULAR


class Sheet:
    """Pages of one document; `y` is the cursor, moved down by what is written."""

    def __init__(
        self, *, title: str, subject: str, language: str, on_page: Callable[["Sheet"], None]
    ) -> None:
        _register_fonts()
        self._file = BytesIO()
        self.canvas = Canvas(self._file, pagesize=A4, pageCompression=1, invariant=1, lang=language)
        self.canvas.setTitle(title)
        self.canvas.setSubject(subject)
        self.canvas.setAuthor("DeepLesionBrain Service")
        self._on_page = on_page
        self._page_counts: dict[str, tuple[Style, float, float]] = {}
        self.y = TOP
        self.page = 1

    def finish(self) -> bytes:
        """The document's bytes."""
        self._on_page(self)
        self.canvas.showPage()
        for name, (style, x, y) in self._page_counts.items():
            self.canvas.beginForm(name)
            self.line(str(self.page), style, x=x, y=y)
            self.canvas.endForm()
        self.canvas.save()
        return self._file.getvalue()

    def turn_page(self) -> None:
        """Begin a new page."""
        self._on_page(self)
        self.canvas.showPage()
        self.page += 1
        self.y = TOP

    def need(self, height: float) -> None:
        """Begin a new page unless this one still has room."""
        if self.y - height < BOTTOM:
            self.turn_page()

    def write(self, text: str, style: Style, *, x: float = MARGIN, width: float = WIDTH) -> None:
        """A paragraph at the cursor, which moves below it; on a new page where it does not fit."""
        _, height = paragraph_of(text, style).wrap(width, PAGE_HEIGHT)
        self.need(height)
        self.y -= self.write_at(text, style, x=x, y=self.y, width=width)

    def write_at(self, text: str, style: Style, *, x: float, y: float, width: float) -> float:
        """A paragraph with its upper left corner at (x, y); how high it came out."""
        paragraph = paragraph_of(text, style)
        _, height = paragraph.wrap(width, PAGE_HEIGHT)
        paragraph.drawOn(self.canvas, x, y - height)
        return float(height)

    def line(self, text: str, style: Style, *, x: float, y: float) -> None:
        """One line with its baseline at y; x is its end if the style says so."""
        self.canvas.setFont(style.font, style.size)
        self.canvas.setFillColor(HexColor(style.colour))
        draw = self.canvas.drawRightString if style.align_right else self.canvas.drawString
        draw(x, y, text)

    def page_count(self, style: Style, *, x: float, y: float) -> None:
        """The number of pages, as `line` would write it; it is known, and drawn, at the end."""
        name = f"pages-{x:g}-{y:g}"
        self._page_counts[name] = style, x, y
        self.canvas.doForm(name)

    def table(self, rows: Sequence[Sequence[Any]], widths: Sequence[float], commands: Any) -> None:
        """A table at the cursor; it goes on on the next page where it must, under its head."""
        rest = [Table(rows, colWidths=widths, repeatRows=1, style=commands, hAlign="LEFT")]
        while rest:
            part = rest.pop(0)
            _, height = part.wrap(WIDTH, PAGE_HEIGHT)
            if height > self.y - BOTTOM:
                split = part.split(WIDTH, self.y - BOTTOM)
                if len(split) < 2:
                    self.turn_page()
                    rest.insert(0, part)
                    continue
                rest = split[1:] + rest
                part = split[0]
                _, height = part.wrap(WIDTH, PAGE_HEIGHT)
            part.drawOn(self.canvas, MARGIN, self.y - height)
            self.y -= height
            if rest:
                self.turn_page()

    def rectangle(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle with its lower left corner at (x, y)."""
        self.canvas.setFillColor(HexColor(colour))
        self.canvas.rect(x, y, width, height, stroke=0, fill=1)

    def rule(self, y: float) -> None:
        """A thin line across the page."""
        self.canvas.setStrokeColor(HexColor(LINE))
        self.canvas.setLineWidth(0.5)
        self.canvas.line(MARGIN, y, MARGIN + WIDTH, y)

    def picture(
        self, item: Picture, *, x: float, top: float, width: float, colour: str = OUTLINE
    ) -> float:
        """A picture with outlines, marks and caption; how high it came out."""
        scale = width / item.width
        height = item.height * scale
        self.canvas.drawImage(ImageReader(BytesIO(item.jpeg)), x, top - height, width, height)
        for line, stroke in ((1.5, "#000000"), (0.7, colour)):
            self.polygons(item.polygons, x=x, top=top, scale=scale, stroke=stroke, line=line)
        for mark in item.marks:
            self._leader(mark, x=x, top=top, scale=scale)
        for mark in item.marks:
            self._tag(mark.text, x + mark.x * scale, top - mark.y * scale)
        self._tag(item.left, x + 4.4, top - 4.8, colour="#cfd9e2")
        self._tag(item.right, x + width - 4.4, top - 4.8, colour="#cfd9e2")
        self._caption(item.caption, x + width / 2, top - height)
        return height + CAPTION_HEIGHT

    def glass_view(self, view: GlassView, *, x: float, top: float, width: float) -> float:
        """One side of the glass brain with its caption; how high it came out."""
        scale = width / view.width
        height = view.height * scale

        def draw(polygons: tuple[Polygon, ...], **how: Any) -> None:
            self.polygons(polygons, x=x, top=top, scale=scale, **how)

        draw(view.brain, fill=WASH, stroke="#7c8b99", line=0.6)
        for shape in view.shapes:
            # A line in the same colour, so that lesions of a few voxels are seen.
            draw(shape.polygons, fill=shape.colour, stroke=shape.colour, line=0.7)
        draw(view.landmarks, stroke="#7c8b99", line=0.45, dash=(2, 1.4))
        side = Style(size=5.5, colour=SOFT, is_bold=True)
        self.line(view.left, side, x=x, y=top - 5)
        self.line(view.right, Style(5.5, True, SOFT, True), x=x + width, y=top - 5)
        self._caption(view.caption, x + width / 2, top - height)
        return height + CAPTION_HEIGHT

    def polygons(
        self,
        polygons: tuple[Polygon, ...],
        *,
        x: float,
        top: float,
        scale: float,
        fill: str = "",
        stroke: str = "",
        line: float = 0.5,
        dash: tuple[float, ...] = (),
    ) -> None:
        """Closed polygons in a picture's coordinates; holes stay open."""
        path = self.canvas.beginPath()
        for polygon in polygons:
            for n, (across, down) in enumerate(polygon):
                step = path.lineTo if n else path.moveTo
                step(round(x + across * scale, 2), round(top - down * scale, 2))
            path.close()
        self.canvas.saveState()
        self.canvas.setLineJoin(1)
        self.canvas.setLineWidth(line)
        self.canvas.setDash(list(dash))
        self.canvas.setStrokeColor(HexColor(stroke or INK))
        self.canvas.setFillColor(HexColor(fill or INK))
        self.canvas.drawPath(path, stroke=bool(stroke), fill=bool(fill))
        self.canvas.restoreState()

    def _caption(self, text: str, middle: float, y: float) -> None:
        self.canvas.setFont(REGULAR, 5.8)
        self.canvas.setFillColor(HexColor(SOFT))
        self.canvas.drawCentredString(middle, y - 6.6, text)

    def _leader(self, mark: Mark, *, x: float, top: float, scale: float) -> None:
        """A line from a number to its lesion, where they stand apart."""
        if mark.to is None:
            return
        for line, stroke in ((1.1, "#000000"), (0.5, "#ffffff")):
            self.canvas.setLineWidth(line)
            self.canvas.setStrokeColor(HexColor(stroke))
            start = x + mark.x * scale, top - mark.y * scale
            self.canvas.line(*start, x + mark.to[0] * scale, top - mark.to[1] * scale)

    def _tag(self, text: str, x: float, y: float, *, colour: str = "#ffffff") -> None:
        """Bright on black, to be read on any grey."""
        width = pdfmetrics.stringWidth(text, BOLD, 5.2)
        self.canvas.saveState()
        self.canvas.setFillAlpha(0.6)
        self.rectangle(x - width / 2 - 0.6, y - 2.5, width + 1.2, 5.0, "#000000")
        self.canvas.restoreState()
        self.line(text, Style(5.2, True, colour), x=x - width / 2, y=y - 1.9)


def paragraph_of(text: str, style: Style) -> Paragraph:
    """Text that breaks into lines; nothing in it is markup."""
    # Paragraphs break at every space but this one.
    return Paragraph(
        escape(text.replace("\u202f", "\u00a0")),
        ParagraphStyle(
            "text",
            fontName=style.font,
            fontSize=style.size,
            leading=style.leading,
            textColor=HexColor(style.colour),
            alignment=2 if style.align_right else 0,
        ),
    )


@cache
def _register_fonts() -> None:
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
