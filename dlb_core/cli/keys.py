"""`dlb keys`: make, list and revoke the service's API keys, on the machine where its data lies."""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Column, Table

from dlb_core.audit import OPERATOR, AuditEntry, AuditLog, AuditOutcome
from dlb_core.cli.data_options import add_data_options, database_of
from dlb_core.contracts import Role
from dlb_core.errors import BadOption
from dlb_core.jobs.layout import DataFolder

if TYPE_CHECKING:
    from dlb_core.jobs.keys import KeyRecord, KeyStore

NAME = re.compile(r"[\w .@-]{1,64}")
OWNER = re.compile(r"[\w.-]{1,64}")
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}


def add_parser(subparsers: Any) -> None:
    """Add the subcommand and its own."""
    parser = subparsers.add_parser(
        "keys",
        help="make, list and revoke keys to the service",
        description="Keys to the service whose data folder this is. It may be running: a new key "
        "is good at once, a revoked one is not. With the first key, the service asks for one.",
    )
    commands = parser.add_subparsers(dest="keys_command", required=True, metavar="COMMAND")

    create = commands.add_parser("create", help="make a key, and show it once")
    create.add_argument("name", help="for people, e.g. the program that will use it")
    create.add_argument(
        "--role",
        choices=[role.value for role in Role],
        default=Role.SUBMIT.value,
        help="read: see jobs and results; submit: send, cancel and delete too (default); "
        "admin: all of it, with everybody's jobs",
    )
    create.add_argument(
        "--owner",
        metavar="NAME",
        help="keys of one owner share their jobs (default: the key shares with none)",
    )
    create.add_argument(
        "--expires", metavar="TIME", help="e.g. 90d, 12h, or a date like 2027-01-31 (UTC)"
    )
    create.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="put the key into a new file that you alone may read (default: show it)",
    )
    create.set_defaults(run=run_create)

    listing = commands.add_parser("list", help="show all keys, without their secrets")
    listing.set_defaults(run=run_list)

    revoke = commands.add_parser("revoke", help="make a key open nothing from now on")
    revoke.add_argument("key_id", metavar="ID", help="as `dlb keys list` shows it")
    revoke.set_defaults(run=run_revoke)
    for command in (create, listing, revoke):
        add_data_options(command)


def run_create(args: argparse.Namespace) -> int:
    """Make a key.

    Raises
    ------
    BadOption
        A name, the time or the file cannot be used.
    """
    if not NAME.fullmatch(args.name):
        raise BadOption("the name: at most 64 letters, digits, spaces and . _ @ -")
    if args.owner is not None and not OWNER.fullmatch(args.owner):
        raise BadOption("--owner: at most 64 letters, digits and . _ -")
    expires = None if args.expires is None else parse_expiry(args.expires, datetime.now(UTC))
    with _private(args.output) as file:
        with _opened(args) as keys:
            record, key = keys.create(args.name, Role(args.role), owner=args.owner, expires=expires)
        _note(args, "keys create", record)
        # Alone on standard output, so that it can be put into a secret store.
        print(key, file=file)
    Console(stderr=True, highlight=False).print(
        f"key {record.id} ({record.role}), {_end(record)}; it cannot be shown again. "
        "Send it as: Authorization: Bearer KEY",
        soft_wrap=True,
    )
    return 0


def run_list(args: argparse.Namespace) -> int:
    """List keys."""
    whole = [Column(title, no_wrap=True) for title in ("id", "role", "owner")]
    table = Table(*whole, "name", "created (UTC)", "last used", "state", box=None)
    with _opened(args) as keys:
        for record in keys.list_keys():
            used = "never" if record.used is None else f"{record.used:%Y-%m-%d %H:00}"
            owner = "" if record.owner == record.id else record.owner
            created = f"{record.created:%Y-%m-%d %H:%M}"
            table.add_row(record.id, record.role, owner, record.name, created, used, _end(record))
    Console().print(table)
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Revoke a key.

    Raises
    ------
    KeyNotFound
    """
    with _opened(args) as keys:
        record = keys.revoke(args.key_id)
    _note(args, "keys revoke", record)
    print(f"key {record.id} is {_end(record)}")
    return 0


def parse_expiry(text: str, now: datetime) -> datetime:
    """Read when a key is to end.

    Parameters
    ----------
    text : str
        A number of days or hours (90d, 12h), or a date (its beginning, UTC).
    now : datetime
        Aware.

    Raises
    ------
    BadOption
        Neither, or in the past.
    """
    try:
        if text[-1:] in UNITS:
            expires = now + int(text[:-1]) * UNITS[text[-1]]
        else:
            expires = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadOption("--expires: e.g. 90d, 12h or 2027-01-31") from error
    if expires <= now:
        raise BadOption("--expires: lies in the past")
    return expires


@contextmanager
def _private(path: Path | None) -> Iterator[TextIO | None]:
    """A new file for its owner alone, gone again where nothing comes of it; None: none."""
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadOption(f"--output: {path.name}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
    except BaseException:
        path.unlink()
        raise


def _opened(args: argparse.Namespace) -> "KeyStore":
    """Open the keys; their database is made if the service has never run."""
    from dlb_core.jobs.keys import KeyStore

    if args.database_url is None:
        DataFolder(args.data.resolve()).create()
    return KeyStore.open(database_of(args.data, args.database_url))


def _note(args: argparse.Namespace, what: str, record: "KeyRecord") -> None:
    """Add a line to the audit log."""
    entry = AuditEntry(who=OPERATOR, what=what, outcome=AuditOutcome.DONE, about=record.id)
    AuditLog(DataFolder(args.data.resolve()).audit).write(entry)


def _end(record: "KeyRecord") -> str:
    """How long a key is good."""
    if record.revoked is not None:
        return f"revoked since {record.revoked:%Y-%m-%d %H:%M}"
    if record.expires is None:
        return "good until revoked"
    word = "good until" if record.is_live(datetime.now(UTC)) else "expired since"
    return f"{word} {record.expires:%Y-%m-%d %H:%M}"
