"""Look the pinned packages up among known weaknesses: `make audit`.

A weakness that nobody has accepted, with a reason, in `audit-accepted.txt` ends it with 1. Where
the lists of weaknesses cannot be reached nothing is known, which is said aloud and is no failure:
whoever has no network must be able to run CI.
"""

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
ACCEPTED = ROOT / ".ci" / "audit-accepted.txt"
TIME_LIMIT_S = 300


def main(argv: Sequence[str]) -> int:
    """Install the auditor into its own environment, the first argument, and ask it."""
    environment = Path(argv[0])
    try:
        packages = _ask(environment)
    except (subprocess.SubprocessError, ValueError) as error:
        packages = []
        sys.stderr.write(f"audit: {error}\n")
    weak, text = judge(packages, accepted_in(ACCEPTED.read_text(encoding="utf-8")))
    print(text)
    return 1 if weak else 0


def judge(packages: Sequence[dict[str, Any]], accepted: Collection[str]) -> tuple[bool, str]:
    """Whether a package has a weakness that nobody has accepted, and what to say."""
    looked_up = [package for package in packages if "vulns" in package]
    if not looked_up:
        return False, "AUDIT NOT DONE: the lists of weaknesses could not be reached"
    weaknesses = [
        f"{package['name']} {package['version']}: {weakness['id']}, mended in "
        f"{', '.join(weakness['fix_versions']) or 'no version yet'}"
        for package in looked_up
        for weakness in package["vulns"]
        if not {weakness["id"], *weakness["aliases"]} & set(accepted)
    ]
    said = f"audit: {len(looked_up)} of {len(packages)} packages looked up"
    return bool(weaknesses), "\n".join([f"{said}, {len(weaknesses)} weaknesses", *weaknesses])


def accepted_in(text: str) -> frozenset[str]:
    """Names of the weaknesses in a file of lines `NAME  why it does not matter here`."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return frozenset(words[0] for words in lines if words)


def _ask(environment: Path) -> list[dict[str, Any]]:
    """What the auditor knows of each pinned package."""
    auditor = environment / "bin" / "pip-audit"
    if not auditor.exists():
        _run(sys.executable, "-m", "venv", str(environment))
        pip = environment / "bin" / "pip"
        _run(
            str(pip),
            "install",
            "--quiet",
            "--no-compile",
            "-r",
            str(ROOT / "requirements-audit.lock"),
        )
    asked = [argument for lock in LOCKS for argument in ("-r", str(ROOT / lock))]
    answer = subprocess.run(  # noqa: S603  # our own arguments
        [str(auditor), "--disable-pip", "--no-deps", "--format", "json", *asked],
        stdout=subprocess.PIPE,
        timeout=TIME_LIMIT_S,
        # It ends with 1 where it finds something.
        check=False,
    )
    packages: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    return packages


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=TIME_LIMIT_S)  # noqa: S603  # our own arguments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
