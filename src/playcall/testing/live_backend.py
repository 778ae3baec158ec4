"""A real backend for tests: `playcall serve` as a process of its own, which can be killed and started again.

    with LiveBackend() as backend, Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        run = client.playbooks.run(…)
        backend.kill()       # SIGKILL, as a power cut does it
        backend.restart()    # the same port, the same data

A start takes some seconds, and every method blocks until it is done: on an event loop use `asyncio.to_thread`.
Needs the extras `server` and `cli`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from os import PathLike, environ, kill
from pathlib import Path
from typing import Final, Self

__all__ = ["BackendStartError", "LiveBackend"]

POLL_SECONDS: Final = 0.01
"""How often the announcement is looked for; a start takes seconds, so this is exact enough and costs nothing."""
SHOWN_CHARACTERS: Final = 4_000
"""How much of the end of the server's output an error shows."""
NEEDED: Final = ("fastapi", "uvicorn", "sqlalchemy", "dbos", "typer")
"""What tells whether the extras are there."""


class BackendStartError(RuntimeError):
    """The server did not start. The message says what is missing, or ends with what the server wrote."""


class LiveBackend:
    """One server process after another over the same data folder and port."""

    def __init__(
        self,
        data_dir: str | PathLike[str] | None = None,
        *,
        database_url: str | None = None,
        port: int = 0,
        read_roots: Sequence[str | PathLike[str]] = (),
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        api_key: str | None = None,
        start_seconds: float = 60.0,
        stop_seconds: float = 20.0,
    ) -> None:
        """A backend on this machine, started by `with` or `start()`.

        Args:
            data_dir: Where it keeps everything; None for a temporary folder that is removed at the end.
            database_url: `postgresql://…`, of a database that belongs with `data_dir`, or is new; None for the file in
                `data_dir`. With it `options` may say `--workers=2`.
            port: 0 takes a free one, which is then kept.
            read_roots: Folders that its file tools may read.
            options: More arguments for `playcall serve`.
            environment: Variables to set for it beside our own.
            api_key: For a `data_dir` that was used before: the key is told only at the first start of a database.
            start_seconds: How long a start may take.
            stop_seconds: How long it may take to end when asked to, before it is killed.
        """
        self._given_dir = None if data_dir is None else Path(data_dir)
        self._port = port
        self._arguments = [*(f"--read-root={Path(root).absolute()}" for root in read_roots), *options]
        self._environment = dict(environment or {})
        self._database_url = database_url
        if database_url is not None:
            self._environment["PLAYCALL_DATABASE_URL"] = database_url
        self._api_key = api_key
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None

    def __repr__(self) -> str:
        return f"LiveBackend({self._url or 'not started'})"

    # --- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Starts the server and returns when it answers.

        Raises:
            BackendStartError: an extra is missing, it ended, or it did not announce itself in time.
            RuntimeError: it is running.
        """
        if self.running:
            raise RuntimeError("this backend is running; use restart()")
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise BackendStartError(f"a live backend needs {' and '.join(missing)}: pip install 'playcall[server,cli]'")
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="playcall-backend-")
        announcement = self._scratch / "announce.json"
        announcement.unlink(missing_ok=True)
        command = [sys.executable, "-m", "playcall", "serve", "--host=127.0.0.1", f"--port={self._port}"]
        command += [f"--data={self.data_dir}", f"--announce={announcement}", *self._arguments]
        with self.log_path.open("ab") as output:
            # In our process group on purpose: a terminal's Ctrl-C and hang-up reach it even when nothing stops it.
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environ, **self._environment},
            )
        try:
            said = self._announced(self._process, announcement)
        except BaseException:
            self.kill()
            raise
        self._url = str(said["url"])
        self._port = int(self._url.rpartition(":")[2])
        if said.get("api_key"):
            self._api_key = str(said["api_key"])
        return self

    def kill(self) -> None:
        """SIGKILL: it ends in the middle of whatever it does. No error if it has ended."""
        if self._process is not None:
            workers = _children(self._process.pid)
            self._process.kill()
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    kill(worker, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> int | None:
        """Asks it to end, and kills it if it does not; its exit status, None if it never ran."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            self._process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._process.returncode

    def restart(self) -> Self:
        """Ends it in good order if it runs, and starts it again on the same port and data; raises as `start`."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stops it and removes what was temporary. Closing twice is no error."""
        try:
            self.stop()
        finally:
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- what a test needs of it --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`; the same after a restart."""
        if self._url is None:
            raise RuntimeError("this backend was not started: use it in a `with`, or call start()")
        return self._url

    @property
    def api_key(self) -> str:
        """The first user's key. A secret: keep it out of what is printed."""
        if self._api_key is None:
            raise RuntimeError("no API key is known: this data folder was used before, so give api_key=")
        return self._api_key

    def add_user(self) -> str:
        """Makes a user in the backend's database, and returns an API key of that user.

        Everything belongs to a user: names, ids and events of others do not exist for whoever brings this key. So a test
        that has a user of its own is alone in a backend that it shares with others.

        Raises:
            RuntimeError: the backend was never started.
        """
        from playcall.server.running.database_url import postgresql_url

        from ..loop_thread import LoopThread
        from ..server.settings import DATABASE_FILE

        database = self.data_dir / DATABASE_FILE
        if self._url is None and not database.exists():
            raise RuntimeError("this backend was not started: use it in a `with`, or call start()")
        url = f"sqlite+aiosqlite:///{database}" if self._database_url is None else postgresql_url(self._database_url)
        return LoopThread.shared().call(_add_user, url)

    @property
    def pid(self) -> int:
        """The process id of the present, or last, server process."""
        if self._process is None:
            raise RuntimeError("this backend was not started: use it in a `with`, or call start()")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def data_dir(self) -> Path:
        """Where it keeps everything."""
        return self._given_dir if self._given_dir is not None else self._scratch / "data"

    @property
    def log_path(self) -> Path:
        """The file that holds what its processes wrote to both outputs."""
        return self._scratch / "server.log"

    @property
    def log(self) -> str:
        """What its processes wrote so far, the API key left out."""
        return self.log_since(0)

    @property
    def log_bytes(self) -> int:
        """How much its processes wrote so far."""
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def log_since(self, log_bytes: int) -> str:
        """What its processes wrote after `log_bytes` was this long, the API key left out."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as written:
            written.seek(log_bytes)
            text = written.read().decode(errors="replace")
        return text if self._api_key is None else text.replace(self._api_key, "[the API key]")

    @property
    def _scratch(self) -> Path:
        if self._folder is None:
            raise RuntimeError("this backend is closed, or was not started")
        return Path(self._folder.name)

    def _announced(self, process: subprocess.Popen[bytes], announcement: Path) -> dict[str, object]:
        """What the server says of itself once it can be called."""
        ends_at = time.monotonic() + self._start_seconds
        while True:
            line = ""
            with contextlib.suppress(FileNotFoundError):
                line = announcement.read_text()
            if line.endswith("\n"):
                said: dict[str, object] = json.loads(line)
                return said
            status = process.poll()
            if status is not None:
                raise BackendStartError(f"the server ended with status {status}; it wrote:\n{self._last_words()}")
            if time.monotonic() > ends_at:
                raise BackendStartError(
                    f"the server was not ready within {self._start_seconds:g} s; it wrote:\n{self._last_words()}"
                )
            time.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        return self.log[-SHOWN_CHARACTERS:].strip() or "(nothing)"


def _children(pid: int) -> list[int]:
    """Where the system tells of them; elsewhere workers see for themselves that their parent is gone."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


async def _add_user(url: str) -> str:
    from ..models import ApiKeySpec
    from ..server.auth.accounts import add_api_key, create_user
    from ..server.store.database import Database

    # A second process on the same SQLite file: its writers wait for each other, which takes no time worth speaking of.
    database = Database.at(url)
    try:
        async with database.write() as tx:
            user = await create_user(tx.session, f"user-{secrets.token_hex(8)}")
            key = await add_api_key(tx.session, user.id, ApiKeySpec(name="made for a test"))
    finally:
        await database.close()
    return key.secret
