"""`dlb compare` from folders to files, on a patient whose changes are known, and on none."""

import asyncio
import csv
import hashlib
import json
import re
import shutil
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from pypdf import PdfReader

from dlb_core import __version__, artefacts
from dlb_core.artefacts import list_artefacts
from dlb_core.bundled import default_bundle
from dlb_core.checkpoints import open_bundle
from dlb_core.cli.main import main
from dlb_core.errors import StoreUnavailable
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.longitudinal import files
from dlb_core.longitudinal.document import Comparison
from dlb_core.longitudinal.naming import VISITS
from dlb_core.longitudinal.schema import TARGET, render
from dlb_core.longitudinal.write import ChangeLabel
from dlb_core.nifti import read_values
from dlb_core.provenance import input_record, model_identity
from dlb_core.report.document import Report, RunRecord
from dlb_core.voting import CONVINCING_SHARE, TIE_RULE
from service.dependencies import Services
from tests.unit.images import rigid
from tests.unit.longitudinal_kit import FLAIR_SHAPE, VOXEL_MM, balls, write_visit
from tests.unit.service_kit import form, form_headers, nifti, service
from worker.comparison import run_comparison
from worker.settings import WorkerSettings

STABLE = (60, 120, 95, 6.0)
SMALLER, LARGER = (120, 90, 95, 4.5), (120, 90, 95, 8.0)
NEW = (62, 80, 95, 6.0)
GONE = (118, 130, 95, 6.0)
MISTAKES = ((70, 100, 110, 3.0), (115, 110, 112, 2.5)), ((110, 70, 105, 3.0),)
"""What the networks take for a lesion at one visit or the other, and the FLAIR does not show."""

POSES = rigid((3, -4, 2), (6, -9, 4)), rigid((-5, 2, -3), (-4, 8, -6))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("visits") / "first"
    lesions = balls(STABLE, SMALLER, GONE)
    write_visit(folder, lesions, to_mni=POSES[0], seed=1, mistakes=MISTAKES[0], label="one")
    return folder


@pytest.fixture(scope="module")
def changed(first: Path) -> Path:
    """The comparison with a visit at which all has changed that can, asked for with both's scans.

    An earlier run had segmented both, and was killed before it compared.
    """
    root = first.parent
    later, output = root / "changed", root / "out-changed"
    lesions = balls(STABLE, LARGER, NEW)
    write_visit(later, lesions, to_mni=POSES[1], seed=2, mistakes=MISTAKES[1], label="two")
    arguments = []
    for name, results in zip(VISITS, (first, later), strict=True):
        scans = [root / f"{name}_{role}.nii.gz" for role in ("t1w", "flair")]
        for scan in scans:
            scan.write_bytes(nifti(FLAIR_SHAPE, voxel_mm=VOXEL_MM))
            arguments += [f"--{scan.name.removesuffix('.nii.gz').replace('_', '-')}", str(scan)]
        _as_if_segmented(results, output / name, *scans)
    assert main(["compare", *arguments, "--output", str(output)]) == 0
    return output


def _as_if_segmented(results: Path, folder: Path, t1w: Path, flair: Path) -> None:
    """Results as those of these scans with the shipped weights."""
    shutil.copytree(results, folder)
    made = {
        "model": model_identity(open_bundle(default_bundle())),
        "software_version": __version__,
    }
    inputs = input_record(t1w, "T1w"), input_record(flair, "FLAIR")
    rules = {"tie_rule": TIE_RULE, "convincing_share": float(CONVINCING_SHARE)}
    run = RunRecord.model_validate_json((folder / artefacts.RUN_JSON).read_text())
    report = Report.model_validate_json((folder / artefacts.REPORT_JSON).read_text())
    for name, record in (
        (artefacts.RUN_JSON, run.model_copy(update=made | rules | {"inputs": inputs})),
        (artefacts.REPORT_JSON, report.model_copy(update=made)),
    ):
        (folder / name).write_text(record.model_dump_json())
    for name in artefacts.ALL:
        (folder / name).touch()


@pytest.fixture(scope="module")
def unchanged(first: Path) -> Path:
    """The comparison with a second scan of the same lesions, by the service and its worker."""
    later, output = first.parent / "same", first.parent / "out-same"
    lesions = balls(STABLE, SMALLER, GONE)
    write_visit(later, lesions, to_mni=POSES[1], seed=3, mistakes=MISTAKES[1], label="two")
    output.mkdir()
    asyncio.run(_by_the_service(first.parent / "service", (first, later), output))
    return output


async def _by_the_service(root: Path, visits: tuple[Path, Path], output: Path) -> None:
    """Two visits' scans, segmented and compared as workers do; all files fetched."""
    async with service(root) as (client, services):
        parts = [f"{name}_{role}" for name in VISITS for role in ("t1w", "flair")]
        body = form([(part, nifti()) for part in parts])
        made = await client.post("/v1/comparisons", content=body, headers=form_headers())
        for job, visit in zip(("first", "second"), visits, strict=True):
            _finish_with(services, UUID(made.json()[job]), visit)
        services.comparisons.settle_waiting()
        settings = WorkerSettings(data=root / "data")
        comparison_id = UUID(made.json()["id"])
        store = _Unheard(services.comparisons._engine)
        run_comparison(comparison_id, store=store, jobs=services.store, settings=settings)
        assert store.asked == 2
        document = (await client.get(made.headers["Location"])).json()
        assert document["state"] == "successful", document["error"]
        for entry in document["artefacts"]:
            answer = await client.get(entry["href"])
            assert hashlib.sha256(answer.content).hexdigest() == entry["sha256"]
            (output / entry["name"]).write_bytes(answer.content)
        assert (await client.delete(made.headers["Location"])).status_code == 204
        assert list((root / "data" / "comparisons").iterdir()) == []


class _Unheard(ComparisonStore):
    """Publishes, and breaks off before its first answer: results must outlive that."""

    asked = 0

    def finish(self, *given: Any) -> bool:
        published = super().finish(*given)
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailable("the connection broke off")
        return published


def _finish_with(services: Services, job_id: UUID, visit: Path) -> None:
    """Let a job succeed with a visit's results."""
    claim = services.store.claim(job_id, 60.0)
    assert claim is not None
    folder = services.data.attempt(job_id, claim.fence)
    shutil.copytree(visit, folder)
    totals = json.loads((visit / "report.json").read_text())["totals"]
    assert services.store.finish(claim, list_artefacts(folder), totals)


def test_what_an_earlier_run_has_segmented_is_compared_and_kept(changed: Path) -> None:
    """Segmenting takes half an hour: it was not done again, and both visits' reports are there."""
    for name in VISITS:
        assert (changed / name / artefacts.REPORT_JSON).stat().st_size > 0
        assert (changed / name / artefacts.PROBABILITY_MNI).stat().st_size == 0, "it was made anew"
    assert not (changed / "first" / ".votes").exists()


def comparison_in(folder: Path) -> Comparison:
    return Comparison.model_validate_json((folder / files.COMPARISON_JSON).read_text())


def test_each_change_is_found_and_named(changed: Path) -> None:
    totals = comparison_in(changed).totals

    assert (totals.new, totals.enlarging, totals.resolved, totals.stable) == (1, 1, 1, 1)
    assert totals.shrinking == totals.merged == totals.split == 0


def test_volumes_are_the_drawn_ones(changed: Path) -> None:
    """Two interpolations and voxels of 2.5 mm leave a tenth."""
    by_status = {row.status.value: row for row in comparison_in(changed).lesions}

    assert by_status["new"].volume_second_mm3 == pytest.approx(balls(NEW).sum(), rel=0.12)
    assert by_status["resolved"].volume_first_mm3 == pytest.approx(balls(GONE).sum(), rel=0.12)
    gained = balls(LARGER).sum() - balls(SMALLER).sum()
    assert by_status["enlarging"].change_mm3 == pytest.approx(gained, rel=0.15)
    assert abs(by_status["stable"].change_mm3) < by_status["stable"].smallest_detectable_mm3


def test_what_only_the_networks_changed_is_no_change(unchanged: Path) -> None:
    """They voted for other places at the second visit: the FLAIRs do not differ there."""
    comparison = comparison_in(unchanged)

    assert comparison.totals.stable == 3
    assert comparison.totals.gained_ml == comparison.totals.lost_ml == 0
    assert abs(comparison.totals.change_ml) < comparison.totals.smallest_detectable_ml
    assert not read_values(unchanged / files.CHANGE_MASK, role="mask").data.any()


def test_no_change_is_a_result_that_is_said(unchanged: Path) -> None:
    page = (unchanged / files.COMPARISON_HTML).read_text()
    text = " ".join(p.extract_text() for p in PdfReader(unchanged / files.COMPARISON_PDF).pages)

    for said in (page, text):
        assert "No change found" in said
        assert "This is a result" in said
    assert "not an error" in page


def test_the_change_mask_says_what_changed_and_how(changed: Path) -> None:
    mask = read_values(changed / files.CHANGE_MASK, role="mask").data.astype(int)
    sizes = np.bincount(mask.ravel(), minlength=5)

    assert sizes[ChangeLabel.NEW] == pytest.approx(balls(NEW).sum(), rel=0.12)
    assert sizes[ChangeLabel.RESOLVED] == pytest.approx(balls(GONE).sum(), rel=0.12)
    grown = balls(LARGER).sum() - balls(SMALLER).sum()
    assert sizes[ChangeLabel.GAINED] == pytest.approx(grown, rel=0.15)


def test_the_native_mask_lies_on_the_visits_own_flair(changed: Path) -> None:
    """It is laid over the FLAIR as it came."""
    native = read_values(changed / files.CHANGE_MASKS_NATIVE[1], role="mask")
    new = np.argwhere(native.data == ChangeLabel.NEW).mean(axis=0)

    world = native.affine @ [*new, 1]

    template = POSES[1] @ world
    np.testing.assert_allclose(template[:3] - (-90, -126, -72), NEW[:3], atol=2.0)


def test_json_keeps_to_the_published_schema(changed: Path, unchanged: Path) -> None:
    assert TARGET.read_text() == render(), "run: python -m dlb_core.longitudinal.schema"
    required = set(json.loads(TARGET.read_text())["required"])
    for folder in (changed, unchanged):
        assert required <= set(json.loads((folder / files.COMPARISON_JSON).read_text()))
        comparison_in(folder)


def test_the_table_has_a_row_a_lesion(changed: Path) -> None:
    rows = list(csv.DictReader(StringIO((changed / files.CHANGE_TABLE).read_text())))
    lesions = comparison_in(changed).lesions

    assert [row["status"] for row in rows] == [lesion.status.value for lesion in lesions]
    assert [float(row["change_mm3"]) for row in rows] == pytest.approx(
        [lesion.change_mm3 for lesion in lesions], abs=1e-3
    )


def test_the_page_needs_nothing_else(changed: Path) -> None:
    page = (changed / files.COMPARISON_HTML).read_text()

    assert "Research use only." in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page


def test_the_pdf_shows_both_visits_and_says_what_it_is_for(changed: Path) -> None:
    pages = PdfReader(BytesIO((changed / files.COMPARISON_PDF).read_bytes())).pages

    text = " ".join(page.extract_text() for page in pages)
    assert "1 new, 1 enlarging, 1 resolved" in text
    assert all("Research use only." in page.extract_text() for page in pages)
    assert sum(len(page.images) for page in pages) >= 9


def test_visits_of_other_networks_are_refused(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in first.iterdir():
        (other / file.name).symlink_to(file)
    report = json.loads((first / "report.json").read_text())
    report["model"]["sha256"] = "f" * 64
    (other / "report.json").unlink()
    (other / "report.json").write_text(json.dumps(report))

    code = main(["compare", str(first), str(other), "--output", str(tmp_path / "out")])

    assert code == 2
    assert "different networks" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
