"""One server process of several, as its parent starts it (`playcall.server.running.workers`): `-m playcall.server.running.worker FD FD`.

It ends when the parent asks it to, and by itself when the parent is gone.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import sys
import threading
import time
from io import BufferedReader
from typing import IO

from playcall.server.engine import Engine
from playcall.server.running.serving import Server
from playcall.server.running.starting import Started, StartupError
from playcall.server.running.workers import KILL_SECONDS, Orders, Report
from playcall.server.telemetry.logs import set_up

__all__ = ["main"]


def main() -> None:
    # A terminal's Ctrl-C reaches all of its processes, this one too; what is to be done about it the parent says. While
    # it serves, the server has handlers of its own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener_fd, report_fd = (int(argument) for argument in sys.argv[1:])
    lifeline = _take_stdin()
    for inherited in (listener_fd, report_fd):
        os.set_inheritable(
            inherited, False
        )  # whatever this process starts is not to keep the address, or the report, open
    orders: Orders = pickle.load(lifeline)  # noqa: S301 - from the parent
    set_up(orders.log_level, orders.settings.log_format)
    with os.fdopen(report_fd, "wb") as reports:
        threading.Thread(target=_end_with_parent, args=(lifeline, orders), daemon=True).start()
        sys.exit(_serve(orders, socket.socket(fileno=listener_fd), reports))


def _serve(orders: Orders, listener: socket.socket, reports: IO[bytes]) -> int:
    def say(report: Report) -> None:
        try:
            reports.write(report.line())
            reports.flush()
        except BrokenPipeError:
            pass  # the parent is gone, which is seen elsewhere

    def started(facts: Started) -> None:
        say(Report(started=facts))

    server = Server(orders.settings, engine=lambda database, settings: Engine(database=database, settings=settings))
    try:
        with asyncio.Runner() as runner:
            runner.run(server.run(started, listener=listener))
    except StartupError as error:
        say(Report(failed=str(error)))
        return 1
    return 0


def _take_stdin() -> BufferedReader:
    """The standard input, of which nothing is left to what this process starts."""
    lifeline = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return lifeline


def _end_with_parent(lifeline: BufferedReader, orders: Orders) -> None:
    """On a thread, because a loop that hangs is to end too."""
    os.read(lifeline.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(orders.settings.drain_seconds + KILL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
