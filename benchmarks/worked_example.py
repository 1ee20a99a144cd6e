"""Run docs/worked-example.md as it stands, and time each of its commands.

    python -m benchmarks.worked_example --work DIR

Each shell block of the page is one step. All run in one new folder, one after the other, with the
`dlb` of this Python. CPU seconds include child processes.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "worked-example.md"


def steps(page: str) -> list[str]:
    """The page's shell blocks, in order."""
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.M)]


def run(step: str, folder: Path) -> tuple[float, float]:
    """Run one step in a shell; wall and CPU seconds.

    Raises
    ------
    subprocess.CalledProcessError
        A command failed.
    """
    commands = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    wall, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["/bin/bash", "-ec", step], cwd=folder, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - wall, cpu


def main() -> None:
    """Run and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="new folder")
    folder = parser.parse_args().work
    folder.mkdir(parents=True)
    lines = ["| step | wall s | CPU s |", "|---|---|---|"]
    for number, step in enumerate(steps(PAGE.read_text()), start=1):
        wall, cpu = run(step, folder)
        lines.append(f"| {number} | {wall:.0f} | {cpu:.0f} |")
        print(lines[-1], flush=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
