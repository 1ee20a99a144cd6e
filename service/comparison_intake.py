"""Turn a request's body into an accepted comparison: of two jobs, or of two visits' scans.

Scans make two jobs, which are accepted with their comparison in one change, or not at all. Before
it both visits' files are checked, made durable and moved into the jobs' folders, as `intake.py`
does with one case.
"""

import logging
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

from anyio.to_thread import run_sync
from starlette.requests import Request

from dlb_core.dicom.dating import dated
from dlb_core.documents import API
from dlb_core.errors import (
    BadOption,
    BucketUnavailable,
    DiskFull,
    IdempotencyConflict,
    QueueFull,
    TransientError,
)
from dlb_core.jobs.comparisons.records import ComparisonRecord
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.idempotency import comparison_digest
from dlb_core.jobs.layout import DICOM_REFERENCE
from dlb_core.jobs.store.requests import KeyTaken, NewJob
from dlb_core.jobs.tracing import current_traceparent
from dlb_core.longitudinal.naming import VISITS, naming_visit
from dlb_core.longitudinal.requests import ComparisonChoices, ComparisonRequest
from dlb_core.longitudinal.rules import check_order, check_resolution, require_comparable
from dlb_core.validation import ImageFacts
from service.dependencies import Services
from service.dicom import STUDY, is_dicom
from service.intake import (
    MAX_OPTIONS_BYTES,
    OPTIONS,
    PRIORITY,
    ROLES,
    SERIES,
    Asked,
    Intake,
    Sender,
    check_images,
    read_form,
    read_json,
    read_options,
    read_priority,
)
from service.scan_dates import SCAN_DATE
from service.space import Reservation
from service.uploads import FormLimits, StagedForm, boundary_of, disk_errors, staging_folder

PATH = f"{API}/comparisons"
CHOICES = "comparison"
"""Part of the form with what may be chosen for the comparison."""

logger = logging.getLogger(__name__)


def sender_of(owner: str | None, idempotency_key: str | None) -> Sender:
    """Who asks for a comparison; keys of theirs for jobs are others, for these hold no spaces."""
    return Sender(owner, None if idempotency_key is None else f"comparison {idempotency_key}")


@dataclass(frozen=True, slots=True)
class ComparisonAdmission:
    """A comparison, accepted now or when the same request came before."""

    record: ComparisonRecord
    replayed: bool


@dataclass(slots=True)
class _Visit:
    """One visit's scans on their way in."""

    name: str
    asked: Asked
    folder: Path
    images: dict[str, Path]
    job_id: UUID

    @property
    def day(self) -> date | None:
        """Of its scan: as given, or as the prepared images' DICOM has it."""
        kept = self.folder / DICOM_REFERENCE
        return dated(self.asked.options, kept if kept.is_file() else None).scan_date

    def job(self, sender: Sender) -> NewJob:
        """What is to be accepted."""
        return NewJob(
            self.job_id,
            self.asked.options,
            self.asked.inputs,
            owner=sender.owner,
            priority=self.asked.priority,
            content=self.asked.content,
            trace=current_traceparent(),
        )


@dataclass(frozen=True, slots=True)
class ComparisonIntake:
    """What takes new comparisons in."""

    intake: Intake
    comparisons: ComparisonStore

    @classmethod
    def of(cls, services: Services) -> Self:
        """With what the app opened."""
        return cls(services.intake, services.comparisons)

    @property
    def limits(self) -> FormLimits:
        """Parts of the form, and their caps."""
        ways = [
            [frozenset(_part(visit, part) for part in parts) for parts in (ROLES, (STUDY,))]
            for visit in VISITS
        ]
        return FormLimits(
            choices=tuple(first | second for first, second in product(*ways)),
            texts=frozenset({OPTIONS, PRIORITY, CHOICES, *_of_each(SERIES, SCAN_DATE)}),
            max_file_bytes=self.intake.settings.max_upload_bytes,
            max_text_bytes=MAX_OPTIONS_BYTES,
        )

    def of_jobs(
        self, wanted: ComparisonRequest, owner: str | None, sender: Sender
    ) -> ComparisonAdmission:
        """Accept a comparison of two jobs that have results, both of this owner.

        Raises
        ------
        IdempotencyConflict, QueueFull, StoreUnavailable
        """
        try:
            record = self.comparisons.insert(
                wanted.first,
                wanted.second,
                owner=owner,
                label=wanted.label,
                ignore_differences=wanted.ignore_differences,
                idempotency=sender.scoped_key,
                content=content_of(wanted),
            )
        except KeyTaken:
            return self._known_surely(sender, content_of(wanted))
        return ComparisonAdmission(record, replayed=False)

    async def of_scans(self, request: Request, sender: Sender) -> ComparisonAdmission:
        """Receive, check and store two cases, and accept them with their comparison.

        Raises
        ------
        InputError, QueueFull, DiskFull, StoreUnavailable
            As `Intake.accept` does; what is said of a visit's scans names the visit.
        """
        limits = self.limits
        boundary = boundary_of(request.headers.get("content-type"))
        expected = self.intake.expected_bytes(request, limits)
        await run_sync(self._require_place, sender)
        with (
            self.intake.space.reserve(expected) as reservation,
            staging_folder(self.intake.data.staging, str(uuid4())) as folder,
        ):
            form = await self.intake.receive(request, folder, boundary, reservation, limits)
            forms = {visit: _form_of(visit, form) for visit in VISITS}
            zipped = [_holds_dicom(visit, form) for visit, form in forms.items()]
            held_back = self.intake.lane(is_dicom=any(zipped))
            return await run_sync(
                self._admit, folder, form, forms, sender, reservation, limiter=held_back
            )

    def known(self, sender: Sender, content: str) -> ComparisonAdmission | None:
        """The comparison that the same request made before, if it did.

        Raises
        ------
        IdempotencyConflict
        """
        key = sender.scoped_key
        record = None if key is None else self.comparisons.find_by_key(key)
        if record is None:
            return None
        if record.content != content:
            raise IdempotencyConflict(
                "this Idempotency-Key came before with other jobs, images or options: use a new "
                "key for a new comparison"
            )
        return ComparisonAdmission(record, replayed=True)

    def _require_place(self, sender: Sender) -> None:
        """Refuse, before anything is read, what could not be kept; a repeated request can be."""
        key = sender.scoped_key
        if key is None or self.comparisons.find_by_key(key) is None:
            self.comparisons.require_place()
            self.intake.store.require_room(self.intake.settings.max_waiting, more=len(VISITS))

    def _admit(
        self,
        folder: Path,
        form: StagedForm,
        forms: dict[str, StagedForm],
        sender: Sender,
        reservation: Reservation,
    ) -> ComparisonAdmission:
        """Check a received form and accept what it holds, unless it was accepted before."""
        # What is for both visits is no one visit's fault.
        if read_options(form.texts.get(OPTIONS, b"")).scan_date is not None:
            raise BadOption(
                "two visits have two days: send first_scan_date and second_scan_date, and none "
                "in the options"
            )
        read_priority(form.texts.get(PRIORITY, b""))
        choices = read_json(form.texts.get(CHOICES, b""), ComparisonChoices, CHOICES)
        visits = [_visit_of(name, part, folder / name) for name, part in forms.items()]
        first, second = (visit.asked.content for visit in visits)
        content = comparison_digest(first, second, choices.model_dump(mode="json"))
        known = self.known(sender, content)
        if known is not None:
            return known
        voxels = []
        for visit in visits:
            with naming_visit(visit.name):
                voxels.append(self._prepare(visit, reservation).voxel_sizes)
        if not choices.ignore_differences:
            # What the comparison would refuse in the end must not cost two segmentations.
            days = [visit.day for visit in visits]
            require_comparable([*check_order(*days), check_resolution(*voxels)])
        return self._keep(visits, choices, content, sender)

    def _prepare(self, visit: _Visit, reservation: Reservation) -> ImageFacts:
        """Make a visit's images, and check them; what its FLAIR's header says."""
        visit.folder.mkdir(mode=0o700)
        moved = {part: path.rename(visit.folder / part) for part, path in visit.images.items()}
        series = visit.asked.series
        visit.images = self.intake.unfolded(moved, visit.folder, series, reservation)
        return check_images(visit.images)["flair"]

    def _keep(
        self, visits: list[_Visit], choices: ComparisonChoices, content: str, sender: Sender
    ) -> ComparisonAdmission:
        """Move both visits' images in, and promise to work on them."""
        ids = [visit.job_id for visit in visits]
        try:
            for visit in visits:
                with disk_errors():
                    self.intake.move_in(visit.job_id, visit.folder, visit.images)
            record = self.comparisons.insert(
                *ids,
                owner=sender.owner,
                label=choices.label,
                ignore_differences=choices.ignore_differences,
                idempotency=sender.scoped_key,
                content=content,
                jobs=[visit.job(sender) for visit in visits],
                max_waiting=self.intake.settings.max_waiting,
            )
        except KeyTaken:
            # The same request came twice at the same moment, and the other was quicker.
            self._remove(ids)
            return self._known_surely(sender, content)
        except (QueueFull, DiskFull, BucketUnavailable):
            # Other faults leave it open whether the rows were kept: then `sweep` decides later.
            self._remove(ids)
            raise
        logger.info("comparison_accepted", extra={"comparison_id": record.id, "jobs": ids})
        return ComparisonAdmission(record, replayed=False)

    def _known_surely(self, sender: Sender, content: str) -> ComparisonAdmission:
        known = self.known(sender, content)
        if known is None:
            raise TransientError("what this Idempotency-Key made was just deleted: send it again")
        return known

    def _remove(self, ids: list[UUID]) -> None:
        for job_id in ids:
            self.intake.data.remove_job(job_id)


def content_of(wanted: ComparisonRequest) -> str:
    """Digest of a comparison of jobs."""
    choices = wanted.model_dump(mode="json", exclude={"first", "second"})
    return comparison_digest(str(wanted.first), str(wanted.second), choices)


def _part(visit: str, part: str) -> str:
    """Name of a part of the form that belongs to one visit."""
    return f"{visit}_{part}"


def _of_each(*parts: str) -> tuple[str, ...]:
    """Names of parts that each visit has."""
    return tuple(_part(visit, part) for visit in VISITS for part in parts)


def _form_of(visit: str, form: StagedForm) -> StagedForm:
    """One visit's part of the form, as a form of its own."""
    parts = {_part(visit, part): part for part in (*ROLES, STUDY)}
    common = {name: form.texts[name] for name in (OPTIONS, PRIORITY) if name in form.texts}
    own = {name: form.texts.get(_part(visit, name), b"") for name in (SERIES, SCAN_DATE)}
    return StagedForm(
        files={parts[name]: file for name, file in form.files.items() if name in parts},
        texts=common | own,
    )


def _holds_dicom(visit: str, form: StagedForm) -> bool:
    with naming_visit(visit):
        return is_dicom({part: file.path for part, file in form.files.items()})


def _visit_of(name: str, form: StagedForm, folder: Path) -> _Visit:
    with naming_visit(name):
        asked = read_form(form)
    images = {part: file.path for part, file in form.files.items()}
    return _Visit(name, asked, folder, images, job_id=uuid4())
