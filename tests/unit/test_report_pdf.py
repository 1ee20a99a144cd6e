"""The PDF says what report.json says, and can be filed: fonts inside, the same bytes again."""

import json
import re
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from dlb_core.input_trust import KNOWN, judge_statistics
from dlb_core.report.content import Content
from dlb_core.report.document import AlteredRun, CheckStatus, Correction, Report, Robustness
from dlb_core.report.figures import Figures, draw_figures
from dlb_core.report.pdf import MOST_ROWS, PAGES, render_pdf
from dlb_core.report.sheet import BOTTOM, Sheet, Style
from dlb_core.report.statements import write_content
from tests.unit.reports import LEFT_LESION, RIGHT_LESION, check, material, report

BOXES = (RIGHT_LESION, LEFT_LESION)


@cache
def figures(count: int) -> Figures:
    """Pictures of the first `count` lesions."""
    boxes = BOXES[:count]
    return draw_figures(material(boxes), report(boxes).lesions)


def pdf_of(case: Report) -> tuple[bytes, Content]:
    content = write_content(case, unseen=0)
    return render_pdf(content, figures(min(len(case.lesions), 2))), content


def text_of(document: bytes) -> str:
    """All words, with one space between any two."""
    pages = PdfReader(BytesIO(document)).pages
    return plain(" ".join(page.extract_text() for page in pages))


def plain(words: str) -> str:
    """Line breaks as spaces, minus signs as hyphens; the narrow space within numbers stays."""
    return re.sub(r"[ \n]+", " ", words.replace("−", "-"))


def many_lesions(count: int) -> Report:
    """Two lesions drawn, and as many measured as asked for, each with numbers of its own."""
    case = report(BOXES)
    lesions = tuple(
        case.lesions[n % 2].model_copy(
            update={
                "id": n + 1,
                "volume_mm3": 1234.5 - 7.3 * n,
                "centroid_mni_mm": (32.4 - n, -23.6 + n, 20.6),
                "agreement": 0.987 - 0.006 * n,
            }
        )
        for n in range(count)
    )
    return case.model_copy(update={"lesions": lesions})


def with_all_parts(case: Report) -> Report:
    """As if the input were unlike what is known, the altered runs asked for, the mask corrected."""
    middle = {name: (low + high) / 2 for name, (low, high) in KNOWN.items()}
    blurred = AlteredRun(
        name="blur",
        title="blurred (Gaussian, 0.7 mm)",
        lesion_count=7,
        lesion_volume_ml=0.617,
        overlap_dice=0.83,
    )
    edit = Correction(
        version=2,
        created="2026-04-17T09:41:00+00:00",
        author="A. Reader",
        note="plexus taken out",
        space="FLAIR",
        mask_sha256="0" * 64,
        added_ml=0.31,
        removed_ml=4.59,
        lesion_count_before=19,
        lesion_volume_before_ml=5.61,
    )
    return case.model_copy(
        update={
            "input_trust": judge_statistics(middle | {"flair_fluid": 0.9137, "t1w_grey": 0.42}),
            "robustness": Robustness(
                lesion_volume_low_ml=0.534, lesion_volume_high_ml=6.88, runs=(blurred,)
            ),
            "corrections": (edit,),
        }
    )


@pytest.fixture(scope="module")
def two_lesions() -> tuple[Report, str]:
    case = report(BOXES, quality=(check(), check(CheckStatus.WARN, "Scan again.")))
    case = with_all_parts(case)
    return case, text_of(pdf_of(case)[0])


def numbers_in(value: Any) -> set[float]:
    """Every number of a JSON document, those within its strings too."""
    if isinstance(value, dict):
        return set().union(*(numbers_in(v) for v in value.values()), set())
    if isinstance(value, list):
        return set().union(*(numbers_in(v) for v in value), set())
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, str):
        return {float(token) for token in re.findall(r"\d+(?:\.\d+)?", value)}
    return {float(value)}


def is_rounding_of(token: str, known: set[float]) -> bool:
    """Whether a number in print is one of the document, as it is, in ml, or in per cent."""
    digits = len(token.partition(".")[2])
    shown = abs(float(token))
    half = 0.5 * 10**-digits + 1e-9
    return any(abs(shown - abs(v) * scale) <= half for v in known for scale in (1, 0.001, 100))


def test_every_number_is_one_of_the_reports(two_lesions: tuple[Report, str]) -> None:
    """Report and PDF go different ways into the record: they may not tell different stories."""
    case, text = two_lesions
    content = write_content(case, unseen=0)
    for known in (
        *content.method_paragraphs,
        *content.limit_points,
        content.source,
        content.lesions.remark,
        content.fine_print,
    ):
        assert plain(known) in text
        text = text.replace(plain(known), " ")
    text = re.sub(r"z = [+-]?\d+ mm|Page \d of \d|MNI152|\b0 %|\b100 %", " ", text)
    # In running text the space within a number is read back as any other.
    text = re.sub(r"(volume of \d) (\d{3} ml)", r"\1\2", text)
    known_numbers = numbers_in(json.loads(case.model_dump_json()))

    tokens = re.findall(r"\d+(?:\.\d+)?", text.replace("\u202f", ""))

    assert len(tokens) > 60
    assert [token for token in tokens if not is_rounding_of(token, known_numbers)] == []


def test_the_headline_figures_are_the_reports(two_lesions: tuple[Report, str]) -> None:
    """216 + 27 mm3, measured in a brain of 3 332 000 mm3 of a patient who is the template."""
    case, text = two_lesions

    assert case.totals.lesion_volume_ml == pytest.approx(0.243)
    assert "2 lesions, 0.24 ml in all" in text
    assert "agreement interval 0.24 to 0.24 ml" in text
    assert "0.01 % of an intracranial volume of 3 332 ml" in text.replace("\u202f", " ")


def test_input_trust_altered_runs_and_corrections_are_printed(
    two_lesions: tuple[Report, str],
) -> None:
    """With the report's own numbers: what was measured and known, each run, each change."""
    _, text = two_lesions

    assert "Input unusual: T1w: grey over white matter; FLAIR: fluid over white matter" in text
    assert "FLAIR: fluid over white matter 0.914 0.06 to 0.68" in text
    assert "Correlation of T1w and template 0.6" not in text
    assert "the volume lies between 0.53 and 6.9 ml; as sent it is 5.6 ml" in text
    assert "blurred (Gaussian, 0.7 mm) 7 0.62 0.83" in text
    assert "Version 2, corrected by hand by A. Reader on 17 April 2026, 09:41 UTC" in text
    assert "0.31 ml added, 4.59 ml removed" in text
    assert "had 19 lesions and 5.6 ml" in text


def test_every_row_of_the_table_is_printed_in_order() -> None:
    case = many_lesions(MOST_ROWS)
    document, content = pdf_of(case)
    text = text_of(document)

    place = 0
    for row in content.lesion_rows:
        place = text.index(plain(" ".join(row)), place)
    assert place > 0


def test_a_long_table_sums_up_what_it_leaves_out() -> None:
    """Whoever adds the printed rows up must find the report's own total."""
    case = many_lesions(60)
    text = text_of(pdf_of(case)[0])

    (left_out, together) = re.findall(r"And (\d+) smaller ones, .*?, ([\d.]+) ml together", text)[0]
    rest = case.lesions[-int(left_out) :]
    assert float(together) == pytest.approx(sum(one.volume_mm3 for one in rest) / 1000, abs=0.005)
    assert "60 in all, the largest first" in text
    assert plain(" ".join(pdf_of(case)[1].lesion_rows[59 - int(left_out)])) in text


@pytest.mark.parametrize("count", [25, 150])
def test_a_case_fits_on_three_pages_of_a4(count: int) -> None:
    """Many lesions shorten the table, warnings too: nobody reads a fourth page."""
    case = many_lesions(count)
    warned = tuple(check(CheckStatus.WARN, "Look at the image; scan it again.") for _ in range(14))
    pages = PdfReader(BytesIO(pdf_of(case.model_copy(update={"quality": warned}))[0])).pages

    assert len(pages) <= PAGES
    for page in pages:
        assert float(page.mediabox.width) == pytest.approx(595.28, abs=0.1)
        assert float(page.mediabox.height) == pytest.approx(841.89, abs=0.1)


def test_fonts_are_inside() -> None:
    """A record must look the same on a machine without our fonts."""
    fonts = {}
    for page in PdfReader(BytesIO(pdf_of(report(BOXES))[0])).pages:
        for font in page["/Resources"]["/Font"].values():
            fonts[str(font["/BaseFont"])] = font
    used = {name: font for name, font in fonts.items() if "DejaVu" in name}

    assert used
    assert all("/FontFile2" in font["/FontDescriptor"] for font in used.values())


def test_the_same_report_gives_the_same_bytes() -> None:
    """A document that changes by itself cannot be compared or signed."""
    case = report(BOXES)

    assert pdf_of(case)[0] == pdf_of(case)[0]


def test_every_page_says_that_it_is_for_research_only() -> None:
    """Pages are parted in a folder."""
    for page in PdfReader(BytesIO(pdf_of(report(BOXES))[0])).pages:
        assert "Research use only." in page.extract_text()


def test_what_a_check_asks_for_breaks_into_lines() -> None:
    """Asked for in a sentence, it ran over the page's right edge."""
    asked = "inside all known ranges, or outside of one by no more than its own width (fail > 1)"
    long = check().model_copy(update={"threshold": asked})
    document = pdf_of(report(BOXES, quality=(long,)))[0]

    assert asked in text_of(document)
    assert all(asked not in page.extract_text() for page in PdfReader(BytesIO(document)).pages)


def test_no_paragraph_runs_into_the_foot_of_a_page() -> None:
    """A table's note once did, where the table ended just above it."""
    sheet = Sheet(title="", subject="", language="", on_page=lambda _: None)
    sheet.y = BOTTOM + 10
    sheet.write("first words " * 60, Style())

    first, second = PdfReader(BytesIO(sheet.finish())).pages
    assert "words" not in first.extract_text()
    assert "words" in second.extract_text()


def test_the_checks_stay_together() -> None:
    """Half of a table on a page that is else empty is hard to read, and easily lost."""
    document = pdf_of(report(BOXES[:1], quality=tuple(check() for _ in range(15))))[0]
    pages = [page.extract_text() for page in PdfReader(BytesIO(document)).pages]

    (page,) = [page for page in pages if "Quality checks\n" in page]
    assert page.count("Passed") == 15
    assert f"of\n{len(pages)}" in page or f"of {len(pages)}" in page


def test_the_classes_are_no_verdict(two_lesions: tuple[Report, str]) -> None:
    _, text = two_lesions

    assert "not a verdict on dissemination in space" in text
    for name in ("Periventricular", "Juxtacortical or cortical", "Infratentorial", "Deep white"):
        assert name in text


def test_no_lesion_is_a_result_of_its_own() -> None:
    """Silence could be taken for a failure, and a failure for a healthy brain."""
    text = text_of(pdf_of(report([]))[0])

    assert "This is a result, not an error" in text
    assert "No lesion is outlined, since none was found" in text
    assert "Where lesions lie" not in text


def test_checks_have_words_and_advice(two_lesions: tuple[Report, str]) -> None:
    _, text = two_lesions

    assert "Passed" in text
    assert "Warning" in text
    assert "Scan again." in text


def test_text_from_outside_is_shown_as_text() -> None:
    """Messages may quote what a file says; markup in it must not be obeyed."""
    attack = "<b>bold</b> & <a href='x'>link</a>"
    case = report(BOXES, quality=(check(CheckStatus.WARN, attack),), label="a.b-c")

    assert attack in text_of(pdf_of(case)[0])
