"""`dlb submit`, `status`, `jobs` and `cancel` against a running service."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from service_kit import Running, finish, nifti, until

from dlb_core.artefacts import MASK_FLAIR
from dlb_core.cli.main import main
from dlb_core.contracts import JobState, Priority


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests here."""
    running = Running(tmp_path_factory.mktemp("service"))
    yield running
    running.stop()


@pytest.fixture
def image(tmp_path: Path) -> str:
    """An image that is accepted."""
    path = tmp_path / "image.nii.gz"
    path.write_bytes(nifti())
    return str(path)


def waiting(running: Running) -> list[UUID]:
    """Jobs that no worker has taken."""
    jobs, _ = running.services.store.list_jobs(state=JobState.ACCEPTED, limit=10)
    return [job.id for job in jobs]


def end_when_submitted(running: Running, end: Callable[[UUID], object]) -> threading.Thread:
    """Be the worker: wait for a job, and end it."""

    def work() -> None:
        until(lambda: bool(waiting(running)))
        end(waiting(running)[0])

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_without_wait_it_only_submits(
    running: Running, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The id is what the user needs to find the job again."""
    assert main(["submit", "--t1w", image, "--flair", image, "--url", running.url]) == 0
    job_id = str(waiting(running)[0])
    assert job_id in capsys.readouterr().out

    assert main(["status", job_id, "--url", running.url]) == 0
    assert f"{job_id}  accepted" in capsys.readouterr().out
    assert main(["jobs", "--url", running.url, "--state", "accepted"]) == 0
    assert job_id[:8] in capsys.readouterr().out
    assert main(["cancel", job_id, "--url", running.url]) == 0
    assert "gone" in capsys.readouterr().out
    assert not waiting(running)


def test_results_are_brought_and_summarised(
    running: Running, image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user sees the numbers, and where the report lies."""
    worker = end_when_submitted(running, lambda job_id: finish(running.services, job_id))
    words = ["submit", "--t1w", image, "--flair", image, "--url", running.url]
    code = main([*words, "--output", str(tmp_path / "out")])
    worker.join()

    printed = capsys.readouterr().out
    assert code == 0
    assert (tmp_path / "out" / MASK_FLAIR).exists()
    assert "0 lesions, 0.00 ml" in printed
    assert "report.html" in printed


def test_a_failed_job_is_tried_again(
    running: Running, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without sending the images once more, and as urgent as before."""
    words = ["submit", "--t1w", image, "--flair", image, "--url", running.url]
    assert main([*words, "--priority", "stat"]) == 0
    store, job_id = running.services.store, waiting(running)[0]
    claim = store.claim(job_id, 60.0)
    assert claim is not None
    store.fail(claim, "out-of-memory", "no")

    assert main(["retry", str(job_id), "--url", running.url]) == 0
    assert waiting(running) == [job_id]
    assert store.get(job_id).priority is Priority.STAT
    assert main(["cancel", str(job_id), "--url", running.url]) == 0
    assert main(["retry", str(job_id), "--url", running.url]) == 2
    assert "inputs-gone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cause", "code"), [("quality-failed", 2), ("grid-mismatch", 2), ("worker-died", 1)]
)
def test_the_exit_code_tells_what_the_user_can_mend(
    running: Running, image: str, cause: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts tell a bad scan from a broken installation."""
    store = running.services.store

    def fail(job_id: UUID) -> None:
        claim = store.claim(job_id, 60.0)
        assert claim is not None
        store.fail(claim, cause, "this is why")

    worker = end_when_submitted(running, fail)
    words = ["submit", "--t1w", image, "--flair", image, "--url", running.url]
    assert main([*words, "--wait"]) == code
    worker.join()
    assert f"dlb: {cause}: this is why" in capsys.readouterr().err


def test_a_cancelled_job_is_no_success(running: Running, image: str) -> None:
    """There are no results to go on with."""
    worker = end_when_submitted(running, running.services.store.request_cancel)
    words = ["submit", "--t1w", image, "--flair", image, "--url", running.url]
    assert main([*words, "--wait"]) == 1
    worker.join()


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"--t1w": "nowhere.nii"}, 2, "T1w"),
        ({"--minimum-lesion-mm3": "-1"}, 2, "--minimum-lesion-mm3"),
        ({"--label": "Jane/Doe"}, 2, "--label"),
        ({"--url": "http://127.0.0.1:1"}, 1, "service-unreachable"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    running: Running,
    image: str,
    changes: dict[str, str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback, and the code that scripts act on."""
    options = {"--t1w": image, "--flair": image, "--url": running.url} | changes

    assert main(["submit", *(word for pair in options.items() for word in pair)]) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
