"""`dlb batch`: finds cases, sends them, survives its own death, and ends in one table."""

import csv
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from service_kit import Running, finish, nifti, until

from dlb_core.artefacts import MASK_FLAIR, REPORT_JSON
from dlb_core.batch.cases import find_cases
from dlb_core.batch.ledger import Ledger
from dlb_core.cli.main import main
from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.errors import BadOption

SUBJECTS = 5


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What matters is what is done, not when."""
    monkeypatch.setattr("dlb_core.batch.run.POLL_S", 0.05)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A service without jobs."""
    running = Running(tmp_path / "service")
    yield running
    running.stop()


def write_pair(anat: Path, stem: str) -> None:
    """A T1w and a FLAIR image."""
    anat.mkdir(parents=True, exist_ok=True)
    for kind in ("T1w", "FLAIR"):
        (anat / f"{stem}_{kind}.nii.gz").write_bytes(nifti())


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """A BIDS folder of a few subjects."""
    folder = tmp_path / "bids"
    for n in range(SUBJECTS):
        write_pair(folder / f"sub-{n}" / "anat", f"sub-{n}")
    return folder


def jobs_of(running: Running) -> dict[JobState, int]:
    """How many jobs the service has, by state."""
    return {state: n for state, n in running.services.store.counts_by_state().items() if n}


@contextmanager
def worked_off(running: Running, *, failing: int = 0) -> Iterator[None]:
    """Be the worker meanwhile: the first jobs fail, the others succeed."""
    store, stop = running.services.store, threading.Event()

    def work() -> None:
        left = failing
        while not stop.wait(0.02):
            for job in store.list_jobs(state=JobState.ACCEPTED, limit=10)[0]:
                if left == 0:
                    finish(running.services, job.id)
                    continue
                left -= 1
                claim = store.claim(job.id, 60.0)
                assert claim is not None
                assert store.fail(claim, "quality-failed", "too dark")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def test_killed_in_the_middle_it_goes_on_and_sends_nothing_twice(
    running: Running, bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A night's batch and a power cut: the same command in the morning, and no case done twice."""
    out = tmp_path / "out"
    words = ["batch", str(bids), "--output", str(out), "--url", running.url]
    code = "import sys; from dlb_core.cli.main import main; sys.exit(main(sys.argv[1:]))"
    first = subprocess.Popen(
        [sys.executable, "-c", code, *words], env=os.environ, stdout=subprocess.DEVNULL
    )
    # Two were accepted for certain; a third may be on its way, its acceptance not yet noted.
    until(lambda: (out / "jobs.jsonl").exists() and len((out / "jobs.jsonl").read_text()) > 100)
    first.kill()
    first.wait()
    noted = (out / "jobs.jsonl").read_text().splitlines()

    with worked_off(running, failing=1):
        status = main(words)

    assert 2 <= len(noted) <= SUBJECTS
    assert jobs_of(running) == {JobState.FAILED: 1, JobState.SUCCESSFUL: SUBJECTS - 1}
    with (out / "cohort.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["subject"] for row in rows] == [f"sub-{n}" for n in range(SUBJECTS)]
    assert sorted(row["state"] for row in rows) == ["failed"] + ["successful"] * (SUBJECTS - 1)
    assert len(list(out.glob(f"*/{MASK_FLAIR}"))) == SUBJECTS - 1
    printed = capsys.readouterr()
    assert status == 2
    assert "quality-failed" in printed.err
    assert f"{SUBJECTS - 1} of {SUBJECTS} cases have results" in printed.out

    with worked_off(running):
        assert main([*words, "--retry-failed"]) == 0
    assert jobs_of(running) == {JobState.SUCCESSFUL: SUBJECTS}
    assert len(list(out.glob(f"*/{MASK_FLAIR}"))) == SUBJECTS


def test_a_case_that_is_refused_does_not_stop_the_others(
    running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One damaged file among hundreds: it is named, and can be sent again when it is mended."""
    write_pair(tmp_path, "good")
    (tmp_path / "bad.nii.gz").write_bytes(nifti()[:-20])
    table = tmp_path / "cases.csv"
    table.write_text(
        "subject,session,t1w,flair\n"
        "P1,1,bad.nii.gz,good_FLAIR.nii.gz\n"
        "P1,2,good_T1w.nii.gz,good_FLAIR.nii.gz\n"
    )
    words = ["batch", str(table), "--output", str(tmp_path / "out"), "--url", running.url]
    with worked_off(running):
        status = main([*words, "--fetch", "reports"])

    assert status == 2
    assert "P1_1: unreadable-image" in capsys.readouterr().err
    assert (tmp_path / "out" / "P1_2" / REPORT_JSON).exists()
    assert not (tmp_path / "out" / "P1_2" / MASK_FLAIR).exists()


def test_sessions_without_a_clear_pair_are_named_and_passed_over(tmp_path: Path) -> None:
    """Which of two T1w is meant is not ours to guess."""
    write_pair(tmp_path / "sub-1" / "ses-a" / "anat", "sub-1_ses-a")
    write_pair(tmp_path / "sub-1" / "ses-b" / "anat", "sub-1_ses-b_run-1")
    write_pair(tmp_path / "sub-1" / "ses-b" / "anat", "sub-1_ses-b_run-2")
    (tmp_path / "sub-2").mkdir()

    found = find_cases(tmp_path)

    assert [case.name for case in found.cases] == ["sub-1_ses-a"]
    assert [line.partition(":")[0] for line in found.passed_over] == ["sub-1 ses-b", "sub-2"]
    assert "2 T1w, 2 FLAIR" in found.passed_over[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("subject,t1w\nP1,a.nii\n", "lacks the columns flair"),
        ("subject,t1w,flair\nP1,a.nii,b.nii\nJane Doe,a.nii,b.nii\n", "line 2: flair.*line 3: sub"),
        ("subject,t1w,flair\nP1,a.nii,a.nii\nP1,a.nii,a.nii\n", "cases of one name: P1"),
        ("subject,t1w,flair\n", "no case"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_before_anything_is_sent(
    tmp_path: Path, text: str, said: str
) -> None:
    """All of it at once, by line: nobody wants to mend a table row by row."""
    (tmp_path / "a.nii").touch()
    table = tmp_path / "cases.csv"
    table.write_text(text)

    with pytest.raises(BadOption, match=said):
        find_cases(table)


def test_a_line_that_was_cut_off_was_never_noted(tmp_path: Path) -> None:
    """The power may fail in the middle of a write; the case is then sent again."""
    options = SegmentationOptions()
    ledger = Ledger.open(tmp_path, url="http://a", options=options)
    ledger.note("sub-1", job := uuid4())
    with (tmp_path / "jobs.jsonl").open("a") as file:
        file.write('{"case": "sub-2", "jo')

    again = Ledger.open(tmp_path, url="http://a", options=options)
    again.note("sub-3", job)

    assert again.key("sub-2") == ledger.key("sub-2")
    assert list(Ledger.open(tmp_path, url="http://a", options=options).jobs) == ["sub-1", "sub-3"]
    with pytest.raises(BadOption, match="another service or with other options"):
        Ledger.open(tmp_path, url="http://b", options=options)
