"""`dlb serve`: the whole service on this machine, with nothing else to install."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from dlb_core.bundled import default_bundle
from dlb_core.cli.data_options import database_of
from dlb_core.cli.stop_signals import StopSignals
from dlb_core.contracts import Device
from dlb_core.errors import BadOption
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.local_stack import PAUSE_S, LocalStack, StackSettings
from dlb_core.loopback import is_loopback
from dlb_core.report.document import RESEARCH_USE

READY_TIMEOUT_S = 120.0


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "serve",
        help="start the whole service on this machine",
        description=(
            "Start message broker, worker and HTTP API with one data folder, and keep them "
            "running until Ctrl-C. Nothing else needs to be installed."
        ),
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (%(default)s)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("dlb-data"),
        metavar="DIR",
        help="where jobs and results are kept (./%(default)s)",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="bundle (default: the shipped one)"
    )
    parser.add_argument(
        "--device",
        choices=[device.value for device in Device],
        default=Device.CPU.value,
        help="where the networks run (%(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of a case (default: all)"
    )
    parser.add_argument(
        "--redis-url", metavar="URL", help="use this Redis instead of the embedded broker"
    )
    parser.add_argument(
        "--insecure-bind-any",
        action="store_true",
        help="ask nobody for a key, whatever the --host: anyone there can read every result",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Raises
    ------
    BadOption
        An option cannot be used; nothing was started.
    BrokerMissing, StackNotReady, StoreUnavailable
        Something did not start; all is stopped again.
    """
    settings = _settings(args)
    stop = StopSignals(second_ends=False)
    stack = LocalStack(settings)
    _say("starting message broker, worker and API ...")
    try:
        stack.start()
        stack.wait_until_ready(READY_TIMEOUT_S, unless=stop)
        if not stop():
            _greet(settings)
        _watch(stack, stop)
    finally:
        _say("stopping ...")
        stack.stop()
    _say("stopped; jobs that were not done go on at the next start")
    return 0


def _watch(stack: LocalStack, stop: StopSignals) -> None:
    """Keep everything running until told to stop."""
    while not stop():
        for death in stack.keep_running():
            _say(
                f"the {death.name} process ended (status {death.status}); "
                f"it starts again in {death.restart_in_s:g} s"
            )
        time.sleep(PAUSE_S)


def _settings(args: argparse.Namespace) -> StackSettings:
    """Check the options.

    Raises
    ------
    BadOption
    """
    if not is_loopback(args.host) and not args.insecure_bind_any:
        _require_authentication(args)
    if not 1 <= args.port <= 65535:
        raise BadOption("--port must lie between 1 and 65535")
    if args.threads is not None and args.threads < 1:
        raise BadOption("--threads must be at least 1")
    weights = args.weights or default_bundle()
    if not (weights / "manifest.json").is_file():
        raise BadOption("--weights: no manifest.json in that folder: it holds no bundle")
    return StackSettings(
        data=args.data.resolve(),
        weights=weights.resolve(),
        host=args.host,
        port=args.port,
        device=Device(args.device),
        threads=args.threads,
        redis_url=args.redis_url,
        ask_for_keys=not args.insecure_bind_any,
    )


def _require_authentication(args: argparse.Namespace) -> None:
    """Refuse an address that others reach while the service would ask nobody who they are.

    Raises
    ------
    BadOption
    """
    everyone = "add --insecure-bind-any if everyone on that network may read every result"
    if os.environ.get("DLB_AUTHENTICATION") == "off":
        raise BadOption(
            f"--host {args.host} can be reached from other machines, and DLB_AUTHENTICATION is "
            f"off: unset it, or {everyone}"
        )
    if not _has_keys(args.data):
        raise BadOption(
            f"--host {args.host} can be reached from other machines, and there is no key that the "
            "service could ask them for: make one with `dlb keys create` and the same --data, or "
            f"{everyone}"
        )


def _has_keys(data: Path) -> bool:
    """Whether callers can say who they are: a key was made, or an identity provider is named."""
    if os.environ.get("DLB_OIDC_JWKS"):
        return True
    folder = DataFolder(data.resolve())
    database_url = os.environ.get("DLB_DATABASE_URL")
    if not database_url and not folder.database.exists():
        return False
    from dlb_core.jobs.keys import KeyStore

    with KeyStore.open(database_of(data, database_url)) as keys:
        return keys.any()


def _greet(settings: StackSettings) -> None:
    """Say where it is and what to do next."""
    if not settings.ask_for_keys:
        _say("nobody is asked for a key: whoever reaches the service can read every result")
    elif is_loopback(settings.host) and not _has_keys(settings.data):
        _say("no key is asked for on this machine until one is made: dlb keys create NAME")
    print(
        f"""
DeepLesionBrain service is ready at {settings.url}

  in a browser    {settings.url}/
  data and logs   {settings.data}
  submit a pair   dlb submit --url {settings.url} --t1w T1.nii.gz --flair FLAIR.nii.gz --wait
  watch the jobs  dlb jobs --url {settings.url}
  API document    {settings.url}/v1/openapi.json

{RESEARCH_USE}
Press Ctrl-C to stop.
""",
        flush=True,
    )


def _say(text: str) -> None:
    print(f"dlb: {text}", flush=True)
