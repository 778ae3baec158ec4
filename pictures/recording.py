"""What a terminal showed, as an SVG that moves by itself: no script, so that it also plays where scripts are not allowed.

Each line of the screen is drawn once for the time that it stood there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Final, Protocol, TypeAlias

__all__ = ["Line", "Recording", "Run", "line_of", "moving_svg"]

CHARACTER, LINE, FONT = 8.4, 19, 14
MARGIN, BAR = 16, 34
BACKGROUND, FRAME, PLAIN = "#10141c", "#1b2230", "#d7dce5"
COLOURS: Final[Mapping[str, str]] = {
    "default": PLAIN,
    "black": "#10141c",
    "red": "#ff7b72",
    "green": "#5fd38d",
    "brown": "#f2c14e",
    "blue": "#79b8ff",
    "magenta": "#d2a8ff",
    "cyan": "#56d4dd",
    "white": "#ffffff",
    "brightblack": "#7d8799",
}
"""By the names that pyte has for them."""

Run: TypeAlias = tuple[str, str, bool, bool]
"""Text of one style: its colour, whether it is bold, and whether it is dim."""
Line: TypeAlias = tuple[Run, ...]


class _Cell(Protocol):
    @property
    def data(self) -> str: ...
    @property
    def fg(self) -> str: ...
    @property
    def bold(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Recording:
    """Frames: the moment, in seconds, and each line of the screen then. The last stays to `ends_at`."""

    frames: Sequence[tuple[float, Sequence[Line]]]
    ends_at: float
    columns: int


def line_of(cells: Sequence[_Cell]) -> Line:
    runs: list[Run] = []
    for (colour, bold), group in groupby(cells, key=lambda cell: (_colour(cell.fg), cell.bold)):
        runs.append(("".join(cell.data for cell in group), colour, bold, False))
    while runs and not runs[-1][0].strip():
        runs.pop()
    return tuple(runs)


def _colour(name: str) -> str:
    return COLOURS.get(name) or (f"#{name}" if len(name) == 6 else PLAIN)


def moving_svg(recording: Recording, title: str) -> str:
    rows = max(len(lines) for _, lines in recording.frames)
    width = 2 * MARGIN + recording.columns * CHARACTER
    height = BAR + rows * LINE + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>text{{font:{FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        f"white-space:pre;fill:{PLAIN}}}.b{{font-weight:bold}}</style>",
        f'<rect width="100%" height="100%" rx="10" fill="{BACKGROUND}"/>',
        f'<path d="M0 {BAR - 8}V10a10 10 0 0 1 10-10H{width - 10:.0f}a10 10 0 0 1 10 10V{BAR - 8}z" fill="{FRAME}"/>',
        *(
            f'<circle cx="{16 + 18 * n}" cy="13" r="5" fill="{c}"/>'
            for n, c in enumerate(("#ff5f57", "#febc2e", "#28c840"))
        ),
    ]
    for row in range(rows):
        for line, begins, ends in _stays(recording, row):
            if line:
                parts.append(_drawn(line, row, begins, ends, recording))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _stays(recording: Recording, row: int) -> list[tuple[Line, float, float]]:
    """What stood in a row, from when to when."""
    told = [(lines[row] if row < len(lines) else (), at) for at, lines in recording.frames]
    changes = [(line, at) for n, (line, at) in enumerate(told) if n == 0 or told[n - 1][0] != line]
    ends = [at for _, at in changes[1:]] + [recording.ends_at]
    return [(line, begins, end) for (line, begins), end in zip(changes, ends, strict=True)]


def _drawn(line: Line, row: int, begins: float, ends: float, recording: Recording) -> str:
    spans: list[str] = []
    column = 0
    for text, colour, bold, _ in line:
        if text.strip():
            style = f' fill="{colour}"' if colour != PLAIN else ""
            weight = ' class="b"' if bold else ""
            # The length is said, so that columns stand under each other in whatever font there is.
            spans.append(
                f'<tspan x="{MARGIN + column * CHARACTER:.1f}" textLength="{len(text) * CHARACTER:.1f}"'
                f"{style}{weight}>{escape(text, quote=False)}</tspan>"
            )
        column += len(text)
    whole = recording.ends_at
    moves = ""
    if begins > 0 or ends < whole:
        times = [0.0, begins / whole, ends / whole] if begins > 0 else [0.0, ends / whole]
        values = ["0", "1", "0"] if begins > 0 else ["1", "0"]
        if ends >= whole:
            times, values = times[:-1], values[:-1]
        keys = ";".join(f"{time:.4f}".rstrip("0").rstrip(".") for time in times)
        moves = (
            f'<animate attributeName="opacity" calcMode="discrete" dur="{whole:.1f}s" repeatCount="indefinite" '
            f'values="{";".join(values)}" keyTimes="{keys}"/>'
        )
    still = "" if ends >= whole else ' opacity="0"'  # where nothing moves, the end is seen
    return f'<text xml:space="preserve" y="{BAR + (row + 0.7) * LINE:.1f}"{still}>{"".join(spans)}{moves}</text>'
