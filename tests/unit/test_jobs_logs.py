"""Logs that a machine can read."""

import json
import logging
import sys
from uuid import UUID

from dlb_core.jobs.logs import JsonFormatter

JOB = UUID("00000000-0000-0000-0000-000000000001")


def test_a_record_is_one_line_with_its_event_and_fields() -> None:
    """Whoever collects the logs searches by event and job."""
    record = logging.makeLogRecord(
        {"name": "worker", "levelno": logging.INFO, "levelname": "INFO", "msg": "job_successful"}
        | {"job_id": JOB, "fence": 2, "created": 0.0}
    )

    line = JsonFormatter().format(record)

    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "worker",
        "event": "job_successful",
        "job_id": str(JOB),
        "fence": 2,
    }


def test_an_exception_stays_on_the_line() -> None:
    """A traceback over many lines would be many records to a collector."""
    try:
        raise ValueError("wrong")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})

    line = JsonFormatter().format(record)

    assert "\n" not in line
    assert "ValueError: wrong" in json.loads(line)["exception"]
