"""`dlb submit`, `status`, `jobs`, `cancel`, `retry`: work with a running service."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from dlb_core.cli.case_inputs import given_inputs, sendable
from dlb_core.cli.case_options import add_case_options, parse_case_options
from dlb_core.cli.display import progress_bar, summarise
from dlb_core.client import DlbClient
from dlb_core.contracts import JobState, Priority, SegmentationOptions
from dlb_core.documents import JobDocument
from dlb_core.errors import BadOption, DlbError, InputError
from dlb_core.loopback import is_loopback

DEFAULT_URL = "http://127.0.0.1:8000"
KEY_VARIABLE = "DLB_API_KEY"
DONE, FAILED, USER_CAN_FIX = 0, 1, 2


def add_parser(subparsers: Any) -> None:
    """Add the subcommands that talk to a service."""
    submit = subparsers.add_parser(
        "submit",
        help="send a T1w and FLAIR pair to a running service",
        description="Send one case to a running service; with --wait, stay and fetch the results.",
    )
    add_case_options(submit)
    submit.add_argument("--wait", action="store_true", help="stay until the job ends")
    submit.add_argument(
        "--output", type=Path, metavar="DIR", help="where the results go; implies --wait"
    )
    submit.add_argument(
        "--priority",
        choices=[priority.value for priority in Priority],
        default=Priority.ROUTINE.value,
        help="how soon it is begun while others wait (%(default)s)",
    )
    add_service_options(submit)
    submit.set_defaults(run=run)
    _add_job_parsers(subparsers)


def _add_job_parsers(subparsers: Any) -> None:
    """Add the small subcommands."""
    status = subparsers.add_parser("status", help="show how a job stands")
    status.add_argument("job_id", type=UUID, metavar="ID")
    add_service_options(status)
    status.set_defaults(run=run_status)

    cancel = subparsers.add_parser("cancel", help="cancel a job, or delete one that has ended")
    cancel.add_argument("job_id", type=UUID, metavar="ID")
    add_service_options(cancel)
    cancel.set_defaults(run=run_cancel)

    retry = subparsers.add_parser("retry", help="try a failed or cancelled job again")
    retry.add_argument("job_id", type=UUID, metavar="ID")
    add_service_options(retry)
    retry.set_defaults(run=run_retry)

    jobs = subparsers.add_parser("jobs", help="list the newest jobs")
    jobs.add_argument("--state", choices=[state.value for state in JobState], help="only these")
    jobs.add_argument("--limit", type=int, default=20, help="how many (default: 20)")
    add_service_options(jobs)
    jobs.set_defaults(run=run_jobs)


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """Add where the service is, and the key to it."""
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the service (default: {DEFAULT_URL})")
    # Not the key itself: other users of the machine see every program's arguments.
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help=f"file with the service's key (default: the variable {KEY_VARIABLE})",
    )


def open_client(args: argparse.Namespace) -> DlbClient:
    """A client with the caller's key, if they have one."""
    if args.key_file is None:
        key = os.environ.get(KEY_VARIABLE) or None
    else:
        key = args.key_file.read_text(encoding="utf-8").strip()
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise BadOption(f"--key-file, or {KEY_VARIABLE}, does not hold a key")
    place = urlsplit(args.url)
    if key is not None and place.scheme == "http" and not is_loopback(place.hostname or ""):
        print("dlb: without https anyone on the way can read key and images", file=sys.stderr)
    return DlbClient(args.url, api_key=key)


def run(args: argparse.Namespace) -> int:
    """Submit a case.

    Returns
    -------
    int
        0 when the job was accepted, or with --wait has succeeded; 2 when it failed for a
        reason the user can mend; 1 otherwise.

    Raises
    ------
    InputError, ServiceFailed, TransientError
        As `DlbClient` does.
    """
    console = Console()
    options = parse_case_options(args)
    with open_client(args) as client:
        with progress_bar(console, "uploading") as (bar, task):
            job = _upload(client, args, options, bar, task)
            if args.wait or args.output is not None:
                job = _follow(client, job, bar, task)
        if job.state is JobState.SUCCESSFUL:
            _fetch(client, job, args.output or Path(f"dlb-{job.id}"), console)
            return DONE
    return _say_unfinished(job, console)


def run_status(args: argparse.Namespace) -> int:
    """Show one job."""
    with open_client(args) as client:
        job = client.get(args.job_id)
    console = Console()
    console.print(f"{job.id}  {_standing(job)}", highlight=False)
    if job.error is not None:
        console.print(f"{job.error.code}: {job.error.message}", markup=False, soft_wrap=True)
    return DONE


def run_cancel(args: argparse.Namespace) -> int:
    """Cancel or delete one job."""
    with open_client(args) as client:
        stopping = client.cancel(args.job_id)
    print("its worker stops within seconds" if stopping else "cancelled, and its files are gone")
    return DONE


def run_retry(args: argparse.Namespace) -> int:
    """Try one job again."""
    with open_client(args) as client:
        job = client.retry(args.job_id)
    print(f"job {job.id} waits again")
    return DONE


def run_jobs(args: argparse.Namespace) -> int:
    """List jobs."""
    table = Table("created (UTC)", "id", "state", "lesions", "label")
    state = None if args.state is None else JobState(args.state)
    with open_client(args) as client:
        for job in client.jobs(state=state, limit=args.limit):
            lesions = "" if job.totals is None else str(job.totals.lesion_count)
            created = f"{job.created:%Y-%m-%d %H:%M:%S}"
            table.add_row(created, str(job.id), _standing(job), lesions, job.options.label)
    Console().print(table)
    return DONE


def _upload(
    client: DlbClient,
    args: argparse.Namespace,
    options: SegmentationOptions,
    bar: Progress,
    task: TaskID,
) -> JobDocument:
    """Send the images."""

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done / max(total, 1))

    images, named = given_inputs(args)
    with sendable(images) as files:
        job = client.submit(
            t1w=files.get("t1w"),
            flair=files.get("flair"),
            study=files.get("study"),
            series=named,
            options=options,
            priority=Priority(args.priority),
            on_bytes=show,
        )
    bar.console.print(f"job {job.id} accepted")
    page = f"{args.url.rstrip('/')}{job.links.job}/view"
    bar.console.print(f"in a browser: {page}", soft_wrap=True)
    return job


def _follow(client: DlbClient, job: JobDocument, bar: Progress, task: TaskID) -> JobDocument:
    """Watch the job to its end."""
    bar.reset(task, total=1.0)

    def show(job: JobDocument) -> None:
        bar.update(task, completed=job.progress.fraction, description=_standing(job))

    try:
        return client.wait(job.id, on_change=show)
    except KeyboardInterrupt:
        bar.console.print(f"the job goes on without us; to stop it: dlb cancel {job.id}")
        raise


def _standing(job: JobDocument) -> str:
    """Say in a few words how a job stands."""
    if job.state is not JobState.RUNNING:
        return job.state.value
    stage = job.stage.value.replace("_", " ")
    counted = f" {job.progress.done}/{job.progress.total}" if job.progress.total > 1 else ""
    return f"{stage}{counted}{' (stopping)' if job.cancel_requested else ''}"


def _fetch(client: DlbClient, job: JobDocument, folder: Path, console: Console) -> None:
    """Download the results, and say what they are."""
    client.download(job.id, folder)
    summarise(client.results(job.id).report, folder, console)


def _say_unfinished(job: JobDocument, console: Console) -> int:
    """Say how a job stands that has no results; choose the exit code."""
    if job.state is JobState.FAILED and job.error is not None:
        print(f"dlb: {job.error.code}: {job.error.message}", file=sys.stderr)
        return USER_CAN_FIX if job.error.code in codes_of(InputError) else FAILED
    if job.state is JobState.DISMISSED:
        print("dlb: the job was cancelled", file=sys.stderr)
        return FAILED
    console.print(f"dlb status {job.id} shows how it goes on", highlight=False)
    return DONE


def codes_of(kind: type[DlbError]) -> set[str]:
    """Codes of an error and of all that derive from it."""
    return {kind.code}.union(*(codes_of(child) for child in kind.__subclasses__()))
