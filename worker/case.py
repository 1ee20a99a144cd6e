"""Run one case in a process of its own: `python -m worker.case EVENTS_FD`.

The worker stays responsive whatever the libraries do here (some hold Python's lock for long),
can stop the case at once, sees which signal killed it, and gets all of its memory back.
"""

import errno
import importlib
import logging
import os
import resource
import signal
import sys
import threading
from typing import Any, BinaryIO

from dlb_core.contracts import Progress
from dlb_core.dicom.dating import dated
from dlb_core.errors import (
    DiskFull,
    DlbError,
    InputError,
    InputsGone,
    OutOfMemory,
    TransientError,
)
from dlb_core.jobs.logs import configure_logging, log_fields
from dlb_core.jobs.tracing import context_of, inside
from worker.memory import ADVICE, is_out_of_memory
from worker.messages import Advanced, CaseRequest, Failed, Succeeded

logger = logging.getLogger("worker.case")

ORPHANED_STATUS = 75
"""Exit status of a case whose worker is gone."""
INPUTS_GONE = "the job's images are no longer kept"
OUT_OF_MEMORY_TEXT = f"the case ran out of memory: {ADVICE}"
MIB = 1024 * 1024
DISK_FULL = "no room left for the results: free disk space in the data folder"


def main() -> None:
    """Read a request, run it, and tell what became of it."""
    configure_logging()
    # Ctrl-C in a terminal reaches every process of the group: the worker decides for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "wb", buffering=0) as events:
        line, more = _first_line()
        request = CaseRequest.model_validate_json(line)
        stop = threading.Event()
        if more:
            stop.set()
        threading.Thread(target=_heed_the_worker, args=(stop,), daemon=True).start()
        _limit_memory(request.memory_mb)
        with log_fields(job_id=request.job_id), inside(context_of(request.trace)):
            _tell(events, _outcome(request, events, stop))


def _first_line() -> tuple[bytes, bytes]:
    """Read the request, and whatever came with it."""
    # Not through `sys.stdin`: what it had read ahead would be hidden from `_heed_the_worker`,
    # which cannot use it either, since a thread must not hold its lock when the interpreter ends.
    text = b""
    while b"\n" not in text:
        chunk = os.read(0, 65536)
        if not chunk:
            sys.exit(ORPHANED_STATUS)
        text += chunk
    line, _, more = text.partition(b"\n")
    return line, more


def _heed_the_worker(stop: threading.Event) -> None:
    """Stop between two steps when asked to, and at once when the worker's end of stdin closes."""
    while os.read(0, 4096):
        stop.set()
    os._exit(ORPHANED_STATUS)


def _limit_memory(memory_mb: int | None) -> None:
    """Make too large a demand fail here, before the kernel kills somebody for it."""
    if memory_mb is not None:
        limit = memory_mb * MIB
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _outcome(request: CaseRequest, events: BinaryIO, stop: threading.Event) -> Succeeded | Failed:
    """Run the pipeline; whatever it raises becomes a cause that the caller may read."""
    try:
        return Succeeded(totals=_run(request, events, stop))
    except DlbError as error:
        return Failed(
            code=error.code,
            message=str(error),
            transient=isinstance(error, TransientError),
            input_at_fault=isinstance(error, InputError),
        )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Failed(code=DiskFull.code, message=DISK_FULL, transient=True)
        if error.errno == errno.ENOMEM:
            return _out_of_memory()
        if not (request.t1w.exists() and request.flair.exists()):
            # Its job ended while this process was being started, and took them along.
            return Failed(code=InputsGone.code, message=INPUTS_GONE, transient=False)
        return _unexpected(error)
    except Exception as error:
        return _out_of_memory() if is_out_of_memory(error) else _unexpected(error)


def _out_of_memory() -> Failed:
    logger.exception("case_out_of_memory")
    return Failed(code=OutOfMemory.code, message=OUT_OF_MEMORY_TEXT, transient=True)


def _unexpected(error: Exception) -> Failed:
    """A fault of ours: its text may hold paths, so it goes to the log only."""
    logger.exception("case_failed_unexpectedly")
    message = f"an unexpected {type(error).__name__} ended this case: see the worker's log"
    return Failed(code="internal-error", message=message, transient=False)


def _run(request: CaseRequest, events: BinaryIO, stop: threading.Event) -> dict[str, Any]:
    """Call the pipeline."""
    module, function = request.pipeline.split(":")
    segment_case = getattr(importlib.import_module(module), function)

    def advance(progress: Progress) -> None:
        stage, done, total = progress.stage, progress.done, progress.total
        _tell(events, Advanced(stage=stage, done=done, total=total))

    report = segment_case(
        request.t1w,
        request.flair,
        request.output,
        options=dated(request.options, request.dicom),
        bundle=request.bundle,
        device=request.device,
        num_threads=request.threads,
        on_progress=advance,
        should_stop=stop.is_set,
        votes=request.votes,
    )
    if request.dicom is not None:
        # Here, because few cases need what it loads.
        from dlb_core.dicom.results.write import write_dicom

        write_dicom(request.output, request.dicom)
    totals: dict[str, Any] = report.totals.model_dump(mode="json")
    return totals


def _tell(events: BinaryIO, event: Advanced | Succeeded | Failed) -> None:
    """Write one line, whole (it is shorter than what a pipe writes at once)."""
    events.write(event.model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    main()
