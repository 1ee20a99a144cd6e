"""A genuine PostgreSQL on a socket of its own, for tests of what the store asks of it."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from dlb_core.jobs.database import open_engine
from dlb_core.jobs.models import Base

DEBIANS = Path("/usr/lib/postgresql")
UNPRIVILEGED = "postgres"
"""Made by Debian's package: the server refuses to run as root."""
QUICK = ("fsync=off", "full_page_writes=off", "listen_addresses=")
"""Enough for a server that is killed; not for a machine that loses power."""


def require_postgresql() -> Path:
    """Folder of the server's programs; without it, say loudly what is left untested."""
    found = [Path(path) for path in [shutil.which("initdb")] if path is not None]
    # The newest version, where there are several.
    found += sorted(DEBIANS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found or not _may_start():
        pytest.skip(
            "NO POSTGRESQL HERE, so the store is tested on SQLite only: apt-get install "
            "postgresql, or `make database` as root"
        )
    return found[-1].parent


def _may_start() -> bool:
    """Whether there is somebody the server would run as."""
    users = {user.pw_name for user in pwd.getpwall()}
    return os.geteuid() != 0 or UNPRIVILEGED in users


class PostgreSql:
    """One server, until it is stopped; it can be started again."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Short, for sockets have short names; and not below a folder that only root may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="dlb-postgresql-"))
        self._as: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:
            shutil.chown(self._folder, UNPRIVILEGED, UNPRIVILEGED)
            self._as |= {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}
        options = ["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust", "--username=dlb"]
        self._run("initdb", "--pgdata=data", *options)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = [part for setting in QUICK for part in ("-c", setting)]
        command = [self._programs / "postgres", "-D", "data", "-k", self._folder, *settings]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
        ready = ["--quiet", f"--host={self._folder}", "--username=dlb", "--dbname=postgres"]
        while self._run("pg_isready", *ready, check=False) != 0:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once: connections break off."""
        if self._process is not None:
            self._run("pg_ctl", "--pgdata=data", "--mode=immediate", "stop")
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop the server, and delete what it kept."""
        self.stop()
        shutil.rmtree(self._folder)

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://dlb@/{database}?host={self._folder}"

    def create(self, database: str) -> str:
        """Make an empty database; returns its URL."""
        admin = open_engine(self.url())
        with admin.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(f"CREATE DATABASE {database}"))
        admin.dispose()
        return self.url(database)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [self._programs / program, *arguments]
        done = subprocess.run(command, capture_output=True, check=False, **self._as)
        assert not check or done.returncode == 0, (done.stdout + done.stderr).decode()
        return done.returncode


def empty(engine: Engine) -> None:
    """Delete every row."""
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
