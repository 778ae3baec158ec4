"""The processes of a comparison: started, given a processor of their own where there are two, and stopped."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Final, Self

from .usage import Usage

__all__ = ["Child", "pin_client"]


class Child:
    """`python -m bench.servers.<name>`, which prints the port that it listens on."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.servers.{name}", *arguments], stdout=subprocess.PIPE, text=True
        )
        _pin(self._process.pid, first=False)
        output: IO[str] | None = self._process.stdout
        assert output is not None
        line = output.readline()
        if not line:
            raise RuntimeError(f"bench.servers.{name} did not start")
        self.port = int(line)

    @contextmanager
    def watched(self) -> Generator[Callable[[], float]]:
        """Gives, afterwards, the part of the time for which it was busy."""
        began, used = time.perf_counter(), Usage(self._process.pid)
        busy = math.nan
        yield lambda: busy
        busy = used.busy_seconds / (time.perf_counter() - began)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


_PROCESSORS: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin_client() -> None:
    """This process and its threads on the first processor; its far end has the last."""
    _pin(0, first=True)


def _pin(pid: int, *, first: bool) -> None:
    if len(_PROCESSORS) > 1:
        os.sched_setaffinity(pid, {_PROCESSORS[0 if first else -1]})
