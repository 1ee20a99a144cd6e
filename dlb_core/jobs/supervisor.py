"""Keep child processes running: restart those that die, with back-off, and stop them all."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
"""A child that ran for so long starts again without a pause when it dies."""


class Child:
    """A supervised process.

    Parameters
    ----------
    name : str
        For logs.
    command : sequence of str
    environment : mapping, optional
        Whole environment of the child; None: ours.
    output : binary file, optional
        Where its stdout and stderr go; None: ours.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = environment
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._next_start: float | None = None

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
        self._process = subprocess.Popen(  # noqa: S603  # commands of our own
            tied + self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT if self._output is not None else None,
            start_new_session=True,
        )
        self._started = time.monotonic()
        self._next_start = None

    def keep_running(self) -> None:
        """Start it again if it has ended and its pause is over; call this often."""
        if self._process is None or self.is_running:
            return
        now = time.monotonic()
        if self._next_start is None:
            steady = now - self._started > STEADY_AFTER_S
            self._pause_s = FIRST_PAUSE_S if steady else min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._next_start = now + self._pause_s
            fields = {"child": self.name, "status": self._process.returncode}
            logger.error("child_died", extra=fields | {"restart_in_s": self._pause_s})
        elif now >= self._next_start:
            self.start()

    def stop(self, grace_s: float = 20.0) -> None:
        """Ask it to end; kill it if it has not within `grace_s` seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            logger.warning("child_killed", extra={"child": self.name})
            process.kill()
            process.wait()
