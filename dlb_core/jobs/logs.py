"""Structured logs: one JSON object a line, a constant event, values as fields.

No file names, server paths or free text of callers: jobs are named by their id.
"""

import json
import logging
import sys
from datetime import UTC, datetime

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "event", ...}` with the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        entry |= {key: value for key, value in vars(record).items() if key not in _KNOWN}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure_logging(level: int = logging.INFO) -> None:
    """Send every log of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These tell every step of theirs at INFO, in free text; our own events say what matters.
    for name in ("alembic", "celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
