"""The generalisation experiment runs, ends in full tables, and goes on where it was killed."""

import json
from dataclasses import replace
from pathlib import Path

from benchmarks.generalisation.experiment import markdown, run
from benchmarks.generalisation.plan import (
    DLB,
    DLB_NO_HSL,
    GENERIC_IQDA,
    QUICK,
    Training,
)
from dlb_core.synthesis.domains import INHOUSE_LIKE, ISBI_LIKE

TINY = replace(QUICK, test_subjects=1, coarsening=6)
VARIANTS = (DLB, DLB_NO_HSL, GENERIC_IQDA)
TRAININGS = (
    Training(ISBI_LIKE, VARIANTS, (INHOUSE_LIKE,)),
    Training(INHOUSE_LIKE, (DLB,), (INHOUSE_LIKE,)),
)


def test_the_experiment_ends_in_tables_and_a_second_run_repeats_nothing(tmp_path: Path) -> None:
    """Its hours of training must survive a kill, and all variants must be in its tables."""
    said: list[str] = []

    document = run(tmp_path, TINY, said.append, trainings=TRAININGS)
    made = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.suffix in {".npz", ".npy"}}
    lost = next(path for path in made if path.suffix == ".npz")
    lost.unlink()
    again = run(tmp_path, TINY, said.append, trainings=TRAININGS)

    assert {p for p, when in made.items() if p.stat().st_mtime_ns != when} == {lost}
    assert again | {"time": None} == document | {"time": None}
    text = markdown(json.loads(json.dumps(document)))
    assert text.count(DLB.title) == 2  # tested, and compared with the second training
    assert all(variant.title in text for variant in VARIANTS)
    assert [claim["claim"] for claim in document["claims"]] == [
        "HSL helps DLB",
        "specialising helps",
    ]
