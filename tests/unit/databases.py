"""A job store's database that has its schema already, for tests of something else.

To run all migrations takes longer than most of the tests that need a database.
"""

import tempfile
from functools import cache
from pathlib import Path

from dlb_core.jobs.database import open_engine, upgrade


def fresh_database(path: Path) -> str:
    """Put an empty database in a place; returns its URL."""
    path.write_bytes(_migrated())
    return _url(path)


@cache
def _migrated() -> bytes:
    """What the migrations make of an empty file."""
    with tempfile.TemporaryDirectory(prefix="dlb-schema-") as folder:
        path = Path(folder) / "jobs.sqlite"
        engine = open_engine(_url(path))
        upgrade(engine)
        # With its last connection, SQLite puts its log into the file.
        engine.dispose()
        return path.read_bytes()


def _url(path: Path) -> str:
    return f"sqlite:///{path}"
