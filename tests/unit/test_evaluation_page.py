"""The page and the tables say what the numbers say, and nothing more."""

import base64
import csv
import io
import re
import xml.etree.ElementTree as ET

import pytest

from dlb_core.evaluation.document import Evaluation
from dlb_core.evaluation.page import render_page, verdict
from dlb_core.evaluation.plots import draw
from dlb_core.evaluation.statistics import paired_test
from dlb_core.evaluation.tables import cases_csv, comparison_csv, summary_csv
from dlb_core.report.document import RESEARCH_USE
from tests.unit.evaluations import METHODS, make_evaluation


def _page(evaluation: Evaluation) -> str:
    return " ".join(render_page(evaluation, ()).split())


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_page_needs_nothing_but_itself() -> None:
    """It is mailed around and opened without a network."""
    evaluation = make_evaluation(3)

    page = render_page(evaluation, draw(evaluation))

    assert page.count("data:image/svg+xml;base64,") == 3
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "default-src 'none'" in page
    assert page.count(RESEARCH_USE) == 1
    assert "Research use only." in page


def test_names_from_a_table_are_no_html() -> None:
    """Domains are free text."""
    page = _page(make_evaluation(domains=("<b>site</b>", "other")))

    assert "<b>site</b>" not in page
    assert "&lt;b&gt;site&lt;/b&gt;" in page


def test_the_summary_is_mean_and_sd_by_method_and_domain() -> None:
    """A's Dice is 0.9 on all cases; B's falls from 0.8 by 0.02 a case."""
    evaluation = make_evaluation(3, domains=("x", "y"))
    rows = {(r["domain"], r["method"], r["measure"]): r for r in _rows(summary_csv(evaluation))}

    assert rows["all", "B", "dice"]["mean"] == "0.78"
    assert rows["all", "B", "dice"]["sd"] == "0.02"
    assert rows["x", "B", "dice"]["mean"] == "0.78"
    assert rows["y", "B", "dice"]["sd"] == ""
    assert rows["all", "B", "volume_correlation"]["num_cases"] == "3"
    assert rows["y", "B", "hybrid_score"]["mean"] == ""
    assert "0.780 ± 0.020" in _page(evaluation)


def test_tables_hold_every_case_and_method() -> None:
    """For statistics elsewhere."""
    evaluation = make_evaluation(4)

    rows = _rows(cases_csv(evaluation))
    pairs = _rows(comparison_csv(evaluation.comparison)) if evaluation.comparison else []

    assert [(r["case"], r["method"]) for r in rows[:3]] == [
        ("case-0", "A"),
        ("case-0", "B"),
        ("case-0", "threshold"),
    ]
    assert len(rows) == 12
    assert rows[1]["reference_ml"] == "0.5"
    assert [r["consistency"] for r in pairs] == ["0.625"] * 4


def test_a_significant_difference_is_named_with_its_test() -> None:
    """Seven cases, all in A's favour: p = 2 / 2^7."""
    comparison = make_evaluation(7).comparison

    assert comparison is not None
    text = verdict(comparison)
    assert "A scores significantly better" in text
    assert "W = 0, p = 0.0156, 7 cases that differ" in text


def test_one_case_far_off_does_not_name_the_other_winner() -> None:
    """The test is on ranks; a mean follows its largest member."""
    comparison = make_evaluation(7).comparison
    assert comparison is not None
    test = paired_test([0.51 + n / 1000 for n in range(15)] + [0.0], [0.5] * 15 + [0.9])

    text = verdict(comparison.model_copy(update={"test": test}))

    assert test.mean_difference < 0
    assert "A scores significantly better" in text
    assert "The mean points the other way" in text


def test_too_few_cases_get_an_explanation_instead_of_a_p() -> None:
    """Else 0.25 from three cases reads like a finding."""
    comparison = make_evaluation(3).comparison

    assert comparison is not None
    text = verdict(comparison)
    assert "smallest p that a two-sided Wilcoxon test could give is 0.25" in text
    assert "significantly better" not in text
    assert "W =" not in text


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"num_subjects": 3}, "Several cases come from one person."),
        ({"failed": {"case-9": "no brain <here>"}}, "no brain &lt;here&gt;"),
        ({"failed": {"case-9": "no brain"}}, "missing from every figure"),
        ({"skipped": {"case-8": "no label"}}, "case-8: no label"),
        (
            {"methods": (METHODS[0].model_copy(update={"trained_on": ("case-1",)}), *METHODS[1:])},
            "was trained on 1 of these cases",
        ),
        ({"space": "mni"}, "MNI grid, and volumes are the template’s"),
    ],
    ids=["repeats", "reasons", "failures", "skipped", "trained on", "space"],
)
def test_what_weakens_the_figures_is_said(changes: dict[str, object], warning: str) -> None:
    """A reader of the page alone must know."""
    assert warning in _page(make_evaluation(**changes))  # type: ignore[arg-type]
    assert warning not in _page(make_evaluation())


def test_plots_show_every_case_and_say_so_in_words() -> None:
    """Bland-Altman of both bundles, and Dice against load; the same bytes each time."""
    evaluation = make_evaluation(5)

    plots = draw(evaluation)

    assert [plot.title for plot in plots] == ["Volumes, A", "Volumes, B", "Dice by lesion load"]
    assert "bias -" in plots[0].alt
    assert draw(evaluation) == plots
    for plot in plots:
        svg = ET.fromstring(base64.b64decode(plot.source.partition(",")[2]))  # noqa: S314  # ours
        marks = [e for e in svg.iter() if "PathCollection" in e.get("id", "")]
        uses = sum(len(list(mark.iter("{http://www.w3.org/2000/svg}use"))) for mark in marks)
        # The legend shows each of the three marks once more.
        assert uses == (15 + 3 if plot.title.startswith("Dice") else 5)


def test_one_case_can_be_drawn() -> None:
    """No limits of agreement, no spread, no scale of decades."""
    evaluation = make_evaluation(1)

    assert "fewer than two cases" in draw(evaluation)[0].alt
    assert "0.900" in _page(evaluation)
