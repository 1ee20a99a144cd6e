"""The audit of pinned packages: what it says, for the lists of weaknesses are elsewhere."""

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
AUDIT = runpy.run_path(str(ROOT / ".ci" / "audit.py"))


def package(*weaknesses: str) -> dict[str, Any]:
    """A package that was looked up, as the auditor tells of it."""
    found = [{"id": name, "fix_versions": ["2.0"], "aliases": ["CVE-1"]} for name in weaknesses]
    return {"name": "zlib", "version": "1.0", "vulns": found}


UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("packages", "accepted", "weak", "words"),
    [
        ([package("PYSEC-1")], "", True, "zlib 1.0: PYSEC-1, mended in 2.0"),
        ([package("PYSEC-1")], "# why not\nCVE-1  never called", False, "0 weaknesses"),
        ([package(), UNKNOWN], "", False, "1 of 2 packages looked up"),
        ([UNKNOWN], "", False, "AUDIT NOT DONE"),
        ([], "", False, "AUDIT NOT DONE"),
    ],
)
def test_a_weakness_that_nobody_accepted_fails_and_no_answer_is_said_aloud(
    packages: list[dict[str, Any]], accepted: str, weak: bool, words: str
) -> None:
    """A check that was not made must not look like one that found nothing."""
    found, text = AUDIT["judge"](packages, AUDIT["accepted_in"](accepted))

    assert found is weak
    assert words in text


def test_ci_makes_the_audit() -> None:
    """A check that nobody runs finds nothing."""
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    made = [command.split()[1:] for command in commands if command.startswith("make ")]

    assert any("audit" in targets for targets in made)
    assert ".ci/audit.py" in (ROOT / "Makefile").read_text(encoding="utf-8")
