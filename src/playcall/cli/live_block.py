"""A block of a terminal that is drawn again and again, under lines that scroll away.

Rich's own refresh thread may draw between another thread's decision how high the block is and its drawing, which leaves
pieces of the block in the lines. So the refreshing is done here, under the same lock as all printing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

__all__ = ["LiveBlock"]

REFRESHES_A_SECOND: Final = 12


class LiveBlock:
    """`draw` gives the block as it is now; it is called on a thread of its own, and never twice at a time."""

    def __init__(self, console: Console, draw: Callable[[], RenderableType]) -> None:
        self._console = console
        self._draw = draw
        self._live = self._new()
        self._drawing = threading.Lock()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="playcall-live-block", daemon=True)

    def __enter__(self) -> Self:
        self._live.start()
        self._ticker.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """The block is gone then; what is to stay, its owner prints."""
        self._over.set()
        self._ticker.join()
        self._live.stop()

    def print(self, line: RenderableType, *, cut: bool = False) -> None:
        """A line above the block. `cut`: what does not fit is left out, so that a line stays a line."""
        with self._drawing:
            self._live.update(self._drawn())
            self._console.print(line, no_wrap=cut or None, overflow="ellipsis" if cut else None)

    @contextmanager
    def away(self) -> Generator[None]:
        """Meanwhile the block is not there, and the terminal is the caller's."""
        with self._drawing:
            self._live.stop()
            try:
                yield
            finally:
                self._live = self._new()  # one that was stopped takes what is above it now for its own
                self._live.start()

    def _tick(self) -> None:
        while not self._over.wait(1 / REFRESHES_A_SECOND):
            with self._drawing:
                self._live.update(self._drawn(), refresh=True)

    def _drawn(self) -> RenderableType:
        # The cursor rests on a line of its own: what a terminal echoes there, ^C above all, must not begin another.
        return Group(self._draw(), Text(""))

    def _new(self) -> Live:
        return Live(console=self._console, auto_refresh=False, transient=True)
