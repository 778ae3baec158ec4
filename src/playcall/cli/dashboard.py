"""`playcall dashboard`: the pages for a browser, served by a process of its own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from .connecting import AsJson, Explain, ProfileName, Url
from .failing import FAILED, fail, in_one_sentence
from .tables import show_json

__all__ = ["dashboard"]

APP: Final = Path(__file__).parents[1] / "dashboard" / "app.py"
TIED: Final = "PLAYCALL_DASHBOARD_TIED"
"""Set for the child: its standard input is ours, and its end is to be the child's (dashboard/tied.py)."""
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.05


def dashboard(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 8501,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Whoever reaches it acts with your key: keep it to this machine."),
    ] = "127.0.0.1",
    url: Url = None,
    profile: ProfileName = None,
    as_json: AsJson = False,
    explain: Explain = False,
) -> None:
    """Serve the dashboard for a browser, until Ctrl-C.

    The backend need not run yet: the pages say how the connection is, and come alive with it.

    Example: playcall dashboard --port 0
    """
    if find_spec("streamlit") is None:
        fail(FAILED, "streamlit is missing; the dashboard needs: pip install 'playcall[dashboard]'")
    with in_one_sentence(explain=explain):
        environment = _environment(url, profile)
    free = _free_port(host, port)
    command = [sys.executable, "-m", "streamlit", "run", str(APP), f"--server.address={host}", f"--server.port={free}"]
    command += ["--server.headless=true", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    with _child(command, environment) as (child, asked_to_end):
        if _wait_until_served(child, host, free, asked_to_end):
            address = f"http://{_shown(host)}:{free}"
            if as_json:
                show_json({"url": address})
            else:
                typer.echo(f"playcall dashboard at {address}")
                typer.echo("Ctrl-C ends it.", err=True)
            sys.stdout.flush()
        while not asked_to_end() and child.poll() is None:
            time.sleep(POLL_SECONDS)
        if child.returncode is not None and not asked_to_end():
            fail(FAILED, f"the dashboard's process has ended by itself, with status {child.returncode}")


def _environment(url: str | None, profile: str | None) -> Mapping[str, str]:
    """Ours, with where the backend is and the key for it: in no argument, which everybody on this machine can read.

    Raises: ConfigurationError.
    """
    from .target import resolve

    target = resolve(url, profile)
    environment = {**os.environ, "PLAYCALL_URL": target.url, TIED: "1"}
    if target.api_key is not None:
        environment["PLAYCALL_API_KEY"] = target.api_key
        environment.pop("PLAYCALL_TOKEN", None)
    return environment


def _free_port(host: str, port: int) -> int:
    """Ends the command where the address cannot be listened on: Streamlit would say so in many words."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            if os.name == "posix":  # as the server does it; on Windows it would take the port from whoever has it
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
            trial.listen(1)  # on Linux two sockets may be bound to one port until one of them listens
            found: int = trial.getsockname()[1]
            return found
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        fail(FAILED, f"the dashboard cannot listen on {_shown(host)}:{port}: {why}; --port 0 takes a free one")


@contextmanager
def _child(
    command: list[str], environment: Mapping[str, str]
) -> Generator[tuple[subprocess.Popen[bytes], Callable[[], bool]]]:
    """The server's process, in a session of its own so that Ctrl-C is ours to tell it; ended with the block.

    Beside it, whether the command was asked to end.
    """
    signals: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        signals.append(number)

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    child = subprocess.Popen(  # noqa: S603 - our own command, no shell
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield child, lambda: bool(signals)
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        assert child.stdin is not None  # noqa: S101 - a pipe was asked for
        child.stdin.close()
        for each, handler in before.items():
            signal.signal(each, handler)


def _wait_until_served(child: subprocess.Popen[bytes], host: str, port: int, asked_to_end: Callable[[], bool]) -> bool:
    """Whether it serves; False where the command was asked to end before it did."""
    ends_at = time.monotonic() + START_SECONDS
    while not asked_to_end():
        if child.poll() is not None:
            fail(FAILED, f"the dashboard could not be started: its process ended with status {child.returncode}")
        if _serves(host, port):
            return True
        if time.monotonic() > ends_at:
            _not_in_time()
        time.sleep(POLL_SECONDS)
    return False


def _not_in_time() -> NoReturn:
    fail(FAILED, f"the dashboard did not start within {START_SECONDS:g} s")


def _serves(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port, timeout=2)  # noqa: S104
    try:
        connection.request("GET", "/_stcore/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
