"""The worker's end of a case: start its process, listen to it, stop it."""

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Self

from dlb_core.environment import without_secrets
from worker.memory import resident_mb
from worker.messages import EVENT, Advanced, CaseRequest, Failed, Succeeded

STOP_GRACE_S = 3.0


class CaseProcess:
    """One case in a process of its own, until the `with` block ends.

    Parameters
    ----------
    request : CaseRequest
    scratch : Path
        Existing folder for the libraries' temporary files: they hold scans, so they must go
        with the attempt even if the process is killed.
    """

    def __init__(self, request: CaseRequest, *, scratch: Path) -> None:
        self._events, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-m", "worker.case", str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs,),
                env=_environment(request.threads, scratch),
            )
        finally:
            os.close(theirs)
        self._unread = b""
        self._send(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def listen(self, timeout_s: float) -> Advanced | Succeeded | Failed | None:
        """Wait for the next event.

        Returns
        -------
        Advanced, Succeeded, Failed or None
            None when nothing was said within `timeout_s`.

        Raises
        ------
        CaseDied
            The process ended without an outcome.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select(
                [self._events], [], [], max(0.0, deadline - time.monotonic())
            )
            if not ready:
                return None
            chunk = os.read(self._events, 65536)
            if not chunk:
                raise CaseDied(self._process.wait())
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return EVENT.validate_json(line)

    def ask_to_stop(self) -> None:
        """Ask the case to stop between two steps; its outcome is then `Cancelled`'s."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(b"stop\n")
            self._stdin.flush()

    @property
    def held_mb(self) -> int | None:
        """Memory that the process holds, in MiB, if that can be read."""
        return resident_mb(self._process.pid)

    def _stop(self) -> None:
        """End the process, if it still runs, and let go of it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        os.close(self._events)
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    @property
    def _stdin(self) -> IO[bytes]:
        stdin = self._process.stdin
        if stdin is None:
            raise AssertionError("stdin was asked for as a pipe")
        return stdin

    def _send(self, request: CaseRequest) -> None:
        """Hand the request over; stdin stays open, for its end means "stop"."""
        # If the process died at once, `listen` says so.
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(request.model_dump_json().encode() + b"\n")
            self._stdin.flush()


class CaseDied(Exception):
    """A case's process ended without an outcome.

    Parameters
    ----------
    status : int
        As `subprocess` gives it: the exit status, or minus the signal that killed it.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _environment(threads: int | None, scratch: Path) -> dict[str, str]:
    """Environment of the case: its temporary folder, and threads where they are limited."""
    environment = without_secrets(os.environ) | {"TMPDIR": str(scratch)}
    if threads is not None:
        environment |= {"OMP_NUM_THREADS": str(threads)}
    return environment
