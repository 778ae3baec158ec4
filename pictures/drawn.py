"""Boxes, frames and arrows as SVG text: light, with no font of its own, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["INK", "Arrow", "Box", "Label", "drawing"]

INK: Final = "#1f2a44"
QUIET: Final = "#64708c"
LINE: Final = "#8592b0"
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with a name, in its middle unless `top`; lines of `text` below it."""

    name: str
    x: float
    y: float
    width: float
    height: float
    text: Sequence[str] = ()
    fill: str = "#ffffff"
    line: str = LINE
    top: bool = False
    dashed: bool = False

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def svg(self) -> str:
        dashes = ' stroke-dasharray="4 4"' if self.dashed else ""
        said = [
            f'<rect x="{self.x:g}" y="{self.y:g}" width="{self.width:g}" height="{self.height:g}" rx="9" '
            f'fill="{self.fill}" stroke="{self.line}" stroke-width="1.2"{dashes}/>'
        ]
        if self.top:
            said.append(_text(self.name, self.x + 14, self.y + 20, colour=QUIET, size=12.5))
        elif self.name:
            x, y = self.middle
            first = y + 5 - 9.5 * len(self.text)
            said.append(_text(self.name, x, first, anchor="middle", weight=600))
            for number, line in enumerate(self.text, 1):
                said.append(_text(line, x, first + 19 * number, anchor="middle", colour=QUIET, size=12.5))
        return "\n".join(said)


@dataclass(frozen=True, slots=True)
class Label:
    text: str
    x: float
    y: float
    anchor: str = "middle"

    def svg(self) -> str:
        return _text(self.text, self.x, self.y, anchor=self.anchor, colour=QUIET, size=13.5)


@dataclass(frozen=True, slots=True)
class Arrow:
    """A line along the points, its corners rounded; `both` has a head at its beginning too.

    `moves` is what it stands for, from state to state: it is written into the picture, where tests read it.
    """

    points: Sequence[tuple[float, float]]
    dashed: bool = False
    both: bool = False
    moves: Sequence[tuple[str, str]] = ()

    def svg(self) -> str:
        said = ", ".join(f"{old} {new}" for old, new in self.moves)
        data = f' data-moves="{said}"' if said else ""
        dashes = ' stroke-dasharray="5 4"' if self.dashed else ""
        tail = ' marker-start="url(#head)"' if self.both else ""
        return (
            f'<path d="{self._path()}"{data} fill="none" stroke="{QUIET}" stroke-width="1.5"{dashes}{tail} '
            'marker-end="url(#head)"/>'
        )

    def _path(self, radius: float = 8) -> str:
        (x, y), *rest = self.points
        said = [f"M{x:g} {y:g}"]
        for number, (cx, cy) in enumerate(rest):
            if number == len(rest) - 1:
                said.append(f"L{cx:g} {cy:g}")
                break
            nx, ny = rest[number + 1]
            before, after = _towards((cx, cy), (x, y), radius), _towards((cx, cy), (nx, ny), radius)
            said.append(f"L{before[0]:g} {before[1]:g} Q{cx:g} {cy:g} {after[0]:g} {after[1]:g}")
            x, y = cx, cy
        return " ".join(said)


def drawing(width: int, height: int, parts: Sequence[Box | Arrow | Label], *, title: str) -> str:
    """The whole picture, on a light ground of its own, so that it can be read on a dark page too.

    Args:
        title: What a screen reader says.
    """
    body = "\n".join(part.svg() for part in parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
role="img" font-family="{FONT}">
<title>{escape(title)}</title>
<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" \
orient="auto-start-reverse"><path d="M0 0.8 10 5 0 9.2z" fill="{QUIET}"/></marker></defs>
<rect width="{width}" height="{height}" rx="12" fill="#f7f9fd"/>
{body}
</svg>
"""


def _towards(start: tuple[float, float], end: tuple[float, float], length: float) -> tuple[float, float]:
    dx, dy = end[0] - start[0], end[1] - start[1]
    whole = (dx * dx + dy * dy) ** 0.5 or 1.0
    part = min(length, whole / 2) / whole
    return start[0] + dx * part, start[1] + dy * part


def _text(
    text: str,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    weight: int = 400,
    colour: str = INK,
    size: float = 14.5,
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size:g}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
