"""Pictures for docs/pictures: panels above each other, readable on light and dark, the same bytes for the same figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

__all__ = ["FOLDER", "Axes", "drawn"]

FOLDER: Final = Path(__file__).parents[1] / "docs" / "pictures"
GREY: Final = "#7d8590"
"""Can be read on light and dark alike."""

Axes: TypeAlias = Any
"""matplotlib's own: it is there where measurements are made, and nowhere else."""


def drawn(
    name: str,
    panels: int,
    draw: Callable[[list[Axes]], None],
    *,
    kept: bool = True,
    height: float = 2.2,
    one_x: bool = True,
) -> None:
    """Draws NAME.svg.

    Args:
        panels: How many there are.
        kept: It is written; if not, it only shows that it can be drawn.
        height: Of one panel, in inches; all are 8 wide.
        one_x: All of them have the same horizontal axis, and only the last names it.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    style = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GREY)
    settings: dict[str, Any] = {
        **style,
        "svg.hashsalt": "playcall",
        "svg.fonttype": "none",
        "font.family": ["DejaVu Sans", "sans-serif"],
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": GREY,
        "grid.alpha": 0.25,
    }
    with mpl.rc_context(settings):
        figure, axes = pyplot.subplots(
            panels, 1, figsize=(8, height * panels), squeeze=False, layout="constrained", sharex=one_x
        )
        draw(list(axes.flat))
        if kept:
            FOLDER.mkdir(exist_ok=True)
        where = FOLDER / f"{name}.svg" if kept else io.BytesIO()
        figure.savefig(where, format="svg", transparent=True, metadata={"Date": None})
        pyplot.close(figure)
