"""A reader corrects a mask in the browser: send it, see the new version, go back to the first."""

import re
import shutil
from pathlib import Path
from uuid import UUID

import httpx
import nibabel as nib
import numpy as np
from playwright.sync_api import expect

from dlb_core import artefacts
from dlb_core.report.document import Report
from service.dependencies import Services
from tests.browser.conftest import PATIENCE_MS, Watched
from tests.unit.finished_case import write_finished_case
from tests.unit.service_kit import Running, form, form_headers, pair

expect.set_options(timeout=PATIENCE_MS)


def finish(services: Services, job_id: UUID, results: Path) -> None:
    """Do what a worker does with a job, whose results are these."""
    claim = services.store.claim(job_id, 60.0)
    assert claim is not None
    folder = services.data.attempt(job_id, claim.fence)
    shutil.copytree(results, folder)
    report = Report.model_validate_json((folder / artefacts.REPORT_JSON).read_text())
    entries = artefacts.list_artefacts(folder)
    assert services.store.finish(claim, entries, report.totals.model_dump())


def test_an_edited_mask_is_sent_and_both_versions_can_be_seen(
    watched: Watched, tmp_path: Path
) -> None:
    """In place of two lesions a ring, whose middle is no lesion; and nobody's work is lost."""
    results = write_finished_case(tmp_path / "results")
    image = nib.load(results / artefacts.MASK_FLAIR)
    edited = np.zeros_like(image.dataobj)
    edited[56:65, 64:73, 24] = 1
    edited[58:63, 66:71, 24] = 0
    path = tmp_path / "Jane Doe edited.nii.gz"
    nib.Nifti1Image(edited, image.affine).to_filename(path)
    running = Running(tmp_path / "service")
    try:
        sent = httpx.post(f"{running.url}/v1/jobs", content=form(pair()), headers=form_headers())
        job = sent.headers["Location"]
        finish(running.services, UUID(job.rsplit("/", 1)[1]), results)
        page = watched.page
        page.goto(f"{running.url}{job}/view")
        expect(page.locator("#lesions-title")).to_have_text("Lesions (2)")
        expect(page.locator("#version-choice")).to_be_hidden()

        page.get_by_text("Correct by hand").click()
        page.get_by_label("Edited mask").set_input_files(path)
        page.get_by_label("Your name").fill("A. Reader")
        page.get_by_role("button", name="Make a new version").click()

        page.wait_for_url(re.compile(r"view\?version=2$"))
        expect(page.locator("#lesions-title")).to_have_text("Lesions (1)")
        expect(page.locator("#version option:checked")).to_contain_text("2: corrected by A. Reader")
        expect(page.locator("#where")).to_contain_text("mm: lesion 1,")
        page.locator("#version").select_option("1")
        expect(page.locator("#lesions-title")).to_have_text("Lesions (2)")
        page.goto(f"{running.url}{job}/view")
        expect(page.locator("#lesions-title")).to_have_text("Lesions (1)")
    finally:
        running.stop()

    assert watched.faults == []
