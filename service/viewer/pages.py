"""Serve the pages and what they load; they are the same for every job, and hold no data.

What a page shows it fetches from the API, as any other client.
"""

from functools import cache
from http import HTTPStatus
from pathlib import Path
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from dlb_core.artefacts import sha256_of
from dlb_core.documents import API
from dlb_core.errors import JobNotFound
from service.presentation import matches
from service.routes.jobs import IfNoneMatch

STATIC = Path(__file__).parent / "static"
FILES = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}
"""Every file there is; no other name ever reaches the disk."""
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
HEADERS = {
    # `data:` for images: NiiVue keeps the letters that it draws in one.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
def upload_page(if_none_match: IfNoneMatch = None) -> Response:
    """Let a person submit a case."""
    return page("index.html", if_none_match)


@router.get(f"{API}/jobs/{{job_id}}/view")
def job_page(job_id: UUID, if_none_match: IfNoneMatch = None) -> Response:
    """Show a person one job; the page itself finds out whether there is such a job."""
    return page("view.html", if_none_match)


@router.get("/viewer/{name:path}")
def part(name: str, if_none_match: IfNoneMatch = None) -> Response:
    """Give what the pages load."""
    return page(name, if_none_match)


def page(name: str, if_none_match: str | None = None) -> Response:
    """One static file with the headers that keep it harmless.

    Raises
    ------
    JobNotFound
        There is no such file.
    """
    path = FILES.get(name)
    if path is None:
        raise JobNotFound("the pages have no file of that name")
    headers = HEADERS | {"ETag": _entity_tag(path)}
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return FileResponse(path, headers=headers, media_type=MEDIA_TYPES[path.suffix])


@cache
def _entity_tag(path: Path) -> str:
    """A file's digest, taken once: the files are those of the installation."""
    return f'"{sha256_of(path)[:32]}"'
