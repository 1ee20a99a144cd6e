"""The corpus of bad inputs: each gets its answer, leaves nothing, and names nobody."""

from collections.abc import Iterator

import httpx
import pytest
from bad_inputs import CORPUS, JANE, BadInput
from service_kit import Running, form, form_headers, pair

from dlb_core.documents import Problem


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service that takes all of it in turn."""
    running = Running(tmp_path_factory.mktemp("service"), max_upload_mb=2)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[httpx.Client]:
    """A connection to it."""
    with httpx.Client(base_url=running.url, trust_env=False, timeout=60) as client:
        yield client


def test_the_corpus_is_as_large_as_it_claims() -> None:
    """A case that someone drops must not go unnoticed; names tell the cases apart."""
    assert len(CORPUS) >= 150
    assert len({case.what for case in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.what)
def test_a_bad_input_is_refused(client: httpx.Client, running: Running, case: BadInput) -> None:
    """With its status and code, no name of the caller's, no path of ours, and nothing kept."""
    answer = client.request(case.method, case.path, headers=case.headers, content=case.body)

    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.code) == (case.status, case.code), problem.detail
    assert JANE not in answer.text.replace(f"options.{JANE}", "")
    assert str(running.services.data.root) not in answer.text
    data = running.services.data
    assert not [*data.staging.iterdir(), *data.jobs.iterdir()]


def test_the_service_still_works_after_all_of_it(client: httpx.Client) -> None:
    """Refusing must not cost the service anything."""
    answer = client.post("/v1/jobs", content=form(pair()), headers=form_headers())

    assert answer.status_code == 202
