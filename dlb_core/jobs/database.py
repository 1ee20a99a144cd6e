"""Open the job store's database, bring its schema up to date, and wrap its errors."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dlb_core.errors import DiskFull, StoreUnavailable

READ_ONLY = "dlb_read_only"
"""Execution option: the transaction only reads, so on SQLite it need not take the write lock."""

BUSY_TIMEOUT_S = 20.0
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_575_125
"""Any fixed number: PostgreSQL's advisory lock for migrations."""


def open_engine(database_url: str) -> Engine:
    """Make an engine for any SQLAlchemy URL; SQLite gets what durable job rows need."""
    if not database_url.startswith("sqlite"):
        return create_engine(database_url, pool_pre_ping=True)
    engine = create_engine(database_url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


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
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        if "disk is full" in str(error):
            raise DiskFull("no room left for the job store: free disk space") from error
        raise StoreUnavailable(
            "the job store does not answer: check that its database runs and can be written"
        ) from error
