"""DICOM sent to the service: archives of a series each, or of a whole study."""

import io
import json
import logging
import zipfile
from pathlib import Path
from uuid import UUID

import anyio
import httpx
import pytest
from dicom_kit import PATIENT_ID, archive, flair, series, t1w
from service_kit import form, form_headers, nifti, service

from dlb_core.jobs.layout import DICOM_REFERENCE
from service.dependencies import Services

Parts = list[tuple[str, bytes]]


def zipped(folder: Path, name: str, images: list) -> bytes:
    """An archive's bytes."""
    return archive(images, folder / f"{name}.zip").read_bytes()


async def send(client: httpx.AsyncClient, parts: Parts) -> httpx.Response:
    """Post a form."""
    return await client.post("/v1/jobs", content=form(parts), headers=form_headers())


def test_a_study_becomes_a_job_whose_folder_holds_two_images_and_no_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The archive and its DICOM files are gone before the job exists."""
    study = zipped(tmp_path, "study", [*t1w(), *flair(), *series(9, Modality="SR")])

    async def scenario(client: httpx.AsyncClient, services: Services) -> None:
        answer = await send(client, [("study", study)])
        again = await client.post(
            "/v1/jobs",
            content=form([("study", study)]),
            headers=form_headers() | {"Idempotency-Key": "k"},
        )

        assert (answer.status_code, again.status_code) == (202, 202), answer.text
        assert list(answer.json()["inputs"]) == ["study"]
        job = UUID(answer.json()["id"])
        kept = sorted(path.name for path in services.data.inputs(job).iterdir())
        assert kept == ["FLAIR.nii", "T1w.nii", "dicom.json"]
        assert (services.data.inputs(job) / DICOM_REFERENCE).exists()
        assert not list(services.data.staging.iterdir())

    with caplog.at_level(logging.DEBUG):
        anyio.run(_run, tmp_path, scenario)
    logged = " ".join(str(record.__dict__) for record in caplog.records)
    assert not [word for word in ("Doe", "Jane", PATIENT_ID) if word in logged]


def test_an_archive_a_series_does_as_well_and_names_go_before_rules(tmp_path: Path) -> None:
    """A caller that knows its series numbers need not rely on rules."""
    late = flair(3, ContrastBolusAgent="Dotarem")
    parts = [("t1w", zipped(tmp_path, "t1w", t1w())), ("flair", zipped(tmp_path, "flair", late))]

    async def scenario(client: httpx.AsyncClient, services: Services) -> None:
        refused = await send(client, parts)
        taken = await send(client, [*parts, ("series", json.dumps({"flair": 3}).encode())])

        assert (refused.status_code, refused.json()["code"]) == (422, "series-missing")
        assert "after contrast agent" in refused.json()["detail"]
        assert taken.status_code == 202, taken.text
        assert sorted(taken.json()["inputs"]) == ["FLAIR", "T1w"]

    anyio.run(_run, tmp_path, scenario)


def test_what_is_wrong_with_dicom_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    """Each has a code to act on; the series at issue are listed."""
    gap = flair()
    del gap[6]
    sound = zipped(tmp_path, "sound", [*t1w(), *flair()])
    cases: list[tuple[Parts, int, str, str]] = [
        ([("study", zipped(tmp_path, "gap", [*t1w(), *gap]))], 422, "series-defective", "6 and 8"),
        (
            [("study", zipped(tmp_path, "two", [*t1w(), *flair(3), *flair(4)]))],
            422,
            "series-ambiguous",
            "series 4",
        ),
        ([("study", b"PK\x03\x04 and no more")], 422, "unreadable-archive", "study"),
        ([("study", nifti())], 422, "unreadable-archive", "study"),
        ([("study", bomb())], 413, "upload-too-large", "MiB"),
        ([("t1w", sound), ("flair", nifti())], 422, "unreadable-image", "both"),
        ([("study", sound), ("t1w", nifti())], 400, "malformed-upload", "part"),
        ([("study", sound), ("series", b'{"flair": "3"}')], 422, "bad-option", "series"),
        ([("study", sound), ("series", b'{"flair": 77}')], 422, "series-missing", "77"),
    ]

    async def scenario(client: httpx.AsyncClient, services: Services) -> None:
        for parts, status, code, said in cases:
            answer = await send(client, parts)
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
            assert said in answer.json()["detail"]
            assert not [word for word in ("Doe", "Jane", PATIENT_ID) if word in answer.text]
            assert not [*services.data.staging.iterdir(), *services.data.jobs.iterdir()]

    anyio.run(_run, tmp_path, scenario)


def test_one_key_with_other_series_is_another_request(tmp_path: Path) -> None:
    """The same archive, with another series named, is not the same case."""
    study = zipped(tmp_path, "study", [*t1w(), *flair()])
    headers = form_headers() | {"Idempotency-Key": "k"}

    async def scenario(client: httpx.AsyncClient, services: Services) -> None:
        for named, status in ((b"{}", 202), (b"", 200), (b'{"flair": 3}', 422)):
            body = form([("study", study), ("series", named)])
            answer = await client.post("/v1/jobs", content=body, headers=headers)
            assert answer.status_code == status, answer.text

    anyio.run(_run, tmp_path, scenario)


def bomb() -> bytes:
    """A small archive that holds more than the service here takes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("1", bytes(128) + b"DICM" + bytes(6_000_000))
    return file.getvalue()


async def _run(root: Path, scenario: object) -> None:
    async with service(root / "service", max_unpacked_mb=4) as (client, services):
        await scenario(client, services)  # type: ignore[operator]
