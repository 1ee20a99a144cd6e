"""Requests made from the API's own description: no server error, every answer as described.

More examples: HYPOTHESIS_EXAMPLES=500 python -m pytest tests/unit/test_schemathesis.py
"""

import json
import os
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from service_kit import Running, finish

from dlb_core.contracts import Role, SegmentationOptions
from dlb_core.documents import Problem
from service.openapi import TARGET

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
PROBLEM = "application/problem+json"


EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "6"))
SCHEMA = schemathesis.openapi.from_dict(json.loads(TARGET.read_text(encoding="utf-8")))
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


class Described:
    """A service that asks for keys, one key, and a job that has ended."""

    def __init__(self, running: Running) -> None:
        self.running = running
        keys = running.services.gate.keys
        self.headers = {"Authorization": f"Bearer {keys.create('fuzz', Role.SUBMIT)[1]}"}
        owner = keys.list_keys()[0].owner
        self.job: UUID = uuid4()
        digests = {"T1w": "0" * 64, "FLAIR": "0" * 64}
        running.services.store.insert(self.job, SegmentationOptions(), digests, owner=owner)
        finish(running.services, self.job)

    def check(self, case: schemathesis.Case) -> None:
        """Send a request with the key and without, and check both answers."""
        public = case.path.startswith("/health")
        case.headers.pop("Authorization", None)
        answer = case.call_and_validate(
            base_url=self.running.url, headers=self.headers, checks=CHECKS
        )
        if answer.status_code >= 400 and not public:
            assert answer.headers["content-type"] == [PROBLEM]
            Problem.model_validate_json(answer.content)
        unknown = case.call(base_url=self.running.url)
        assert unknown.status_code in (401, 429) or public


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    """One service for all requests."""
    limits = {"requests_per_minute": 0, "uploads_per_day": 0, "upload_mb_per_day": 0}
    root = tmp_path_factory.mktemp("service")
    running = Running(root, authentication="required", max_upload_mb=1, **limits)
    yield Described(running)
    running.stop()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_answer_is_as_described(operation: APIOperation, described: Described) -> None:
    """Whatever is sent: a client made from the description can read what comes back."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def send_and_check(case: schemathesis.Case) -> None:
        described.check(case)
        if case.method == "GET" and "job_id" in case.path_parameters:
            case.path_parameters["job_id"] = str(described.job)
            described.check(case)

    send_and_check()
