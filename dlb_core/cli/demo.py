"""`dlb demo`: the whole service, once through, on a synthetic patient or the user's own scans."""

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from dlb_core import artefacts
from dlb_core.cli import submit
from dlb_core.cli.sample import seed
from dlb_core.client import DlbClient
from dlb_core.contracts import InputState
from dlb_core.documents import Health
from dlb_core.errors import BadOption, DlbError, StackNotReady

START_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 60.0


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="start the service, send it a case, fetch the report, stop it",
        description="Start `dlb serve`, make a synthetic patient (or take --t1w and --flair), "
        "submit it over HTTP, follow the job, and fetch masks and report.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where all goes")
    parser.add_argument("--t1w", type=Path, metavar="FILE", help="your own T1w instead")
    parser.add_argument("--flair", type=Path, metavar="FILE", help="your own FLAIR instead")
    parser.add_argument(
        "--input-state",
        choices=[state.value for state in InputState],
        default=InputState.RAW.value,
        help="of your own scans (default: raw)",
    )
    parser.add_argument("--seed", type=seed, default=1, help="which synthetic patient (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; the exit code is the submission's."""
    if (args.t1w is None) != (args.flair is None):
        raise BadOption("--t1w and --flair go together: T1W=... FLAIR=... with make")
    console = Console(highlight=False)
    output: Path = args.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    sample = output / "sample"
    own = args.t1w is not None
    t1w, flair = (args.t1w, args.flair) if own else _make_sample(console, sample, args.seed)
    results = output / "results"
    shutil.rmtree(results, ignore_errors=True)
    with _service(console, output) as url:
        console.rule("3  submit over HTTP, follow, download")
        code = submit.run(_submission(t1w, flair, args, results, url))
        if code == 0:
            if not own:
                _compare(console, results, sample)
            _show_viewer(console, results, url)
    return code


def _make_sample(console: Console, folder: Path, seed: int) -> tuple[Path, Path]:
    """Write the patient; return the paths of T1w and FLAIR."""
    # Loading PyTorch takes seconds; `dlb --help` need not wait for it.
    from dlb_core.synthesis.patient import FLAIR_FILE, T1W_FILE, write_patient

    console.rule("1  make a synthetic patient")
    with console.status("painting a head with lesions ..."):
        write_patient(folder, seed)
    console.print(f"T1w, FLAIR and the true lesion mask are in {folder}", soft_wrap=True)
    return folder / T1W_FILE, folder / FLAIR_FILE


def _submission(
    t1w: Path, flair: Path, args: argparse.Namespace, results: Path, url: str
) -> argparse.Namespace:
    """What `dlb submit` would make of these arguments, its own defaults included."""
    parser = argparse.ArgumentParser()
    submit.add_parser(parser.add_subparsers())
    label = "synthetic demo patient" if args.t1w is None else ""
    options = {
        "--t1w": t1w,
        "--flair": flair,
        "--input-state": args.input_state,
        "--label": label,
        "--output": results,
        "--url": url,
    }
    return parser.parse_args(["submit", *(f"{name}={value}" for name, value in options.items())])


@contextmanager
def _service(console: Console, output: Path) -> Iterator[str]:
    """`dlb serve` as a child, stopped at the end whatever happens."""
    console.rule("2  start the service: broker, worker, API")
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "dlb_core.cli.main", "serve"]
    log = output / "serve.log"
    with log.open("wb") as file:
        child = subprocess.Popen(  # noqa: S603  # our own command
            [*command, "--port", str(port), "--data", str(output / "data")],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        with console.status("starting ..."):
            _await_ready(child, url, log)
        console.print(f"ready at {url}, log in {log}", soft_wrap=True)
        yield url
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()


def _show_viewer(console: Console, results: Path, url: str) -> None:
    """Say where to look at the case; before a person, keep the service up for it."""
    with DlbClient(url) as client:
        newest = next(iter(client.jobs(limit=1)))
    console.print(f"\nviewer: {url}{newest.links.job}/view", soft_wrap=True)
    console.print(f"at any later time: dlb view {results}", soft_wrap=True)
    if console.is_terminal and sys.stdin.isatty():
        console.print("The service stays up until Ctrl-C.")
        with suppress(KeyboardInterrupt):
            signal.pause()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_ready(child: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with DlbClient(url) as client:
        while time.monotonic() < deadline:
            if child.poll() is not None:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise StackNotReady(f"`dlb serve` ended: {' '.join(last)}")
            if _is_ready(client):
                return
            time.sleep(0.5)
    raise StackNotReady(f"`dlb serve` was not ready within {START_TIMEOUT_S:g} s: see {log.name}")


def _is_ready(client: DlbClient) -> bool:
    try:
        return client.ready().status is Health.OK
    except DlbError:
        return False


def _compare(console: Console, results: Path, sample: Path) -> None:
    """Print how well the known lesions were found."""
    from dlb_core.metrics import dice, lesion_wise_tpr
    from dlb_core.nifti import read_mask
    from dlb_core.synthesis.patient import LESIONS_FILE

    found = read_mask(results / artefacts.MASK_FLAIR, role="result").data > 0
    truth = read_mask(sample / LESIONS_FILE, role="truth").data > 0
    console.print(
        f"\n[bold]against the known lesions: Dice {dice(found, truth):.3f}, "
        f"{lesion_wise_tpr(found, truth):.0%} of the lesions touched[/bold]"
    )
