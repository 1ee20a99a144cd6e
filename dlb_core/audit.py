"""The audit log: who did what to which job, when, and how it ended. One JSON object a line.

Lines are only ever added, each by one write to a file opened for appending, so that several
processes may share the file; and it is opened anew for each, so that it may be renamed or taken
away (log rotation) at any time. No field holds what a caller wrote freely: no file names, no
labels, no paths but those of our own routes.
"""

import errno
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

NOBODY = "-"
"""Who, of a request that said nothing we could believe."""
OPERATOR = "operator"
"""Who, of what was done on the service's own machine."""


class AuditOutcome(StrEnum):
    """How it ended."""

    DONE = "done"
    REFUSED = "refused"
    """By a rule: not known, not allowed, not usable, not there."""
    FAILED = "failed"
    """By a fault of ours."""
    BROKEN_OFF = "broken-off"
    """The caller left before an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line."""

    who: str
    """A key's id, `oidc:<pseudonym>`, `anonymous`, `operator`, or `-`."""
    what: str
    """Method and route, e.g. DELETE /v1/jobs/{job_id}; or an operator's command."""
    outcome: AuditOutcome
    job: str | None = None
    status: int | None = None
    """Of the answer."""
    address: str | None = None
    """Where the request came from."""
    about: str | None = None
    """Which key or which of a job's files it was about; names of our own."""


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The file."""

    path: Path

    def write(self, entry: AuditEntry) -> None:
        """Add a line, with the time.

        Raises
        ------
        OSError
            It cannot be written.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        fields = {key: value for key, value in asdict(entry).items() if value is not None}
        line = (json.dumps({"time": time, **fields}) + "\n").encode()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if _ends_in_half_a_line(file):
                line = b"\n" + line
            if os.write(file, line) < len(line):
                # A disk that fills up takes the beginning, and says nothing.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)


def _ends_in_half_a_line(file: int) -> bool:
    """Whether a disk that filled up took only the beginning of the last line."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"
