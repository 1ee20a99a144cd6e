"""Open the job store's database, bring its schema up to date, and wrap its errors."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dlb_core.errors import BadOption, DiskFull, StoreUnavailable

READ_ONLY = "dlb_read_only"
"""Execution option: the transaction only reads, so on SQLite it need not take the write lock."""

BUSY_TIMEOUT_S = 20.0
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_575_125
"""Any fixed number: PostgreSQL's advisory lock for migrations."""
CONNECT_TIMEOUT_S = 10
DISK_FULL = "53100"
"""PostgreSQL's code for it."""


def open_engine(database_url: str) -> Engine:
    """Make an engine for any SQLAlchemy URL; SQLite gets what durable job rows need.

    Raises
    ------
    BadOption
        The URL is none, or its driver is not installed.
    """
    if not database_url.startswith("sqlite"):
        return _open_server(database_url)
    engine = create_engine(database_url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_server(database_url: str) -> Engine:
    """An engine for a database with a server; it may go away, and come back."""
    # Messages say nothing of the URL: it holds a password.
    try:
        url = make_url(database_url)
        arguments = {}
        if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
            # A server that does not answer must not hold its caller up for minutes.
            arguments["connect_timeout"] = CONNECT_TIMEOUT_S
        return create_engine(url, pool_pre_ping=True, connect_args=arguments)
    except ArgumentError as error:
        raise BadOption(
            "the database's URL cannot be used: write it as postgresql+psycopg://USER:PASSWORD@"
            "HOST/NAME"
        ) from error
    except ImportError as error:
        raise BadOption(
            f"the database's driver is not installed ({error.name}): for PostgreSQL, pip install "
            "'deeplesionbrain-service[postgresql]'"
        ) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Set what SQLite keeps per connection."""
    # The driver must not begin transactions by itself: `_begin_sqlite` does.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _switch_to_wal(connection: Any) -> None:
    """Use the write-ahead log; SQLite answers "locked" at once where two switch together."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except connection.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock first: a transaction that reads, then writes, must not fail between."""
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def upgrade(engine: Engine) -> None:
    """Bring the schema up to date; any number of processes may call this at once.

    Raises
    ------
    StoreUnavailable
        The database does not answer.
    """
    # It takes long to load, and is needed once in a process at most.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with store_errors(), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            lock = text("SELECT pg_advisory_xact_lock(:number)")
            connection.execute(lock, {"number": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def store_errors() -> Iterator[None]:
    """Wrap the database's errors where they enter.

    Raises
    ------
    DiskFull
        No room for the database.
    StoreUnavailable
        The database does not answer, or stayed locked.
    """
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
        if _is_full(error):
            raise DiskFull("no room left for the job store: free disk space") from error
        raise StoreUnavailable(
            "the job store does not answer: check that its database runs and can be written"
        ) from error


def _is_full(error: DBAPIError | PoolTimeout) -> bool:
    return (
        "disk is full" in str(error)
        or getattr(getattr(error, "orig", None), "sqlstate", None) == DISK_FULL
    )
