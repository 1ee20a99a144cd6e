"""Keep child processes running: restart those that die, with back-off, and stop them all."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
"""A child that ran for so long counts as healthy: its pauses start short again."""
LONGEST_LOG = 64 * 1024 * 1024
"""Bytes; a service that runs for years must not fill its own disk."""


@dataclass(frozen=True, slots=True)
class Death:
    """A child has ended by itself."""

    name: str
    status: int
    """Exit status, or minus the signal that killed it."""
    restart_in_s: float


class Child:
    """A supervised process.

    Parameters
    ----------
    name : str
        For messages.
    command : sequence of str
    variables : mapping, optional
        Environment variables, besides ours.
    log : Path, optional
        File that its output is added to; None: it goes where ours does.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._variables = dict(variables or {})
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause_s = 0.0
        self._next_start: float | None = None
        self._asked_to_stop = False

    @property
    def pid(self) -> int | None:
        """Process id, while it runs."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C in our terminal is ours to handle."""
        tied = [sys.executable, "-m", "dlb_core.jobs.tied", str(os.getpid())]
        with contextlib.ExitStack() as stack:
            log = None if self._log is None else stack.enter_context(self._log.open("ab"))
            self._process = subprocess.Popen(  # noqa: S603  # commands of our own
                tied + self._command,
                env=os.environ | self._variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started = time.monotonic()
        self._next_start = None
        self._asked_to_stop = False

    def keep_running(self) -> Death | None:
        """Start it again if it was started, has ended and its pause is over; call this often.

        Returns
        -------
        Death or None
            Once for each end, when it is first seen.
        """
        self._bound_log()
        if self._process is None or self.is_running:
            return None
        now = time.monotonic()
        if self._next_start is None:
            steady = now - self._started > STEADY_AFTER_S
            longer = max(FIRST_PAUSE_S, 2 * self._pause_s)
            self._pause_s = FIRST_PAUSE_S if steady else min(longer, LONGEST_PAUSE_S)
            self._next_start = now + self._pause_s
            return Death(self.name, self._process.returncode, self._pause_s)
        if now >= self._next_start:
            self.start()
        return None

    def _bound_log(self) -> None:
        """Begin a log anew that has grown long; the child goes on adding to the same file."""
        if self._log is None:
            return
        # Where there is no room to set it aside, the next look may find some.
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > LONGEST_LOG:
                shutil.copyfile(self._log, self._log.with_suffix(".previous.log"))
                os.truncate(self._log, 0)

    def ask_to_stop(self) -> None:
        """Ask it to end, once: some take the second time for "at once"."""
        if self._process is not None and not self._asked_to_stop:
            self._asked_to_stop = True
            self._process.terminate()

    def stop(self, grace_s: float = 20.0) -> None:
        """Ask it to end; kill it if it has not within `grace_s` seconds."""
        self.ask_to_stop()
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Watched(Protocol):
    """What starts itself again."""

    def keep_running(self) -> Death | None:
        """Start it again if it died; what was found dead."""


def keep_all_running(watched: Iterable[Watched | None]) -> list[Death]:
    """Start again what has died, and say what has; those not there are passed over."""
    deaths = [one.keep_running() for one in watched if one is not None]
    return [death for death in deaths if death is not None]
