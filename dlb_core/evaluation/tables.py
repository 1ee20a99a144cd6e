"""The evaluation as CSV, for spreadsheets and statistics; RFC 4180, empty where undefined."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from dlb_core.evaluation.document import Comparison, Evaluation
from dlb_core.metrics import MEASURES

Cell = str | int | float | None

VOLUMES = ("predicted_ml", "reference_ml", "predicted_lesions", "reference_lesions")


def cases_csv(evaluation: Evaluation) -> str:
    """One row a case and method, with every measure."""
    labels = {method.id: method.label for method in evaluation.methods}
    header = (
        "case",
        "subject",
        "session",
        "domain",
        "method",
        *MEASURES,
        *VOLUMES,
        "cpu_s",
        "remark",
    )
    rows = (
        (
            result.case,
            result.subject,
            result.session,
            result.domain,
            labels[result.method],
            *(getattr(result.scores, name) for name in (*MEASURES, *VOLUMES)),
            result.cpu_s,
            result.remark,
        )
        for result in evaluation.results
    )
    return _csv(header, rows)


def summary_csv(evaluation: Evaluation) -> str:
    """One row a domain, method and measure: mean, standard deviation, number of cases."""
    labels = {method.id: method.label for method in evaluation.methods}
    rows: list[Sequence[Cell]] = []
    for group in evaluation.summaries:
        start = (group.domain, labels[group.method])
        for name, spread in group.measures.items():
            rows.append((*start, name, spread.mean, spread.sd, spread.num_cases))
        rows.append((*start, "volume_correlation", group.correlation, None, group.num_cases))
        rows.append((*start, "hybrid_score", group.hybrid_score, None, group.num_cases))
    return _csv(("domain", "method", "measure", "mean", "sd", "num_cases"), rows)


def comparison_csv(comparison: Comparison) -> str:
    """One row a case: hybrid score of A and B, and the Dice between their masks."""
    header = ("case", "case_score_a", "case_score_b", "consistency")
    rows = ((p.case, p.score_a, p.score_b, p.consistency) for p in comparison.pairs)
    return _csv(header, rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _cell(cell: Cell) -> Cell:
    return round(cell, 6) if isinstance(cell, float) else cell
