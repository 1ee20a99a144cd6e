"""The report's files say what was measured, to machines and to people."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dlb_core.artefacts import LESION_TABLE, REPORT_FHIR, REPORT_HTML, REPORT_JSON, REPORT_PDF
from dlb_core.contracts import SegmentationOptions
from dlb_core.errors import GridMismatch
from dlb_core.report.document import RESEARCH_USE, CheckStatus, Report
from dlb_core.report.figures import Figures, draw_figures
from dlb_core.report.render import PRINTED_ROWS, render_html
from dlb_core.report.statements import write_content
from dlb_core.report.tables import COLUMNS, lesion_csv
from dlb_core.report.write import write_report
from tests.unit.reports import LEFT_LESION, RIGHT_LESION, Box, check, material, report

MEGABYTE = 1 << 20


class Page(HTMLParser):
    """All tags with their attributes, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)
        self.text = re.sub(r"[ \n]+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(case: Report, boxes: list[Box]) -> Page:
    return Page(html_of(case, boxes))


def html_of(case: Report, boxes: list[Box]) -> str:
    key = f"{boxes} {len(case.lesions)}"
    if key not in _DRAWN:
        _DRAWN[key] = draw_figures(material(boxes), case.lesions)
    return render_html(write_content(case, _DRAWN[key].unseen), _DRAWN[key])


_DRAWN: dict[str, Figures] = {}
"""Drawing takes a second, and tests ask for the same few cases."""


@pytest.fixture(scope="module")
def two_lesions() -> Page:
    boxes = [RIGHT_LESION, LEFT_LESION]
    return page(report(boxes), boxes)


@pytest.fixture(scope="module")
def no_lesions() -> Page:
    return page(report([]), [])


def write(folder: Path, boxes: list[Box]) -> Report:
    case, maps = report(boxes), material(boxes)
    write_report(
        folder,
        case,
        t1w=maps.t1w,
        flair=maps.flair,
        mask=maps.mask,
        labels=maps.labels,
        probability=maps.probability,
        agreement=maps.agreement,
        brain_mask=maps.brain_mask,
    )
    return case


def test_the_five_files_are_written(tmp_path: Path) -> None:
    case = write(tmp_path, [RIGHT_LESION])

    names = {LESION_TABLE, REPORT_FHIR, REPORT_JSON, REPORT_HTML, REPORT_PDF}
    assert {p.name for p in tmp_path.iterdir()} == names
    assert Report.model_validate_json((tmp_path / REPORT_JSON).read_text()) == case
    assert (tmp_path / REPORT_HTML).stat().st_size < 4 * MEGABYTE


def test_the_same_case_gives_the_same_bytes(tmp_path: Path) -> None:
    """A report that changes by itself cannot be compared or signed."""
    write(tmp_path, [RIGHT_LESION])
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    write(tmp_path, [RIGHT_LESION])

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_arrays_of_another_grid_are_refused(tmp_path: Path) -> None:
    maps = material([])
    with pytest.raises(GridMismatch, match="MNI grid"):
        write_report(
            tmp_path,
            report([]),
            t1w=np.zeros((4, 4, 4), np.float32),
            flair=maps.flair,
            mask=maps.mask,
            labels=maps.labels,
            probability=maps.probability,
            agreement=maps.agreement,
            brain_mask=maps.brain_mask,
        )
    assert not list(tmp_path.iterdir())


def test_the_table_has_a_row_a_lesion_with_a_value_a_column() -> None:
    rows = list(
        csv.DictReader(lesion_csv(report([RIGHT_LESION, LEFT_LESION]).lesions).splitlines())
    )

    assert [row["id"] for row in rows] == ["1", "2"]
    assert [float(row["volume_mm3"]) for row in rows] == [216, 27]
    assert [row["side"] for row in rows] == ["right", "left"]
    assert [float(row["largest_diameter_mm"]) for row in rows] == [9.27, 4.12]
    assert all(row["location"] and row["confidence"] == "high" for row in rows)
    assert [float(rows[0][f"mni_{axis}_mm"]) for axis in "xyz"] == [32.5, -23.5, 20.5]
    assert [float(rows[0][f"flair_{axis}"]) for axis in "ijk"] == [122.5, 102.5, 92.5]
    assert set(rows[0]) == set(COLUMNS)


def test_the_table_of_a_case_without_lesions_has_only_its_head() -> None:
    """A missing or empty file would look like a failure."""
    assert lesion_csv(()).splitlines() == [",".join(COLUMNS)]


def test_the_page_loads_nothing(two_lesions: Page) -> None:
    """It must open on a machine with no network, and tell nobody that it was opened."""
    references = [
        value
        for _, attributes in two_lesions.tags
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data"}
    ]
    assert references
    assert all(value and value.startswith(("data:image/", "#")) for value in references)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in two_lesions.tags}


def test_the_page_forbids_itself_to_load_anything(two_lesions: Page) -> None:
    (policy,) = [
        a for a in two_lesions.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in (policy["content"] or "")


def test_the_styles_refer_to_nothing_outside() -> None:
    html = html_of(report([]), [])

    (style,) = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


def test_every_picture_has_words_for_those_who_cannot_see_it(two_lesions: Page) -> None:
    pictures = two_lesions.all("img")

    assert len(pictures) == 12 + 9 + 3
    assert all(picture["alt"] for picture in pictures)


def test_every_table_heading_says_what_it_heads(two_lesions: Page) -> None:
    headings = two_lesions.all("th")

    assert headings
    assert all(heading.get("scope") in {"col", "row"} for heading in headings)


def test_headings_skip_no_level(two_lesions: Page) -> None:
    """Screen readers navigate by them."""
    levels = [int(tag[1]) for tag, _ in two_lesions.tags if re.fullmatch(r"h[1-6]", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1


def test_every_reference_within_the_page_finds_its_target(two_lesions: Page) -> None:
    names = [attributes["id"] for _, attributes in two_lesions.tags if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in two_lesions.tags:
        for name in ("aria-labelledby", "for"):
            assert attributes.get(name, names[0]) in names
        if (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in names


@pytest.mark.parametrize("kind", ["two_lesions", "no_lesions"])
def test_the_page_says_that_it_is_for_research_only(
    kind: str, request: pytest.FixtureRequest
) -> None:
    shown: Page = request.getfixturevalue(kind)

    assert RESEARCH_USE.removeprefix("For research use only. ") in shown.text
    assert "Research use only." in shown.text.split("slices")[0]


def test_the_page_shows_the_numbers_of_the_report(two_lesions: Page) -> None:
    """216 + 27 mm3 in a brain of 3 332 000 mm3."""
    assert "2 lesions, 0.24 ml in all" in two_lesions.text
    assert "0.01 % of an intracranial volume of 3\u202f332 ml" in two_lesions.text
    assert "32, −24, 20" in two_lesions.text
    assert "counted by centres" in two_lesions.text
    assert "not a verdict on dissemination in space" in two_lesions.text
    assert "12 March 2026 14:05 UTC" in two_lesions.text
    assert "abababababab" in two_lesions.text


def test_no_lesion_is_a_result_of_its_own(no_lesions: Page) -> None:
    """Silence could be taken for a failure, and a failure for a healthy brain."""
    assert no_lesions.text.count("No lesion found") == 2
    assert "This is a result, not an error" in no_lesions.text
    assert len(no_lesions.all("img")) == 12 + 3


@pytest.mark.parametrize(
    ("status", "word", "sentence"),
    [
        (CheckStatus.PASS, "Passed", "All 1 quality checks passed"),
        (CheckStatus.WARN, "Warning", "1 of 1 quality checks ask for attention"),
        (CheckStatus.FAIL, "Failed", "1 of 1 quality checks failed"),
    ],
)
def test_quality_is_said_in_words_not_only_in_colour(
    status: CheckStatus, word: str, sentence: str
) -> None:
    shown = page(report([], quality=(check(status, "Scan again."),)), [])

    assert word in shown.text
    assert sentence in shown.text
    assert "Scan again." in shown.text
    assert "24.6" in shown.text
    assert "≥ 10 (fail < 5)" in shown.text


def test_ignored_failures_are_said_aloud() -> None:
    options = SegmentationOptions(ignore_quality_failures=True)
    case = report([], quality=(check(CheckStatus.FAIL),), options=options)

    assert "do not trust these results" in page(case, []).text


def test_a_case_without_checks_is_not_called_passed() -> None:
    assert "No quality check was made" in page(report([], quality=()), []).text


def test_text_from_outside_is_shown_as_text() -> None:
    """Messages may quote what a file says; a file must not be able to write the page."""
    attack = "<script>alert(1)</script>"
    case = report([], quality=(check(CheckStatus.WARN, attack),))

    shown = page(case, [])

    assert not shown.all("script")
    assert attack in shown.text


def test_a_case_without_a_label_has_a_title() -> None:
    assert "Unlabelled case" in page(report([], label=""), []).text


def test_a_long_table_is_whole_on_screen_and_short_on_paper() -> None:
    case = report([LEFT_LESION])
    many = tuple(case.lesions[0].model_copy(update={"id": n}) for n in range(1, PRINTED_ROWS + 11))
    case = case.model_copy(update={"lesions": many})

    shown = page(case, [LEFT_LESION])

    assert sum(a.get("class") == "no-print" for a in shown.all("tr")) == 10
    assert f"The first {PRINTED_ROWS} of {PRINTED_ROWS + 10} lesions" in shown.text
