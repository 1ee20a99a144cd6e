"""A job that came as DICOM, from the archive to its objects, in real case processes."""

import os
from pathlib import Path
from uuid import UUID

import highdicom
import numpy as np
import pytest
from job_harness import HERE, ROOT

from dlb_core import artefacts
from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.dicom.intake import Wishes, take_in
from dlb_core.jobs.store import JobStore
from tests.unit.dicom_kit import SAGITTAL, flair, t1w, write
from worker.attempt import run_job
from worker.settings import WorkerSettings


def test_a_worker_adds_dicom_objects_to_a_job_that_came_as_dicom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has to ask for nothing: what came as DICOM goes back as DICOM."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
    settings = WorkerSettings(data=tmp_path, threads=1, pipeline="quick_pipeline:segment_case")
    settings.folder.create()
    job_id = UUID(int=7)
    settings.folder.inputs(job_id).mkdir(parents=True)
    images = flair(directions=SAGITTAL, backwards=True)
    files = write([*t1w(directions=SAGITTAL, MRAcquisitionType="2D"), *images], tmp_path / "study")
    take_in({None: files}, settings.folder.inputs(job_id), Wishes())
    with JobStore.open(settings.store_url) as store:
        store.insert(job_id, SegmentationOptions(), {})
        run_job(job_id, store=store, settings=settings, worker_id="w")
        job = store.get(job_id)

    assert job.state is JobState.SUCCESSFUL, job.error_message
    kinds = {entry.name: entry.media_type for entry in job.artefacts}
    assert kinds[artefacts.DICOM_SEG] == "application/dicom"
    assert {artefacts.DICOM_SR, artefacts.DICOM_SERIES} <= kinds.keys()
    segmented = highdicom.seg.segread(
        settings.folder.attempt(job_id, job.fence) / artefacts.DICOM_SEG
    )
    found = segmented.get_pixels_by_source_instance(
        [image.SOPInstanceUID for image in images], assert_missing_frames_are_empty=True
    )
    expected = np.stack([image.pixel_array > 2 for image in images])
    np.testing.assert_array_equal(found[..., 0] == 1, expected)
