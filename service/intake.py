"""Turn a request's body into an accepted job.

The order is what makes a job safe: the files are checked, made durable and moved into the job's
folder first, and only then does the row exist that promises to work on them. A crash in between
leaves files without a row, which `sweep` removes later.
"""

import logging
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from pydantic import ValidationError
from starlette.requests import Request

from dlb_core.artefacts import sync_folder
from dlb_core.contracts import GIVEN, Message, Priority, SegmentationOptions
from dlb_core.dicom.wishes import NamedSeries
from dlb_core.errors import (
    BadOption,
    DiskFull,
    IdempotencyConflict,
    JobNotFound,
    QueueFull,
    TransientError,
    UploadTooLarge,
)
from dlb_core.jobs.idempotency import content_digest, scoped_key
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.leftovers import is_older, old_places
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.store.requests import KeyTaken
from dlb_core.jobs.tracing import current_traceparent
from dlb_core.validation import ImageFacts, check_header, check_pair
from service.bodies import chunks_of
from service.dicom import STUDY, is_dicom, limiter, unfold
from service.lanes import Lane
from service.scan_dates import SCAN_DATE, with_scan_date
from service.settings import ServiceSettings
from service.space import Reservation, UploadSpace
from service.uploads import (
    FormLimits,
    FormReceiver,
    StagedForm,
    boundary_of,
    disk_errors,
    staging_folder,
)

ROLES = {"t1w": "T1w", "flair": "FLAIR"}
"""Part of the form -> role of the image."""
OPTIONS = "options"
PRIORITY = "priority"
SERIES = "series"
MAX_OPTIONS_BYTES = 64 * 1024
GZIP_MAGIC = b"\x1f\x8b"
ABANDONED_AFTER_S = 3600.0
KEEPING = Lane("keeping", 4)
"""Threads in which uploads go on to a bucket: a slow one must not hold up all else."""
RECEIVING = Lane("receiving", 2)
"""Threads in which uploads are parsed: each holds Python's lock most of the time, so more of them
are no faster, and those who poll would wait for them all."""

Document = TypeVar("Document", bound=Message)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a request, and what marks it as the same one when it is sent again."""

    owner: str | None = None
    """None where the service asks nobody who they are."""
    idempotency_key: str | None = None

    @property
    def scoped_key(self) -> str | None:
        """The key, as the job store knows it."""
        if self.idempotency_key is None:
            return None
        return scoped_key(self.idempotency_key, self.owner)


@dataclass(frozen=True, slots=True)
class Admission:
    """A job, accepted now or when the same request came before."""

    record: JobRecord
    replayed: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What a form asks for."""

    options: SegmentationOptions
    priority: Priority
    inputs: dict[str, str]
    """Role, or `study` -> SHA-256 of the file."""
    series: NamedSeries

    @property
    def content(self) -> str:
        """Digest of it all."""
        named = {} if self.series == NamedSeries() else {SERIES: self.series.model_dump_json()}
        return content_digest(self.inputs | named, self.options, self.priority)


@dataclass(frozen=True, slots=True)
class Intake:
    """What takes new jobs in."""

    settings: ServiceSettings
    data: DataFolder
    store: JobStore
    space: UploadSpace

    @property
    def limits(self) -> FormLimits:
        """Parts of the form, and their caps."""
        return FormLimits(
            choices=(frozenset(ROLES), frozenset({STUDY})),
            texts=frozenset({OPTIONS, PRIORITY, SERIES, SCAN_DATE}),
            max_file_bytes=self.settings.max_upload_bytes,
            max_text_bytes=MAX_OPTIONS_BYTES,
        )

    async def accept(self, request: Request, sender: Sender) -> Admission:
        """Receive, check and store one case.

        Raises
        ------
        UploadTooLarge, MalformedUpload, UploadStalled
            The body is not what was asked for.
        BadOption
            The options do not hold to their schema.
        UnreadableImage, ImplausibleImage, GeometryAmbiguous, GridMismatch
            An image, or the pair, cannot be used.
        UnreadableArchive, SeriesMissing, SeriesAmbiguous, SeriesDefective
            Of DICOM: nor can its series.
        IdempotencyConflict
            The caller's key came before with another request.
        QueueFull, DiskFull, StoreUnavailable, BucketUnavailable
            Try again later.
        """
        job_id = uuid4()
        boundary = boundary_of(request.headers.get("content-type"))
        expected = self.expected_bytes(request, self.limits)
        await run_sync(self.require_place, sender)
        with (
            self.space.reserve(expected) as reservation,
            staging_folder(self.data.staging, str(job_id)) as folder,
        ):
            form = await self.receive(request, folder, boundary, reservation, self.limits)
            held_back = self.lane(is_dicom=self._is_dicom(form))
            return await run_sync(
                self._admit, job_id, folder, form, sender, reservation, limiter=held_back
            )

    def require_place(self, sender: Sender) -> None:
        """Refuse, before anything is read, what could not be kept; a repeated request can be."""
        key = sender.scoped_key
        if key is None or self.store.find_by_key(key) is None:
            self.store.require_room(self.settings.max_waiting)

    async def receive(
        self,
        request: Request,
        folder: Path,
        boundary: bytes,
        reservation: Reservation,
        limits: FormLimits,
    ) -> StagedForm:
        """Stream the body to disk."""
        with closing(FormReceiver(folder, boundary, limits)) as receiver:

            def take(chunk: bytes) -> None:
                reservation.take(len(chunk))
                receiver.feed(chunk)

            async for chunk in chunks_of(request, self.settings.upload_idle_s):
                await run_sync(take, chunk, limiter=RECEIVING.limiter())
            return await run_sync(receiver.finish)

    def expected_bytes(self, request: Request, limits: FormLimits) -> int:
        """Length of the body as announced, 0 when it is not; too much is refused unread."""
        announced = request.headers.get("content-length", "")
        expected = int(announced) if announced.isdecimal() else 0
        if expected > limits.max_body_bytes:
            raise UploadTooLarge(
                f"the body is announced with {expected} bytes; at most "
                f"{self.settings.max_upload_mb} MiB an image are taken here"
            )
        return expected

    def lane(self, *, is_dicom: bool) -> CapacityLimiter | None:
        """Threads in which received forms become jobs: those that may take long have their own."""
        if is_dicom:
            return limiter()
        return None if self.data.is_shared else KEEPING.limiter()

    def _is_dicom(self, form: StagedForm) -> bool:
        """Whether images must be made of it first."""
        return is_dicom({part: file.path for part, file in form.files.items()})

    def _admit(
        self,
        job_id: UUID,
        folder: Path,
        form: StagedForm,
        sender: Sender,
        reservation: Reservation,
    ) -> Admission:
        """Check a received form and make it a job, unless it is one already."""
        asked = read_form(form)
        known = self.known(sender, asked)
        if known is not None:
            return known
        images = {part: file.path for part, file in form.files.items()}
        images = self.unfolded(images, folder, asked.series, reservation)
        return self.keep(job_id, folder, images, asked, sender)

    def unfolded(
        self, parts: dict[str, Path], folder: Path, named: NamedSeries, reservation: Reservation
    ) -> dict[str, Path]:
        """The two images, made of DICOM if that is what came."""
        if not is_dicom(parts):
            return parts
        with disk_errors():
            return unfold(
                parts,
                folder,
                named=named,
                keep_identity=self.settings.dicom_identity == "keep",
                max_bytes=self.settings.max_unpacked_bytes,
                on_bytes=reservation.take,
            )

    def keep(
        self, job_id: UUID, folder: Path, images: dict[str, Path], asked: Asked, sender: Sender
    ) -> Admission:
        """Check two images, move them in, and promise to work on them."""
        check_images(images)
        with disk_errors():
            self.move_in(job_id, folder, images)
        try:
            record = self.store.insert(
                job_id,
                asked.options,
                asked.inputs,
                owner=sender.owner,
                priority=asked.priority,
                idempotency=sender.scoped_key,
                content=asked.content,
                max_waiting=self.settings.max_waiting,
                trace=current_traceparent(),
            )
        except KeyTaken:
            # The same request came twice at the same moment, and the other was quicker.
            self.data.remove_job(job_id)
            return self._known_surely(sender, asked)
        except (QueueFull, DiskFull):
            # Other faults leave it open whether the row was kept: then `sweep` decides later.
            self.data.remove_job(job_id)
            raise
        logger.info("job_accepted", extra={"job_id": job_id})
        return Admission(record, replayed=False)

    def known(self, sender: Sender, asked: Asked) -> Admission | None:
        """The job that the same request made before, if it did."""
        key = sender.scoped_key
        record = None if key is None else self.store.find_by_key(key)
        if record is None:
            return None
        if record.content != asked.content:
            raise IdempotencyConflict(
                "this Idempotency-Key came before with other images, options or priority: "
                "use a new key for a new request"
            )
        return Admission(record, replayed=True)

    def _known_surely(self, sender: Sender, asked: Asked) -> Admission:
        known = self.known(sender, asked)
        if known is None:
            raise TransientError("the job of this Idempotency-Key was just deleted: send it again")
        return known

    def move_in(self, job_id: UUID, folder: Path, images: dict[str, Path]) -> None:
        """Make the images the job's, durably."""
        for part, path in images.items():
            path.rename(folder / _input_name(ROLES[part], path))
        sync_folder(folder)
        self.data.take_in(job_id, folder)


def read_form(form: StagedForm) -> Asked:
    """Parse the form's texts.

    Raises
    ------
    BadOption
        The fields at fault are named.
    """
    return Asked(
        options=with_scan_date(
            read_options(form.texts.get(OPTIONS, b"")), form.texts.get(SCAN_DATE, b"")
        ),
        priority=read_priority(form.texts.get(PRIORITY, b"")),
        inputs={ROLES.get(part, part): file.sha256 for part, file in form.files.items()},
        series=read_series(form.texts.get(SERIES, b"")),
    )


def read_priority(text: bytes) -> Priority:
    """Parse the priority; an empty one means routine.

    Raises
    ------
    BadOption
        There is no such priority.
    """
    try:
        return Priority(text.decode("ascii", "replace").strip() or Priority.ROUTINE)
    except ValueError as error:
        known = ", ".join(Priority)
        raise BadOption(
            "the priority is none that there is", fields={PRIORITY: f"must be one of {known}"}
        ) from error


def read_options(text: bytes) -> SegmentationOptions:
    """Parse the options part; an empty one means the defaults.

    Raises
    ------
    BadOption
        Not JSON, or not as the schema says; the fields are named.
    """
    return read_json(text, SegmentationOptions, OPTIONS)


def read_series(text: bytes) -> NamedSeries:
    """Parse the part that names series; an empty one means that the rules choose.

    Raises
    ------
    BadOption
        Not JSON, or not as the schema says; the fields are named.
    """
    return read_json(text, NamedSeries, SERIES)


def read_json(text: bytes, kind: type[Document], part: str) -> Document:
    """Parse a part that is JSON; an empty one means the defaults.

    Raises
    ------
    BadOption
        Not JSON, or not as the schema says; the fields are named.
    """
    try:
        return kind.model_validate_json(text.strip() or b"{}", context=GIVEN)
    except ValidationError as error:
        fields = {
            ".".join([part, *map(str, fault["loc"])]): fault["msg"] for fault in error.errors()
        }
        raise BadOption(f"the {part} are not as their schema says", fields=fields) from error


def check_images(images: dict[str, Path]) -> dict[str, ImageFacts]:
    """Check both images' headers, and that they show the same place; what the headers say.

    Raises
    ------
    UnreadableImage, ImplausibleImage, GeometryAmbiguous, GridMismatch
    """
    facts = {part: check_header(images[part], role=role) for part, role in ROLES.items()}
    check_pair(facts["t1w"], facts["flair"])
    return facts


def sweep(data: DataFolder, store: JobStore, *, older_than_s: float = ABANDONED_AFTER_S) -> int:
    """Remove what a crash left: uploads that never ended, and jobs' files without a row.

    Folders with anything young in them are left alone, for another process may be filling them.

    Returns
    -------
    int
        Number of folders removed.

    Raises
    ------
    StoreUnavailable, BucketUnavailable
    """
    latest = time.time() - older_than_s
    abandoned = [folder for folder in data.staging.iterdir() if is_older(folder, latest)]
    kept = old_places(data, data.jobs, older_than_s=older_than_s)
    abandoned += [folder for folder in kept if not _has_row(folder, store)]
    for folder in abandoned:
        data.remove(folder)
    return len(abandoned)


def _input_name(role: str, path: Path) -> str:
    """Name of an image by what it holds, not by what it was called."""
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return f"{role}.nii.gz" if compressed else f"{role}.nii"


def _has_row(folder: Path, store: JobStore) -> bool:
    """Whether a job of this folder's name exists."""
    try:
        store.get(UUID(folder.name))
    except (ValueError, JobNotFound):
        return False
    return True
