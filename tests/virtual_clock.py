"""An event loop whose time passes only while everybody waits, and then at once.

    assert run(call_that_retries_for_an_hour()) == "done"

`time.monotonic()`, as playcall's modules see it, is that loop's clock. Real sockets and threads have no place in it.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")


class _Clock(selectors.SelectSelector):
    """Where the loop would sleep, this clock is put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        if not ready and timeout is not None and timeout > 0:
            # At least one step of a float, or a timeout that rounds to nothing would be waited for again and again.
            self.now = max(self.now + timeout, math.nextafter(self.now, math.inf))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _Clock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, in no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        with _clock_of_playcall(loop):
            return runner.run(main)


@contextmanager
def _clock_of_playcall(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Only there: the interpreter, other threads and the test runner keep their own time."""
    names: Mapping[str, Any] = vars(time)
    ours = SimpleNamespace(**{**names, "monotonic": loop.time})
    users = [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "playcall" and getattr(module, "time", None) is time
    ]
    patches = [mock.patch.object(module, "time", ours) for module in users]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
