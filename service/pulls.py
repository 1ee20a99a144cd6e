"""Turn a study that lies in a picture archive into an accepted job."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from anyio.to_thread import run_sync

from dlb_core.errors import UnknownArchive
from dlb_core.jobs.deliveries.store import DeliveryStore
from dlb_core.jobs.quotas import UploadQuotas
from dlb_core.pacs.archives import Archive
from dlb_core.pacs.documents import PullRequest
from service.dicom import STUDY, convert_files, limiter
from service.intake import Admission, Asked, Intake, Sender
from service.uploads import disk_errors, staging_folder


@dataclass(frozen=True, slots=True)
class Pulls:
    """What takes jobs in from archives."""

    intake: Intake
    archives: Mapping[str, Archive]
    deliveries: DeliveryStore
    quotas: UploadQuotas

    def archive(self, name: str) -> Archive:
        """One of those that the operator has set up.

        Raises
        ------
        UnknownArchive
        """
        if name not in self.archives:
            raise UnknownArchive(f"no archive is set up under this name; there {self._known}")
        return self.archives[name]

    async def accept(self, name: str, request: PullRequest, sender: Sender) -> Admission:
        """Fetch a study, and make it a job.

        Raises
        ------
        UnknownArchive, StudyNotFound, PacsUnavailable
        SeriesMissing, SeriesAmbiguous, SeriesDefective, GridMismatch
        UnreadableImage, ImplausibleImage, GeometryAmbiguous, UploadTooLarge
        IdempotencyConflict, QueueFull, DiskFull, RateLimited, StoreUnavailable
        """
        archive = self.archive(name)
        await run_sync(self.intake.require_place, sender)
        admission = await run_sync(
            self._fetch_counted, name, archive, request, sender, limiter=limiter()
        )
        if request.deliver:
            await run_sync(self.deliveries.order, admission.record.id, name)
        return admission

    @property
    def _known(self) -> str:
        if not self.archives:
            return "is none"
        return "are: " + ", ".join(sorted(self.archives))

    def _fetch_counted(
        self, name: str, archive: Archive, request: PullRequest, sender: Sender
    ) -> Admission:
        """Fetch, and count what comes as an upload of the sender's: it fills the same disk."""
        if sender.owner is None:
            return self._fetch(name, archive, request, sender, on_bytes=lambda _: None)
        came = 0

        def count(more: int) -> None:
            nonlocal came
            came += more

        # How much will come is not known yet: what is left of the quota must not be nothing.
        day = self.quotas.reserve(sender.owner, 1)
        try:
            return self._fetch(name, archive, request, sender, on_bytes=count)
        finally:
            self.quotas.settle(sender.owner, came - 1, day=day)

    def _fetch(
        self,
        name: str,
        archive: Archive,
        request: PullRequest,
        sender: Sender,
        *,
        on_bytes: Callable[[int], None],
    ) -> Admission:
        asked = Asked(
            options=request.options,
            priority=request.priority,
            inputs={STUDY: _digest(name, request.study_uid)},
            series=request.series,
        )
        known = self.intake.known(sender, asked)
        if known is not None:
            return known
        # Here, because a service without archives need not load it.
        from dlb_core.dicom.intake import Wishes
        from dlb_core.pacs.pull import pull
        from dlb_core.pacs.web import DicomWeb

        settings, job_id = self.intake.settings, uuid4()
        keep_identity = settings.dicom_identity == "keep"
        with (
            self.intake.space.reserve(0) as reservation,
            staging_folder(self.intake.data.staging, str(job_id)) as folder,
        ):
            work = folder / "dicom"
            work.mkdir(mode=0o700)

            def take(count: int) -> None:
                on_bytes(count)
                reservation.take(count)

            with disk_errors(), DicomWeb(archive) as web:
                files = pull(
                    web,
                    request.study_uid,
                    work,
                    Wishes.of(request.series, keep_identity=keep_identity),
                    max_bytes=settings.max_unpacked_bytes,
                    on_bytes=take,
                )
                images = convert_files(
                    {STUDY: files}, folder, named=request.series, keep_identity=keep_identity
                )
            shutil.rmtree(work)
            return self.intake.keep(job_id, folder, images, asked, sender)


def _digest(name: str, study_uid: str) -> str:
    """What stands for a study's bytes, which nobody has sent."""
    return hashlib.sha256(f"{name} {study_uid}".encode()).hexdigest()
