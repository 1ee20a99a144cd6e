"""The day of a scan: who may say it, where it is printed, and what is no such day."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dicom_kit import flair, t1w, write
from fhir.resources.R4B.bundle import Bundle
from pydantic import ValidationError
from service_kit import form, form_headers, nifti, pair, service

from dlb_core.cli.main import main
from dlb_core.contracts import GIVEN, SegmentationOptions
from dlb_core.dicom.dating import dated
from dlb_core.dicom.intake import Wishes, take_in
from dlb_core.documents import Problem
from dlb_core.errors import QualityFailed
from dlb_core.longitudinal.document import ChangeStatus
from dlb_core.longitudinal.gates import check_records
from dlb_core.longitudinal.rules import require_comparable
from dlb_core.longitudinal.statements import write_change_content
from dlb_core.longitudinal.visit import Visit, interval_days
from dlb_core.report.fhir import fhir_bundle
from dlb_core.report.statements import write_content
from tests.unit.changed_visits import compared
from tests.unit.reports import report
from tests.unit.test_longitudinal_gates import visit

DAY = "2024-03-31"
NO_DAYS = [
    ("31.3.2024", "2026-03-31"),
    ("2024-02-30", "day"),
    ("2024-03-31T10:00:00", "2026-03-31"),
    ("1711843200", "2026-03-31"),
    ("1896-01-01", "before the first scans"),
    ((datetime.now(UTC) + timedelta(days=9)).date().isoformat(), "future"),
]


def options(day: str | None) -> SegmentationOptions:
    """As somebody gives it."""
    return SegmentationOptions.model_validate({"scan_date": day}, context=GIVEN)


def visit_of(day: str | None, sha256: str = "a" * 64) -> Visit:
    seen = visit(sha256=sha256)
    return replace(seen, report=seen.report.model_copy(update={"options": options(day)}))


@pytest.mark.parametrize(("day", "said"), NO_DAYS)
def test_what_is_no_day_of_a_scan_is_refused(day: str, said: str) -> None:
    """A wrong date on a report is believed by whoever files it."""
    with pytest.raises(ValidationError, match=said):
        options(day)


def test_the_day_survives_the_way_through_json() -> None:
    """Rows, messages to workers and report.json hold it as text."""
    kept = options(DAY).model_dump_json()

    assert SegmentationOptions.model_validate_json(kept) == options(DAY)
    assert json.loads(kept)["scan_date"] == DAY


def test_a_kept_day_is_read_on_a_machine_whose_clock_is_behind() -> None:
    """Else one such row would break every list of jobs, and no worker could claim it."""
    later = (datetime.now(UTC) + timedelta(days=9)).date()

    kept = SegmentationOptions.model_validate_json(f'{{"scan_date": "{later}"}}')

    assert kept.scan_date == later


def test_report_and_fhir_give_the_day() -> None:
    case = report([], options=options(DAY))

    identity = {fact.name: fact.value for fact in write_content(case, 0).identity}
    bundle = Bundle.model_validate_json(fhir_bundle(case))

    assert identity["Scanned on"] == "31 March 2024"
    observed = [entry.resource for entry in bundle.entry or ()]
    days = {str(one.effectiveDateTime) for one in observed if hasattr(one, "effectiveDateTime")}
    assert days == {DAY}


def test_a_day_that_nobody_gave_is_said_to_be_missing() -> None:
    identity = {fact.name: fact.value for fact in write_content(report([]), 0).identity}

    assert identity["Scanned on"] == "not given"
    assert "effectiveDateTime" not in fhir_bundle(report([]))


@pytest.mark.parametrize(("first", "days"), [(DAY, 366), (None, None)])
def test_a_comparison_gives_the_days_between(first: str | None, days: int | None) -> None:
    """Ten new lesions in a year and in a month are two different findings."""
    visits = visit_of(first), visit_of("2025-04-01", "b" * 64)
    assert interval_days(*visits) == days
    pair_of = compared(visits, (ChangeStatus.NEW,))
    facts = {fact.name: fact for fact in write_change_content(pair_of.comparison, 0).identity}

    assert facts["Between the scans"].value == ("not known" if days is None else f"{days} days")
    assert ("31 March 2024" in facts["First visit"].remark) == (first is not None)
    assert "1 April 2025" in facts["Second visit"].remark


def test_visits_in_the_wrong_order_are_not_compared() -> None:
    """New lesions would be called resolved."""
    with pytest.raises(QualityFailed, match="the other way round"):
        require_comparable(check_records(visit_of("2025-04-01"), visit_of(DAY, "b" * 64)))


@pytest.mark.parametrize(("keep", "found"), [(True, "2024-05-07"), (False, None)])
def test_of_dicom_the_day_is_known_where_identities_are_kept(
    keep: bool, found: str | None, tmp_path: Path
) -> None:
    """A date identifies; the operator decides. The acquisition's goes before the study's."""
    files = write([*t1w(), *flair(AcquisitionDate="20240507")], tmp_path / "study")
    (tmp_path / "out").mkdir()
    taken = take_in({None: files}, tmp_path / "out", Wishes(keep_identity=keep))

    assert dated(options(None), taken.reference) == options(found)
    assert dated(options(DAY), taken.reference) == options(DAY)
    assert keep or "2024" not in taken.reference.read_text()


def test_the_command_line_names_its_own_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(nifti())
    case = ["--t1w", str(scan), "--flair", str(scan), "--output", str(tmp_path / "out")]

    assert main(["segment", *case, "--scan-date", "2999-01-01"]) == 2

    said = capsys.readouterr().err
    assert "--scan-date: " in said
    assert "future" in said


@pytest.mark.anyio
async def test_a_form_names_the_day(tmp_path: Path) -> None:
    async with service(tmp_path) as (client, _):
        sent = form(pair(scan_date=DAY.encode()))
        job = (await client.post("/v1/jobs", content=sent, headers=form_headers())).json()
        bad = form(pair(scan_date=b"2999-01-01"))
        refused = await client.post("/v1/jobs", content=bad, headers=form_headers())
        worse = form(pair(options=b'{"scan_date": "1896-01-01"}'))
        too_early = await client.post("/v1/jobs", content=worse, headers=form_headers())

    problem = Problem.model_validate_json(refused.content)
    assert job["options"]["scan_date"] == DAY
    assert (refused.status_code, problem.code) == (422, "bad-option")
    assert "scan_date" in problem.detail or "scan_date" in str(problem)
    assert too_early.status_code == 422
    assert "before the first scans" in too_early.text


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
