"""What tests of the service share: an app that runs, forms to send it, jobs that end."""

import gzip
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import nibabel as nib
import numpy as np
import uvicorn
from fastapi import FastAPI

from dlb_core import artefacts
from dlb_core.jobs.layout import DataFolder
from service.app import create_app
from service.dependencies import Services
from service.settings import ServiceSettings
from tests.unit.databases import fresh_database
from tests.unit.plain_report import plain_report

NO_BROKER = "redis://127.0.0.1:1/0"
"""Nothing listens there: the service must do its work without a broker."""
BOUNDARY = "a-boundary"
MANIFEST = '{"name": "Test Bundle", "version": "1.0", "description": "for tests", "files": []}'


def nifti(
    shape: tuple[int, ...] = (24, 28, 28), *, voxel_mm: float = 5.0, compressed: bool = True
) -> bytes:
    """Bytes of a small image with the field of view of a head."""
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    image = nib.Nifti1Image(np.ones(shape, dtype=np.int16), affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    plain = image.to_bytes()
    return gzip.compress(plain, compresslevel=1, mtime=0) if compressed else plain


def form(parts: list[tuple[str, bytes]], *, boundary: str = BOUNDARY, closed: bool = True) -> bytes:
    """A multipart body of these parts, as they come."""
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in parts
    )
    return body + (f"--{boundary}--\r\n".encode() if closed else b"")


def form_headers(boundary: str = BOUNDARY) -> dict[str, str]:
    """The headers that go with `form`."""
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def pair(**changes: bytes) -> list[tuple[str, bytes]]:
    """Parts of a good request, some of them replaced or added."""
    return list(({"t1w": nifti(), "flair": nifti()} | changes).items())


def make_bundle(folder: Path) -> Path:
    """A bundle as far as the service looks at it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(MANIFEST)
    (folder / "model_card.md").write_text("# Test Bundle\n")
    return folder


def make_settings(root: Path, **changes: Any) -> ServiceSettings:
    """Settings of a service that keeps all below one folder."""
    values = {
        "data": root / "data",
        "redis_url": NO_BROKER,
        "weights": make_bundle(root / "weights"),
        "min_free_mb": 0,
    }
    settings = ServiceSettings.model_validate(values | changes)
    _place_database(settings)
    return settings


def _place_database(settings: ServiceSettings) -> None:
    """Spare a new service its migrations."""
    folder = DataFolder(settings.data)
    if settings.database_url is None and not folder.database.exists():
        folder.create()
        fresh_database(folder.database)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Start the app's lifespan; yield a client that calls it in this process."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        yield client


@asynccontextmanager
async def service(root: Path, **changes: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    """A running service, and what it holds."""
    app = create_app(make_settings(root, **changes))
    async with running(app) as client:
        yield client, app.state.services


async def submit(client: httpx.AsyncClient, **changes: bytes) -> httpx.Response:
    """Send a good request, some parts of it changed."""
    return await client.post("/v1/jobs", content=form(pair(**changes)), headers=form_headers())


class Running:
    """A service in a thread of this process."""

    def __init__(self, root: Path, **changes: Any) -> None:
        app = create_app(make_settings(root, **changes))
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        until(lambda: self._server.started)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.services: Services = app.state.services

    def stop(self) -> None:
        """End the service as a signal would."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def finish(services: Services, job_id: UUID) -> None:
    """Do what a worker does with a job: claim, write results, publish."""
    claim = services.store.claim(job_id, 60.0)
    assert claim is not None
    folder = services.data.attempt(job_id, claim.fence)
    folder.mkdir(parents=True)
    report = plain_report(claim.options, brain_volume_ml=1200.0)
    artefacts.write_text(folder / artefacts.REPORT_JSON, report.model_dump_json())
    artefacts.write_text(folder / artefacts.REPORT_HTML, "<!doctype html><title>r</title>")
    artefacts.write_text(folder / artefacts.MASK_FLAIR, "0123456789" * 100)
    entries = artefacts.list_artefacts(folder)
    assert services.store.finish(claim, entries, report.totals.model_dump())
