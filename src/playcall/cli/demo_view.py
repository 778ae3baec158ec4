"""The demo on a terminal: bars for steps and tasks under a log of events; and the same as plain lines."""

from __future__ import annotations

import sys
from typing import Final, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.spinner import Spinner
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..models.event import AnyEvent
from .bars import bars_table
from .live_block import LiveBlock
from .run_picture import TYPE_WIDTH, Bar, Picture, style_of
from .terminal_text import one_line

__all__ = ["LiveView", "PlainView", "View"]

LABEL_WIDTH: Final = 10
NARROW: Final = 70
"""Columns under which the log leaves the time out."""


class View(Protocol):
    """Where the demo is told."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
    def say(self, label: str, text: str) -> None:
        """One fact."""
        ...

    def busy(self, text: str) -> None:
        """What is being waited for now; "" for nothing."""
        ...

    def begin(self, picture: Picture) -> None:
        """The run begins."""
        ...

    def event(self, event: AnyEvent) -> None:
        """One event of the run, which the picture has not taken yet."""
        ...

    def connection(self, text: str, *, good: bool) -> None:
        """Something happened to the connection."""
        ...


class PlainView:
    """One line a fact; no control codes, so it can be piped and read by programs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._picture = Picture([])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._out.flush()

    def say(self, label: str, text: str) -> None:
        self._write(f"{label:<{LABEL_WIDTH}}{one_line(text)}")

    def busy(self, text: str) -> None:
        """A line that goes away has no place in plain text."""

    def begin(self, picture: Picture) -> None:
        self._picture = picture

    def event(self, event: AnyEvent) -> None:
        self._write(self._picture.take_whole(event))

    def connection(self, text: str, *, good: bool) -> None:
        self._write(f"{'-->' if good else '-X-':>5} {one_line(text)}")

    def _write(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class LiveView:
    """Rich: events scroll by above a block that stays, with a bar for each step and task."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._picture = Picture([])
        self._rows: list[Bar] = []
        self._busy: Spinner | None = None
        self._live = LiveBlock(console, self._block)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.__exit__(*exc_info)
        if self._rows:
            self._console.print(bars_table(self._rows, self._console.width))  # what the block showed last stays

    def say(self, label: str, text: str) -> None:
        line = Table.grid()
        line.add_column(width=LABEL_WIDTH, style="bold")
        line.add_column(overflow="fold")
        line.add_row(label, one_line(text))
        self._live.print(line)

    def busy(self, text: str) -> None:
        self._busy = Spinner("dots", Text(one_line(text)), style="cyan") if text else None

    def begin(self, picture: Picture) -> None:
        self._picture = picture

    def event(self, event: AnyEvent) -> None:
        line = self._picture.take(event)
        self._rows = self._picture.bars
        style = style_of(event.type)
        row = Text(f"{event.seq:>4} ", style="dim")
        if self._console.width >= NARROW:
            row.append(f"{self._picture.elapsed_seconds(event):>6.2f} s  ")
        row.append(f"{one_line(event.type):<{TYPE_WIDTH}}", style=Style.parse(f"not dim {style}"))
        row.append(line, style="dim" if style == "dim" else "not dim")
        self._live.print(row, cut=True)

    def connection(self, text: str, *, good: bool) -> None:
        style = "bold black on green" if good else "bold white on red"
        self._live.print(Text(f" {'↻' if good else '✂'} {one_line(text)} ", style), cut=True)

    def _block(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._rows:
            parts.append(bars_table(self._rows, self._console.width))
        if self._busy is not None:
            parts.append(self._busy)
        return Group(*parts)


def view_for(plain: bool | None) -> View:
    """The view that standard output can show.

    Args:
        plain: None for plain lines unless standard output is a terminal that takes control codes.
    """
    console = Console(highlight=False, markup=False)
    if plain is None:
        plain = not console.is_terminal or console.is_dumb_terminal
    return PlainView(sys.stdout) if plain else LiveView(console)
