"""The viewer for one folder of results, with nothing behind it: no broker, no worker, no database.

It answers as much of the API as the page asks for, as if the folder were one finished job.
"""

import json
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, RedirectResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dlb_core import artefacts
from dlb_core.contracts import JobState, Progress, Stage
from dlb_core.corrections import corrections_of
from dlb_core.documents import API, ProgressDocument
from dlb_core.errors import JobNotFound
from dlb_core.versions import FIRST, version_folder, versions_in
from service import errors
from service.routes.artefacts import SECURITY_HEADERS, Version
from service.viewer import pages

JOB_ID = UUID(int=0)
"""The folder's, as a job."""
JOB_PATH = f"{API}/jobs/{JOB_ID}"
OWN_NAMES = ["127.0.0.1", "localhost", "[::1]"]
"""Another site's name that was made to lead here must not read the scans."""


def create_local_app(folder: Path) -> FastAPI:
    """Build the app.

    Parameters
    ----------
    folder : Path
        What `dlb segment` wrote; `report.json` is in it.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    routers = [_results_of(folder), pages.router]
    for router in routers:
        app.include_router(router)
    errors.install(app, [route for router in routers for route in router.routes])
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=OWN_NAMES)
    return app


def _results_of(folder: Path) -> APIRouter:
    """The folder as the API shows a finished job; only what a case has is ever read."""
    router = APIRouter()

    @router.get("/")
    def to_the_case() -> RedirectResponse:
        return RedirectResponse(f"{JOB_PATH}/view")

    @router.get(JOB_PATH)
    def job() -> dict[str, Any]:
        return _job(folder)

    @router.get(f"{JOB_PATH}/results")
    def results(version: Version = FIRST) -> dict[str, Any]:
        return {
            "version": version,
            "versions": _versions(folder),
            "report": _report(_version(folder, version)),
            "artefacts": _artefacts(_version(folder, version), version),
        }

    @router.get(f"{JOB_PATH}/artefacts/{{name}}")
    def artefact(
        name: Annotated[str, PathParameter(max_length=200)], version: Version = FIRST
    ) -> FileResponse:
        path = _version(folder, version) / name
        if name not in artefacts.ALL or not path.is_file():
            raise JobNotFound("the folder has no such file")
        return FileResponse(path, media_type=artefacts.media_type(name), headers=SECURITY_HEADERS)

    return router


def _version(folder: Path, version: int) -> Path:
    """Folder of one version; only of one that is there."""
    if version not in versions_in(folder):
        raise JobNotFound("the folder has no such version")
    return version_folder(folder, version)


def _versions(folder: Path) -> list[dict[str, Any]]:
    """As much of the versions as the page reads."""
    edits = {each.correction.version: each.correction for each in corrections_of(folder)}
    return [
        {
            "version": version,
            "correction": edits.get(version),
            "links": {"results": f"{JOB_PATH}/results?version={version}"},
        }
        for version in (FIRST, *edits)
    ]


def _report(folder: Path) -> dict[str, Any]:
    """The report as it was written, be it by another version."""
    report: dict[str, Any] = json.loads((folder / artefacts.REPORT_JSON).read_bytes())
    return report


def _job(folder: Path) -> dict[str, Any]:
    """As much of a job's document as the page reads."""
    report = _report(folder)
    return {
        "state": JobState.SUCCESSFUL,
        "stage": Stage.DONE,
        "progress": ProgressDocument.of(Progress(stage=Stage.DONE)),
        "finished": report["created"],
        "cancel_requested": False,
        "attempts": 1,
        "options": report["options"],
        "links": {"job": JOB_PATH, "results": f"{JOB_PATH}/results"},
    }


def _artefacts(folder: Path, version: int) -> list[dict[str, Any]]:
    """The case's files that are there; other files in the folder are nobody's business."""
    return [
        {
            "name": name,
            "size_bytes": (folder / name).stat().st_size,
            "href": f"{JOB_PATH}/artefacts/{name}?version={version}",
        }
        for name in artefacts.ALL
        if (folder / name).is_file()
    ]
