"""Run one case in a process of its own: `python -m worker.case EVENTS_FD`.

The worker stays responsive whatever the libraries do here (some hold Python's lock for long),
can stop the case at once, sees which signal killed it, and gets all of its memory back.
"""

import errno
import importlib
import logging
import os
import signal
import sys
import threading
from typing import Any, BinaryIO

from dlb_core.contracts import Progress
from dlb_core.errors import DiskFull, DlbError, TransientError
from dlb_core.jobs.logs import configure_logging
from worker.messages import Advanced, CaseRequest, Failed, Succeeded

logger = logging.getLogger("worker.case")

ORPHANED_STATUS = 75
"""Exit status of a case whose worker is gone."""
OUT_OF_MEMORY = "the case ran out of memory: give the worker about 4 GB for each case"
DISK_FULL = "no room left for the results: free disk space in the data folder"


def main() -> None:
    """Read a request, run it, and tell what became of it."""
    configure_logging()
    # Ctrl-C in a terminal reaches every process of the group: the worker decides for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "wb", buffering=0) as events:
        request = CaseRequest.model_validate_json(sys.stdin.buffer.readline())
        threading.Thread(target=_exit_with_the_worker, daemon=True).start()
        _tell(events, _outcome(request, events))


def _exit_with_the_worker() -> None:
    """End this process when the worker's end of stdin closes: nobody wants the result."""
    # Not through `sys.stdin`, whose lock a thread must not hold when the interpreter ends.
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED_STATUS)


def _outcome(request: CaseRequest, events: BinaryIO) -> Succeeded | Failed:
    """Run the pipeline; whatever it raises becomes a cause that the caller may read."""
    try:
        return Succeeded(totals=_run(request, events))
    except DlbError as error:
        transient = isinstance(error, TransientError)
        return Failed(code=error.code, message=str(error), transient=transient)
    except MemoryError:
        logger.exception("case_out_of_memory")
        return Failed(code="out-of-memory", message=OUT_OF_MEMORY, transient=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return Failed(code=DiskFull.code, message=DISK_FULL, transient=True)
        return _unexpected(error)
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> Failed:
    """A fault of ours: its text may hold paths, so it goes to the log only."""
    logger.exception("case_failed_unexpectedly")
    message = f"an unexpected {type(error).__name__} ended this case: see the worker's log"
    return Failed(code="internal-error", message=message, transient=False)


def _run(request: CaseRequest, events: BinaryIO) -> dict[str, Any]:
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
        options=request.options,
        bundle=request.bundle,
        device=request.device,
        num_threads=request.threads,
        on_progress=advance,
        # The worker stops a case by ending this process.
        should_stop=lambda: False,
    )
    totals: dict[str, Any] = report.totals.model_dump(mode="json")
    return totals


def _tell(events: BinaryIO, event: Advanced | Succeeded | Failed) -> None:
    """Write one line, whole (it is shorter than what a pipe writes at once)."""
    events.write(event.model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    main()
