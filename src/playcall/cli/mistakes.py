"""Mistakes in what was sent, each shown where it stands, as a compiler does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .terminal_text import in_place, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from ..models.problem import FieldProblem

__all__ = ["Source", "counted", "show_mistakes"]

GUTTER: Final = "{:>5} | "
CUT: Final = "…"


@dataclass(frozen=True, slots=True)
class Source:
    """A text that was sent. `name` is what its owner calls it: a file, or `-`."""

    name: str
    text: str


def counted(problems: Sequence[FieldProblem]) -> str:
    return f"{len(problems)} mistake{'' if len(problems) == 1 else 's'}"


def show_mistakes(problems: Sequence[FieldProblem], source: Source | None) -> None:
    """Every one, on stderr: `file:line:column: field: what is wrong`, the line, and a caret under the column."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    written = source.text.splitlines() if source is not None else []
    for problem in problems:
        line, column = problem.line, problem.column
        if source is None or line is None:
            console.print(Text(f"  {_said(problem)}"), soft_wrap=True)
            continue
        place = ":".join([one_line(source.name), str(line), *([] if column is None else [str(column)])])
        console.print(Text.assemble((place, "bold"), ": ", _said(problem)), soft_wrap=True)
        if line <= len(written):
            _show_line(console, line, written[line - 1], column)


def _said(problem: FieldProblem) -> str:
    from ..http.field_problems import describe

    return one_line(describe(problem.model_copy(update={"line": None, "column": None})))


def _show_line(console: Console, number: int, line: str, column: int | None) -> None:
    """`column` counts characters from 1; the caret stands under its cell, of which a wide character has two."""
    from rich.cells import cell_len, chop_cells, set_cell_size
    from rich.text import Text

    gutter = GUTTER.format(number)
    room = max(10, console.width - len(gutter)) if console.is_terminal else 10_000
    before = in_place(line[: (column or 1) - 1])
    after = in_place(line[(column or 1) - 1 :])
    if cell_len(before) > room // 2 and cell_len(before + after) > room:
        # What stands just before the mistake, as much as fits into half of the line.
        before = CUT + chop_cells(before[::-1], room // 2 - 1)[0][::-1]
    shown = before + after
    if cell_len(shown) > room:
        shown = set_cell_size(shown, room - 1) + CUT
    console.print(Text.assemble((gutter, "dim"), shown), soft_wrap=True)
    if column is not None:
        caret = " " * cell_len(before) + "^"
        console.print(Text.assemble((GUTTER.format(""), "dim"), (caret, "bold red")), soft_wrap=True)
