"""Turn a request's body into an accepted job.

The order is what makes a job safe: the files are checked, made durable and moved into the job's
folder first, and only then does the row exist that promises to work on them. A crash in between
leaves files without a row, which `sweep` removes later.
"""

import logging
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import anyio
from anyio.to_thread import run_sync
from pydantic import ValidationError
from starlette.requests import Request

from dlb_core.artefacts import sync_folder
from dlb_core.contracts import SegmentationOptions
from dlb_core.errors import BadOption, JobNotFound, UploadStalled, UploadTooLarge
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore
from dlb_core.validation import check_header, check_pair
from service.settings import ServiceSettings
from service.uploads import (
    FormLimits,
    FormReceiver,
    StagedFile,
    StagedForm,
    boundary_of,
    disk_errors,
    require_space,
    staging_folder,
)

ROLES = {"t1w": "T1w", "flair": "FLAIR"}
"""Part of the form -> role of the image."""
OPTIONS = "options"
MAX_OPTIONS_BYTES = 64 * 1024
GZIP_MAGIC = b"\x1f\x8b"
ABANDONED_AFTER_S = 3600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intake:
    """What takes new jobs in."""

    settings: ServiceSettings
    data: DataFolder
    store: JobStore

    @property
    def limits(self) -> FormLimits:
        """Parts of the form, and their caps."""
        return FormLimits(
            files=frozenset(ROLES),
            texts=frozenset({OPTIONS}),
            max_file_bytes=self.settings.max_upload_bytes,
            max_text_bytes=MAX_OPTIONS_BYTES,
        )

    async def accept(self, request: Request) -> JobRecord:
        """Receive, check and store one case.

        Raises
        ------
        UploadTooLarge, MalformedUpload, UploadStalled
            The body is not what was asked for.
        BadOption
            The options do not hold to their schema.
        UnreadableImage, ImplausibleImage, GeometryAmbiguous, GridMismatch
            An image, or the pair, cannot be used.
        DiskFull, StoreUnavailable
            Try again later.
        """
        job_id = uuid4()
        boundary = boundary_of(request.headers.get("content-type"))
        expected = self._expected_bytes(request)
        require_space(self.data.staging, needed=expected, spare=self.settings.min_free_bytes)
        with staging_folder(self.data.staging, str(job_id)) as folder:
            with closing(FormReceiver(folder, boundary, self.limits)) as receiver:
                async for chunk in _chunks(request, self.settings.upload_idle_s):
                    await run_sync(receiver.feed, chunk)
                form = await run_sync(receiver.finish)
            return await run_sync(self._admit, job_id, folder, form)

    def _expected_bytes(self, request: Request) -> int:
        """Length of the body as announced, 0 when it is not; too much is refused unread."""
        announced = request.headers.get("content-length", "")
        expected = int(announced) if announced.isdecimal() else 0
        if expected > self.limits.max_body_bytes:
            raise UploadTooLarge(
                f"the body is announced with {expected} bytes; at most "
                f"{self.settings.max_upload_mb} MiB an image are taken here"
            )
        return expected

    def _admit(self, job_id: UUID, folder: Path, form: StagedForm) -> JobRecord:
        """Check a received form and make it a job."""
        options = read_options(form.texts.get(OPTIONS, b""))
        check_images(form.files)
        with disk_errors():
            self._move_in(job_id, folder, form.files)
        digests = {ROLES[part]: file.sha256 for part, file in form.files.items()}
        record = self.store.insert(job_id, options, digests)
        logger.info("job_accepted", extra={"job_id": job_id})
        return record

    def _move_in(self, job_id: UUID, folder: Path, files: dict[str, StagedFile]) -> None:
        """Move the images into the job's folder, durably."""
        for part, file in files.items():
            file.path.rename(folder / _input_name(ROLES[part], file.path))
        sync_folder(folder)
        self.data.job(job_id).mkdir(mode=0o700)
        folder.rename(self.data.inputs(job_id))
        sync_folder(self.data.job(job_id))
        sync_folder(self.data.job(job_id).parent)


def read_options(text: bytes) -> SegmentationOptions:
    """Parse the options part; an empty one means the defaults.

    Raises
    ------
    BadOption
        Not JSON, or not as the schema says; the fields are named.
    """
    try:
        return SegmentationOptions.model_validate_json(text.strip() or b"{}")
    except ValidationError as error:
        fields = {
            ".".join(["options", *map(str, fault["loc"])]): fault["msg"] for fault in error.errors()
        }
        raise BadOption("the options are not as their schema says", fields=fields) from error


def check_images(files: dict[str, StagedFile]) -> None:
    """Check both images' headers, and that they show the same place.

    Raises
    ------
    UnreadableImage, ImplausibleImage, GeometryAmbiguous, GridMismatch
    """
    facts = {part: check_header(files[part].path, role=role) for part, role in ROLES.items()}
    check_pair(facts["t1w"], facts["flair"])


def sweep(data: DataFolder, store: JobStore, *, older_than_s: float = ABANDONED_AFTER_S) -> int:
    """Remove what a crash left: uploads that never ended, and jobs' files without a row.

    Folders with anything young in them are left alone, for another process may be filling them.

    Returns
    -------
    int
        Number of folders removed.
    """
    latest = time.time() - older_than_s
    abandoned = [folder for folder in data.staging.iterdir() if _is_older(folder, latest)]
    abandoned += [
        folder
        for folder in data.jobs.iterdir()
        if _is_older(folder, latest) and not _has_row(folder, store)
    ]
    for folder in abandoned:
        shutil.rmtree(folder, ignore_errors=True)
    return len(abandoned)


def _input_name(role: str, path: Path) -> str:
    """Name of an image by what it holds, not by what it was called."""
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return f"{role}.nii.gz" if compressed else f"{role}.nii"


def _is_older(folder: Path, latest: float) -> bool:
    """Whether all of a folder is older than `latest`; one just removed by another is not."""
    # A folder's own time stands still while a file in it grows.
    try:
        return all(path.stat().st_mtime < latest for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return False


def _has_row(folder: Path, store: JobStore) -> bool:
    """Whether a job of this folder's name exists."""
    try:
        store.get(UUID(folder.name))
    except (ValueError, JobNotFound):
        return False
    return True


async def _chunks(request: Request, idle_s: float) -> AsyncIterator[bytes]:
    """Yield the body's chunks; give up on a sender that falls silent."""
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(idle_s):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise UploadStalled(f"nothing came for {idle_s:g} s: send the form again") from error
        if chunk is None:
            return
        yield chunk
