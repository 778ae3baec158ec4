"""Draws when 200 clients try to connect after their server was killed: docs/pictures/reconnect-storm.svg.

    .venv/bin/python -m bench.storm

Everything is seeded, so the file changes only when the schedule does.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Final

from tests.soak.storm import Client, exponential, fixed, playcall, storm, worst_window

CLIENTS: Final = 200
AWAY_SECONDS: Final = 10.5
SEED: Final = 7
BIN_SECONDS: Final = 0.1
SHOWN_SECONDS: Final = 20.0
PICTURE: Final = Path(__file__).parents[1] / "docs" / "pictures" / "reconnect-storm.svg"

PANELS: Final[tuple[tuple[str, str, Client], ...]] = (
    ("every second", "fixed", fixed),
    ("doubling pauses", "doubling", exponential),
    ("playcall: doubling pauses, with chance", "ours", playcall),
)

# In pixels.
WIDTH: Final = 800
LEFT: Final = 64
RIGHT: Final = 24
TOP: Final = 64
PANEL: Final = 120
BETWEEN: Final = 52
BOTTOM: Final = 52

STYLE: Final = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #6e7781; }
  .title { font-size: 16px; font-weight: 600; }
  .name { font-weight: 600; }
  .axis { stroke: #818b98; stroke-width: 1; }
  .grid { stroke: #818b98; stroke-opacity: 0.25; stroke-width: 1; }
  .back { stroke: #2da44e; stroke-width: 1.5; stroke-dasharray: 4 3; }
  .back-name { fill: #2da44e; }
  .fixed { fill: #bf8700; } .doubling { fill: #e5534b; } .ours { fill: #3b8eea; }
  @media (prefers-color-scheme: light) { text { fill: #424a53; } .title, .name { fill: #1f2328; } }
  @media (prefers-color-scheme: dark) { text { fill: #b7bdc8; } .title, .name { fill: #f0f6fc; } }
"""
# What is outside the media queries can be read on light and dark alike, where a viewer does not know them.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=PICTURE)
    out: Path = parser.parse_args().out
    out.write_text(picture())
    print(f"wrote {out}")
    for name, _, client in PANELS:
        moments = attempts(client)
        later = [moment for moment in moments if moment > 0]
        print(f"{name}: {len(moments):,} attempts; most in 100 ms after the first instant: {worst_window(later)}")


def attempts(client: Client) -> list[float]:
    return list(chain.from_iterable(storm(client, CLIENTS, AWAY_SECONDS, seed=SEED)))


def picture() -> str:
    height = TOP + len(PANELS) * PANEL + (len(PANELS) - 1) * BETWEEN + BOTTOM
    what = f"{CLIENTS} clients after their server was killed: attempts to connect in each 100 ms"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title">',
        f"<style>{STYLE}</style>",
        f'<title id="title">{what}</title>',
        f'<text class="title" x="{LEFT}" y="26">{what}</text>',
    ]
    for number, (name, kind, client) in enumerate(PANELS):
        top = TOP + number * (PANEL + BETWEEN)
        lines += panel(top, name, kind, attempts(client), is_first=number == 0)
    lines.append(
        f'<text x="{LEFT + (WIDTH - LEFT - RIGHT) / 2:g}" y="{height - 10}" text-anchor="middle">'
        "seconds after the server was killed</text>"
    )
    return "\n".join([*lines, "</svg>", ""])


def panel(top: int, name: str, kind: str, moments: list[float], *, is_first: bool) -> list[str]:
    base = top + PANEL
    counted = Counter(int(round(moment / BIN_SECONDS, 6)) for moment in moments)
    worst = worst_window([moment for moment in moments if moment > 0], BIN_SECONDS)
    lines = [
        f'<text class="name" x="{LEFT}" y="{top - 10}">{name}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{top - 10}" text-anchor="end">at most {worst} in 100 ms after the first instant</text>',
    ]
    for count in (0, CLIENTS // 2, CLIENTS):
        y = base - PANEL * count / CLIENTS
        lines.append(
            f'<line class="{"grid" if count else "axis"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:g}" y2="{y:g}"/>'
        )
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:g}" text-anchor="end">{count}</text>')
    for second in range(0, int(SHOWN_SECONDS) + 1, 2):
        lines.append(f'<line class="axis" x1="{_x(second):g}" x2="{_x(second):g}" y1="{base}" y2="{base + 4}"/>')
        lines.append(f'<text x="{_x(second):g}" y="{base + 18}" text-anchor="middle">{second}</text>')
    back = f"{_x(AWAY_SECONDS):g}"
    lines.append(f'<line class="back" x1="{back}" x2="{back}" y1="{top}" y2="{base}"/>')
    if is_first:
        lines.append(f'<text class="back-name" x="{_x(AWAY_SECONDS + 0.8):g}" y="{top + 16}">the server is back</text>')
    width = _x(BIN_SECONDS) - _x(0)
    for place, count in sorted(counted.items()):
        if place * BIN_SECONDS >= SHOWN_SECONDS:
            continue
        tall = PANEL * count / CLIENTS
        lines.append(
            f'<rect class="{kind}" x="{_x(place * BIN_SECONDS):.2f}" y="{base - tall:.2f}" '
            f'width="{width - 0.4:.2f}" height="{tall:.2f}"/>'
        )
    return lines


def _x(seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * seconds / SHOWN_SECONDS


if __name__ == "__main__":
    main()
