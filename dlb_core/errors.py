"""Every error this project raises on purpose.

DlbError
    InputError          the caller can fix it: 4xx, never retried
        UnreadableImage, ImplausibleImage, GridMismatch, QualityFailed, ...
    ModelError          the installation is wrong: 500
        CheckpointCorrupt, TemplateCorrupt
    StageFailed         this case failed in a stage
    TransientError      may pass: retried, then 503
        StoreUnavailable
    Cancelled           someone asked for the work to stop

A message says what is wrong, where, and what to do. It never holds a server path
or a patient's name: files are named by their role (T1w, FLAIR) or by what the caller
called them.
"""

from collections.abc import Mapping


class DlbError(Exception):
    """Base of all; `code` is stable and part of the interface."""

    code = "error"


class InputError(DlbError):
    """The caller's input is wrong; sending it again unchanged cannot help."""

    code = "input-error"


class UnreadableImage(InputError):
    """Not a NIfTI file, or one whose bytes do not hold what its header says."""

    code = "unreadable-image"


class ImplausibleImage(InputError):
    """A readable image that cannot be a usable brain scan."""

    code = "implausible-image"


class GeometryAmbiguous(InputError):
    """The header says two different things about where the voxels lie."""

    code = "geometry-ambiguous"


class GridMismatch(InputError):
    """Two images that must share a grid or a space do not."""

    code = "grid-mismatch"


class UnreadableArchive(InputError):
    """Not an archive of DICOM files that can be read."""

    code = "unreadable-archive"


class SeriesMissing(InputError):
    """No DICOM series of the kind that is needed, or none that can be used."""

    code = "series-missing"


class SeriesAmbiguous(InputError):
    """Several DICOM series could be meant, and no rule says which."""

    code = "series-ambiguous"


class SeriesDefective(InputError):
    """A DICOM series whose images do not make one volume."""

    code = "series-defective"


class StudyNotFound(InputError):
    """The picture archive has no such study."""

    code = "study-not-found"


class UnknownArchive(InputError):
    """The operator has set up no picture archive of this name."""

    code = "unknown-archive"


class QualityFailed(InputError):
    """A quality check failed, and the caller did not ask to go on regardless."""

    code = "quality-failed"


class BadOption(InputError):
    """An option has a value we cannot use."""

    code = "bad-option"

    def __init__(self, message: str, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = dict(fields or {})
        """Dotted path of each field at fault -> what is wrong with it."""


class UploadTooLarge(InputError):
    """More bytes than the service takes."""

    code = "upload-too-large"


class MalformedUpload(InputError):
    """The request's body is not the multipart form that was asked for."""

    code = "malformed-upload"


class UploadStalled(InputError):
    """The sender fell silent in the middle of the request's body."""

    code = "upload-stalled"


class Unauthenticated(InputError):
    """The service does not know who asks."""

    code = "unauthenticated"


class Forbidden(InputError):
    """Who asks is known, and may not do this."""

    code = "forbidden"


class KeyNotFound(InputError):
    """No key of this id."""

    code = "key-not-found"


class RangeUnsatisfiable(InputError):
    """A range of bytes that lies beyond the file's end."""

    code = "range-not-satisfiable"

    def __init__(self, message: str, *, size_bytes: int) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes


class ServiceRefused(InputError):
    """A service found fault with our request; `code` is the service's own."""

    code = "service-refused"

    def __init__(self, message: str, *, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class JobNotFound(InputError):
    """No job (or artefact) of that name."""

    code = "not-found"


class BatchNotFound(JobNotFound):
    """No batch of that name."""

    code = "batch-not-found"


class WebhookNotFound(JobNotFound):
    """No webhook of that name."""

    code = "webhook-not-found"


class MessageNotFound(JobNotFound):
    """No message of that name."""

    code = "message-not-found"


class DeliveryNotFound(JobNotFound):
    """No delivery of that id."""

    code = "delivery-not-found"


class JobNotFinished(InputError):
    """The job has no results yet, or ended without any."""

    code = "no-results"


class JobNotRetriable(InputError):
    """The job waits, runs or has succeeded: there is nothing to try again."""

    code = "not-retriable"


class Gone(InputError):
    """It was kept for a while, and is no longer."""

    code = "gone"


class ResultsExpired(Gone):
    """The time that results are kept is over."""

    code = "results-expired"


class InputsGone(Gone):
    """The job's images are no longer kept."""

    code = "inputs-gone"


class ResultsUnusable(InputError):
    """A folder of results lacks what is needed, or another version wrote it."""

    code = "results-unusable"


class NotAMask(InputError):
    """An image of the right grid that marks no lesions: fractions, or nearly everything."""

    code = "not-a-mask"


class CorrectionsExist(InputError):
    """A reader's corrections lie where new results would go, or as many as are kept."""

    code = "corrections-exist"


class CorrectionFailed(InputError):
    """A mask that no version can be made of; `code` is the cause's own."""

    code = "correction-failed"

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class IdempotencyConflict(InputError):
    """The idempotency key came before, with another request."""

    code = "idempotency-conflict"


class ModelError(DlbError):
    """The installation is wrong; the operator must mend it."""

    code = "model-error"


class CheckpointCorrupt(ModelError):
    """A network's weights are missing, altered or in another's place."""

    code = "checkpoint-corrupt"


class TemplateCorrupt(ModelError):
    """The template's files are missing or altered."""

    code = "template-corrupt"


class BrokerMissing(ModelError):
    """There is no message broker to start on this machine."""

    code = "broker-missing"


class StackNotReady(ModelError):
    """The processes of a local service did not come up."""

    code = "not-ready"


class StageFailed(DlbError):
    """A stage of the pipeline failed on this case."""

    code = "stage-failed"


class WorkerDied(StageFailed):
    """Every worker that took this case died, or stopped answering, before its end."""

    code = "worker-died"


class OutOfMemory(StageFailed):
    """The case needed more memory than there was."""

    code = "out-of-memory"


class CaseCrashed(StageFailed):
    """The process that worked on the case crashed."""

    code = "case-crashed"


class CaseKilled(StageFailed):
    """The process that worked on the case was killed, and not for want of memory."""

    code = "case-killed"


class VisitFailed(StageFailed):
    """The job of a visit that was to be compared failed, or was cancelled."""

    code = "visit-failed"


class FileAltered(StageFailed):
    """A file that is kept in the bucket is no longer what was put there."""

    code = "file-altered"


class TimeLimitExceeded(StageFailed):
    """The case took longer than the worker allows."""

    code = "time-limit"


class ServiceFailed(DlbError):
    """A service made a mistake, or is not the service we take it for."""

    code = "service-failed"


class TransientError(DlbError):
    """May pass: worth another try later."""

    code = "transient"


class StoreUnavailable(TransientError):
    """The job store or the message broker does not answer."""

    code = "store-unavailable"


class BucketUnavailable(TransientError):
    """The bucket that keeps jobs' files does not answer."""

    code = "bucket-unavailable"


class BucketRefused(BucketUnavailable):
    """The bucket that keeps jobs' files does not exist, or does not let us in."""

    code = "bucket-refused"


class PacsUnavailable(TransientError):
    """A picture archive does not answer, or not as it should."""

    code = "pacs-unavailable"


class QueueFull(TransientError):
    """As many jobs wait as may."""

    code = "queue-full"


class RateLimited(TransientError):
    """More requests or uploads than one caller is given."""

    code = "rate-limited"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StreamsExhausted(TransientError):
    """As many streams of events are open as may be."""

    code = "too-many-streams"


class DiskFull(TransientError):
    """No room for what must be written."""

    code = "disk-full"


class RunBusy(TransientError):
    """Another process trains this network."""

    code = "run-busy"


class ServiceUnreachable(TransientError):
    """A service does not answer, or asks to come back later."""

    code = "service-unreachable"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """When to come back, where the service has said so."""


class DownloadDamaged(TransientError):
    """The bytes that came are not those that were announced."""

    code = "download-damaged"


class Cancelled(DlbError):
    """The work was told to stop."""

    code = "cancelled"
