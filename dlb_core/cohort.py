"""One table of many cases: a row a case, whatever became of it."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

from dlb_core.report.document import Location

_LOCATIONS = tuple(location.value for location in Location)
_TOTALS = (
    "lesion_count",
    "centre_count",
    "lesion_volume_ml",
    "lesion_volume_low_ml",
    "lesion_volume_high_ml",
    "brain_volume_ml",
    "intracranial_volume_ml",
    "lesion_load_percent",
)
COLUMNS = (
    "subject",
    "session",
    "job",
    "state",
    "error_code",
    "finished",
    *_TOTALS,
    *(f"{name}_{what}" for name in _LOCATIONS for what in ("count", "ml")),
    "quality",
    "quality_remarks",
    "model",
    "model_sha256",
    "software_version",
)


@dataclass(frozen=True, slots=True)
class CohortCase:
    """What is known of one case."""

    subject: str
    session: str
    job: str
    state: str
    """Of the job; `deleted` where there is none any more."""
    error_code: str = ""
    finished: str = ""
    report: dict[str, Any] | None = None
    """report.json as it is, of whichever version of this software."""


def cohort_csv(cases: Iterable[CohortCase]) -> Iterator[str]:
    """Write the table, line by line; RFC 4180. What is not known of a case stays empty.

    Parameters
    ----------
    cases : iterable of CohortCase
    """
    yield _line(COLUMNS)
    for case in cases:
        row = _row(case)
        yield _line([row.get(column, "") for column in COLUMNS])


def _row(case: CohortCase) -> dict[str, Any]:
    report = case.report or {}
    row: dict[str, Any] = {
        "subject": case.subject,
        "session": case.session,
        "job": case.job,
        "state": case.state,
        "error_code": case.error_code,
        "finished": case.finished,
    }
    if not report:
        return row
    totals = report.get("totals", {})
    row |= {name: _rounded(totals[name]) for name in _TOTALS if totals.get(name) is not None}
    for found in report.get("locations", ()):
        row[f"{found['location']}_count"] = found["lesion_count"]
        row[f"{found['location']}_ml"] = _rounded(found["lesion_volume_ml"])
    model = report.get("model", {})
    return (
        row
        | _quality(report.get("quality", ()))
        | {
            "model": f"{model.get('name', '')} {model.get('version', '')}".strip(),
            "model_sha256": model.get("sha256", ""),
            "software_version": report.get("software_version", ""),
        }
    )


def _quality(checks: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The worst verdict, and the checks that gave less than a pass."""
    found = {str(check["name"]): str(check["status"]) for check in checks}
    worst = next((level for level in ("fail", "warn", "pass") if level in found.values()), "")
    remarks = [f"{name} {status}" for name, status in found.items() if status != "pass"]
    return {"quality": worst, "quality_remarks": "; ".join(remarks)}


def _rounded(value: float) -> float:
    return round(value, 4)


def _line(cells: Iterable[object]) -> str:
    text = StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()
