"""Every text of the reports comes from the catalogue, whatever the language."""

import ast
import gettext
import re
import struct
from collections.abc import Iterator
from dataclasses import asdict
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from dlb_core.contracts import SegmentationOptions
from dlb_core.longitudinal.document import ChangeStatus
from dlb_core.longitudinal.figures import draw_changes
from dlb_core.longitudinal.pdf import render_change_pdf
from dlb_core.longitudinal.statements import write_change_content
from dlb_core.longitudinal.write import render_change_html
from dlb_core.report import wording
from dlb_core.report.content import Printed
from dlb_core.report.document import CheckStatus, Report
from dlb_core.report.figures import draw_figures
from dlb_core.report.language import (
    NUMBER,
    RECORD,
    Language,
    open_language,
    recorded,
    say,
    say_count,
    speaking,
)
from dlb_core.report.messages import PACKAGE, SOURCES, TEMPLATE, Message, messages, template
from dlb_core.report.pdf import render_pdf
from dlb_core.report.render import render_html
from dlb_core.report.statements import write_content
from tests.unit.changed_visits import compared
from tests.unit.reports import LEFT_LESION, RIGHT_LESION, check, material, report
from tests.unit.test_longitudinal_gates import visit
from tests.unit.test_report_pdf import many_lesions, with_all_parts

MAKERS = {"QualityCheck", "_check", "check", "at_most", "Trait", "Alteration"}
"""What takes texts that report.json holds."""
GATES = ["longitudinal/gates.py", "longitudinal/rules.py"]
LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FOREIGN = "".join(chr(0x410 + n) for n in range(26)) + "".join(chr(0x430 + n) for n in range(26))
TABLE = str.maketrans(LATIN, FOREIGN)

DATA = {
    *("ml", "mm", "x", "y", "z", "UTC", "T", "w", "FLAIR", "DeepLesionBrain", "Service"),
    *("case", "dlb", "threshold", "A", "model", "Reader", "plexus", "taken", "out"),
}
"""Words that no catalogue translates: units, names, and what the tests' cases are called."""


class Foreign(gettext.NullTranslations):
    """Says what the template of catalogues lists, in letters that English has not."""

    known = frozenset(messages())

    def gettext(self, message: str) -> str:
        return self._said(Message(message), message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self._said(Message(msgid1, msgid2), msgid1 if n == 1 else msgid2)

    def pgettext(self, context: str, message: str) -> str:
        return self._said(Message(message, context=context), message)

    def _said(self, entry: Message, text: str) -> str:
        if entry not in self.known:
            return text
        parts = re.split(r"(\{\w+\})", text)
        return "".join(p if p.startswith("{") else p.translate(TABLE) for p in parts)


CHECKS = (check(CheckStatus.WARN).model_copy(update={"title": "Volume of the brain mask"}),)
FOREIGNERS = Language(
    "qps-ploc",
    Foreign(),
    tuple(m.text for m in messages() if m.context == RECORD and "{" in m.text),
)


@pytest.fixture(autouse=True)
def foreign() -> Iterator[None]:
    with speaking(FOREIGNERS):
        yield


class Words(HTMLParser):
    """All that a page lets be read, by eye or by ear."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.language = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        named = dict(attrs)
        self.words += [named[n] or "" for n in ("alt", "aria-label", "title") if n in named]
        self.language = named.get("lang") or self.language

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.words.append(data)


def english(text: str) -> list[str]:
    """Latin words that are no data; digests and numbers of versions aside."""
    text = re.sub(r"\b[0-9a-f]{12,}\b", " ", text)
    return [word for word in re.findall(r"[A-Za-z]+", text) if word not in DATA]


def read_page(html: str) -> str:
    page = Words(html)
    assert page.language == FOREIGNERS.code
    return " ".join(page.words)


def read_pdf(document: bytes) -> str:
    pdf = PdfReader(BytesIO(document))
    assert pdf.root_object["/Lang"] == FOREIGNERS.code
    assert pdf.metadata is not None
    told = [page.extract_text() for page in pdf.pages]
    return " ".join((*told, pdf.metadata.title or "", pdf.metadata.subject or ""))


def texts(value: Any) -> Iterator[str]:
    """All strings of a content but for codes and colours."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in {"language", "shade", "status", "quality_status", "smaller"}:
                yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def words_of(content: Printed) -> str:
    return " ".join(texts(asdict(content)))


def real_checks() -> Report:
    """A case that every check of input and comparison has something to say of."""
    case = compared((visit(), visit(voxel=(3, 3, 3), model="1" * 64)), ()).comparison
    return report([RIGHT_LESION], quality=case.quality)


def test_report_page_and_pdf_hold_no_text_of_their_own() -> None:
    """A sentence outside the catalogue would stay English in every other language."""
    boxes = [RIGHT_LESION, LEFT_LESION]
    case = with_all_parts(report(boxes, quality=real_checks().quality))
    figures = draw_figures(material(boxes), case.lesions)
    content = write_content(case, figures.unseen)

    assert english(read_page(render_html(content, figures))) == []
    assert english(read_pdf(render_pdf(content, figures))) == []


def test_a_comparison_holds_no_text_of_its_own() -> None:
    pair = compared((visit(), visit(sha256="b" * 64)), tuple(ChangeStatus))
    figures = draw_changes(pair)
    content = write_change_content(pair.comparison, figures.unseen)

    assert english(read_page(render_change_html(content, figures))) == []
    assert english(read_pdf(render_change_pdf(content, figures))) == []


@pytest.mark.parametrize(
    "case",
    [
        report([], quality=CHECKS),
        report(
            [RIGHT_LESION],
            quality=CHECKS,
            options=SegmentationOptions(input_state="skull_stripped"),
        ),
        report([], quality=(), label=""),
        with_all_parts(report([], quality=CHECKS)),
        many_lesions(60).model_copy(update={"quality": CHECKS}),
    ],
    ids=["none", "stripped", "unlabelled", "corrected", "many"],
)
def test_no_other_case_holds_a_text_of_its_own(case: Report) -> None:
    """Sentences that only some cases say are forgotten first."""
    content = write_content(case, unseen=2)

    assert english(words_of(content)) == []
    assert english(" ".join(content.smaller(n) for n in (0, 1, len(case.lesions) - 1))) == []


def test_nothing_changed_is_said_in_the_same_way() -> None:
    pair = compared((visit(), visit(sha256="b" * 64)), (ChangeStatus.STABLE,))

    assert english(words_of(write_change_content(pair.comparison, unseen=0))) == []


def test_what_the_checks_recorded_in_english_is_said_in_the_language() -> None:
    """report.json is the same everywhere; its reader is not."""
    checks = [wording.check_row(check) for check in real_checks().quality]

    assert len(checks) > 8
    assert any(check.status is CheckStatus.FAIL and check.advice for check in checks)
    assert english(" ".join(text for check in checks for text in texts(asdict(check)))) == []


@pytest.mark.parametrize("file", [path for path in SOURCES if "*" not in path] + GATES)
def test_what_makes_checks_records_texts_that_catalogues_list(file: str) -> None:
    """A check's new advice would else stay English, on the few cases that it is for."""
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    makers = [call for call in calls if called(call) in MAKERS]
    listed = {id(part) for call in calls if called(call) == "record" for part in ast.walk(call)}

    told = [part for call in makers for part in ast.walk(call) if isinstance(part, ast.Constant)]

    assert makers
    assert [t.value for t in told if " " in str(t.value) and id(t) not in listed] == []


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def test_words_of_others_stay_as_they_are() -> None:
    """A note that a reader wrote is theirs."""
    assert recorded("Scan again, please") == "Scan again, please"


def test_the_template_of_catalogues_is_up_to_date() -> None:
    """Translators start from it: run `make messages` after a change of texts."""
    assert TEMPLATE.read_text(encoding="utf-8") == template()


def test_a_catalogue_says_texts_plurals_and_numbers_its_own_way(tmp_path: Path) -> None:
    """The way a translation takes: a compiled catalogue in a folder."""
    write_catalogue(
        tmp_path / "fr" / "LC_MESSAGES" / "report.mo",
        {
            "": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n>1;\n",
            NUMBER: "1\u202f234,5",
            "Volume of the brain mask": "Volume cérébral",
            "{count} lesion\0{count} lesions": "{count} lésion\0{count} lésions",
            f"{RECORD}\4>= {{good}} (fail < {{usable}})": "≥ {good} (échec < {usable})",
        },
    )

    with speaking(open_language("fr", tmp_path)):
        assert say("Volume of the brain mask") == "Volume cérébral"
        assert say("Lesions") == "Lesions"
        assert say_count("{count} lesion", "{count} lesions", 0) == "0 lésion"
        assert say_count("{count} lesion", "{count} lesions", 1200) == "1\u202f200 lésions"
        assert wording.number(-1561.44, 1) == "−1\u202f561,4"
        assert recorded(">= 0.92 (fail < 0.85)") == "≥ 0,92 (échec < 0,85)"


def write_catalogue(path: Path, entries: dict[str, str]) -> None:
    """What `msgfmt` writes: GNU gettext's binary form."""
    pairs = sorted((name.encode(), text.encode()) for name, text in entries.items())
    start = 28 + 16 * len(pairs)
    tables, blob = [], b""
    for column in (0, 1):
        for pair in pairs:
            tables.append(struct.pack("<II", len(pair[column]), start + len(blob)))
            blob += pair[column] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(head + b"".join(tables) + blob)
