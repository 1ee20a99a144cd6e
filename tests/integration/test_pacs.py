"""A study pulled from a real archive, segmented, and its results stored there again."""

import io
import json
import os
from collections.abc import Iterator
from uuid import UUID

import highdicom
import httpx
import numpy as np
import pydicom
import pytest

from dlb_core import artefacts
from dlb_core.jobs.layout import DICOM_REFERENCE
from tests.integration.job_harness import HERE, ROOT, wait_until
from tests.integration.orthanc import PASSWORD, USER, Orthanc, require_orthanc
from tests.unit.dicom_kit import OBLIQUE, PATIENT, PATIENT_ID, STUDY, flair, series, t1w, write
from tests.unit.service_kit import Running
from worker.attempt import run_job
from worker.settings import WorkerSettings

IMAGES = flair(directions=OBLIQUE, backwards=True)
NOBODY = f"/v1/jobs/{UUID(int=0)}"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive with one study of four series."""
    require_orthanc()
    folder = tmp_path_factory.mktemp("orthanc")
    archive = Orthanc(folder / "server")
    archive.start()
    study = [
        *t1w(2, directions=OBLIQUE, MRAcquisitionType="2D"),
        *IMAGES,
        *flair(4, ContrastBolusAgent="Dotarem"),
        *series(5, SeriesDescription="localizer", ImageType=["ORIGINAL", "PRIMARY"])[:3],
    ]
    archive.add(write(study, folder / "study"))
    yield archive
    archive.close()


@pytest.fixture(scope="module")
def running(
    orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, httpx.Client]]:
    """A service that may reach the archive, and another that is not there."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "pacs.toml").write_text(
        f'[main]\nurl = "{orthanc.url}/dicom-web"\nusername = "{USER}"\n'
        f"password_file = {json.dumps(str(folder / 'password'))}\n"
        '[away]\nurl = "http://127.0.0.1:1/dicom-web"\n'
        f'[closed]\nurl = "{orthanc.url}/dicom-web"\n'
    )
    running = Running(folder, pacs_file=folder / "pacs.toml")
    with httpx.Client(base_url=running.url, trust_env=False, timeout=60) as client:
        yield running, client
    running.stop()


def deliveries(client: httpx.Client, job: str) -> list[dict[str, object]]:
    """How a job's deliveries stand."""
    found: list[dict[str, object]] = client.get(f"/v1/jobs/{job}/deliveries").json()["deliveries"]
    return found


def test_a_study_goes_from_the_archive_and_its_results_back_to_it(
    running: tuple[Running, httpx.Client], orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way of a hospital: a UID in, objects in the patient's study out."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
    service, client = running
    before = set(orthanc.objects())

    asked = {"study_uid": STUDY, "deliver": True}
    answer = client.post("/v1/archives/main/jobs", json=asked, headers={"Idempotency-Key": "one"})
    again = client.post("/v1/archives/main/jobs", json=asked, headers={"Idempotency-Key": "one"})

    assert (answer.status_code, again.status_code) == (202, 200), answer.text
    job = answer.json()["id"]
    assert again.json()["id"] == job
    kept = (service.services.data.inputs(UUID(job)) / DICOM_REFERENCE).read_text()
    assert PATIENT_ID not in kept
    assert [entry["state"] for entry in deliveries(client, job)] == ["pending"]

    settings = WorkerSettings(
        data=service.services.data.root, threads=1, pipeline="quick_pipeline:segment_case"
    )
    run_job(UUID(job), store=service.services.store, settings=settings, worker_id="w")
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "successful"
    wait_until(
        lambda: deliveries(client, job)[0]["state"] == "delivered",
        describe=lambda: str(deliveries(client, job)),
    )

    stored = orthanc.objects()
    new = [pydicom.dcmread(io.BytesIO(stored[uid])) for uid in set(stored) - before]
    assert sorted(one.Modality for one in new) == ["SEG", "SR"]
    for one in new:
        assert one.StudyInstanceUID == STUDY
        assert (one.PatientName, one.PatientID) == (PATIENT, PATIENT_ID)
        assert one.AccessionNumber == "ACC1"
        assert "PatientIdentityRemoved" not in one
    segmented = highdicom.seg.Segmentation.from_dataset(
        next(one for one in new if one.Modality == "SEG")
    )
    found = segmented.get_pixels_by_source_instance(
        [image.SOPInstanceUID for image in IMAGES], assert_missing_frames_are_empty=True
    )
    expected = np.stack([image.pixel_array > 2 for image in IMAGES])
    np.testing.assert_array_equal(found[..., 0] == 1, expected)
    own = client.get(f"/v1/jobs/{job}/artefacts/{artefacts.DICOM_SEG}")
    assert own.headers["Content-Type"] == "application/dicom"
    assert PATIENT_ID.encode() not in own.content

    _outage_and_replay(client, orthanc, job, len(stored))


def _outage_and_replay(client: httpx.Client, orthanc: Orthanc, job: str, stored: int) -> None:
    """An archive that is down delays its delivery, and changes nothing about the job."""
    orthanc.stop()
    delivery = deliveries(client, job)[0]["id"]
    replayed = client.post(f"/v1/jobs/{job}/deliveries/{delivery}/replay")
    assert (replayed.status_code, replayed.json()["state"]) == (202, "pending")
    wait_until(lambda: bool(deliveries(client, job)[0]["attempts"]))
    wait_until(lambda: len(deliveries(client, job)[0]["log"]) == 2)  # type: ignore[arg-type]
    waiting = deliveries(client, job)[0]
    assert waiting["state"] == "pending"
    assert "does not answer" in waiting["log"][-1]["error"]  # type: ignore[index]
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "successful"

    orthanc.start()
    client.post(f"/v1/jobs/{job}/deliveries/{delivery}/replay")
    wait_until(lambda: deliveries(client, job)[0]["state"] == "delivered")
    assert len(orthanc.objects()) == stored, "the same results are there once"


def test_what_cannot_be_pulled_is_refused_with_a_cause(
    running: tuple[Running, httpx.Client], orthanc: Orthanc
) -> None:
    """Where the archive is, and how one is let in, no caller learns."""
    service, client = running
    cases = [
        ("main", "1.2.3.4", 422, "study-not-found"),
        ("other", STUDY, 422, "unknown-archive"),
        ("away", STUDY, 503, "pacs-unavailable"),
        ("closed", STUDY, 503, "pacs-unavailable"),
        ("main", "1.2/../../x", 422, "bad-option"),
    ]

    for archive, study, status, code in cases:
        answer = client.post(f"/v1/archives/{archive}/jobs", json={"study_uid": study})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert str(orthanc.port) not in answer.text
    assert not list(service.services.data.staging.iterdir())
    listed = client.get("/v1/archives").json()
    assert listed == {"archives": ["away", "closed", "main"]}
    assert client.get(f"{NOBODY}/deliveries").status_code == 404
    ordered = client.post(f"{NOBODY}/deliveries", json={"archive": "main"})
    assert ordered.json()["code"] == "not-found"
