"""Bars of steps and tasks, as a terminal draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .run_picture import Bar

__all__ = ["bars_table", "window"]

BEFORE: Final = 3
"""Bars that have ended, above the first that has not, where not all can be shown."""


def window(bars: Sequence[Bar], rows: int) -> tuple[Sequence[Bar], str]:
    """As many bars as fit, around what is going on, and a line about the others; "" where all fit."""
    if len(bars) <= rows:
        return bars, ""
    shown = max(1, rows - 1)
    going_on = next((at for at, bar in enumerate(bars) if not (bar.well or bar.badly)), len(bars))
    first = max(0, min(going_on - min(BEFORE, shown // 2), len(bars) - shown))
    ended = sum(bar.well or bar.badly for bar in bars)
    return bars[first : first + shown], f"… of {len(bars):,} in all, {ended:,} have ended"


def bars_table(bars: Sequence[Bar], width: int) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(12, width // 4))
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right", min_width=8)
    for bar in bars:
        label = Text("  " * bar.level + bar.label, style="" if bar.level else "bold")
        table.add_row(label, _drawn(bar), Text(bar.figure, style="red" if bar.badly else "dim"))
    return table


def _drawn(bar: Bar) -> ProgressBar:
    if bar.well:
        return ProgressBar(total=1, completed=1, finished_style="green")
    if bar.badly:
        return ProgressBar(total=1, completed=1, finished_style="red")
    running = not bar.waiting
    return ProgressBar(
        total=bar.total or None if running else 1,
        completed=bar.done if running else 0,
        pulse=running and not bar.total,
        complete_style="cyan",
        pulse_style="cyan",
    )
