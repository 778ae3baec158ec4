"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

import typer

from .terminal_text import lines, one_line

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..models.struct import WireStruct

__all__ = ["Columns", "console", "fields_table", "json_text", "show_fields", "show_json", "show_table"]

T = TypeVar("T")

Said: TypeAlias = "BaseModel | WireStruct | Mapping[str, object]"

Columns: TypeAlias = Mapping[str, Callable[[T], object]]
"""A heading, and what stands below it for a row. The first column is what other commands take: it is never cut."""

BATCH: Final = 200
"""Rows that are looked at before the first is printed, so that a long list begins at once; the widths are theirs."""
LEAST_CELLS: Final = 12
"""A column that is narrower than this cannot be read; rather each row is told as a block of lines."""
GAP: Final = 2
PIPED_CELLS: Final = 1_000_000
"""Whoever reads lines wants them whole."""
_C1: Final = re.compile("[\x7f-\x9f]")
_BEYOND_ASCII: Final = re.compile("[^\x00-\x7f]+")

_STYLES: Final = {
    **dict.fromkeys(("completed", "online", "ready", "healthy", "reused", "connected"), "green"),
    **dict.fromkeys(("running", "connecting"), "cyan"),
    **dict.fromkeys(("queued", "pending", "created", "skipped"), "dim"),
    **dict.fromkeys(("stopped", "paused", "degraded", "cancelled", "reconnecting"), "yellow"),
    **dict.fromkeys(("failed", "error", "offline", "auth_failed", "unhealthy"), "bold red"),
}
"""Words of the contract that mean well or badly; coloured on a terminal only."""


def console() -> Console:
    """On stdout; where that is no terminal, without colours, and lines are as long as they are."""
    from rich.console import Console

    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=PIPED_CELLS)


def show_json(value: Said | Iterable[Said]) -> None:
    """One object a line, each written as it comes."""
    from pydantic import BaseModel

    from ..models.struct import WireStruct

    if isinstance(value, BaseModel | WireStruct):
        typer.echo(_harmless(value.model_dump_json()))
    elif isinstance(value, Mapping):
        typer.echo(json_text(cast("Mapping[str, object]", value)))
    else:
        for each in value:
            show_json(each)


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON on one line unless told; a `datetime` becomes its text in ISO 8601, what else there is its own."""
    separators = (",", ":") if indent is None else None
    return _harmless(json.dumps(value, ensure_ascii=False, default=_as_text, indent=indent, separators=separators))


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _harmless(text: str) -> str:
    """JSON escapes the control characters of ASCII, and a terminal obeys some of Latin-1 as well (ECMA-48, section 5.3).

    What standard output has no letter for is escaped as well: a program is to read the name that it was, and no `?`.
    """
    text = _C1.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return text


def show_table(rows: Iterable[T], columns: Columns[T], *, empty: str = "") -> None:
    """A table; where the terminal is too narrow for one, a block of lines for each row.

    Args:
        empty: What to say, on stderr, where there are no rows.
    """
    out = console()
    coming = iter(rows)
    names = list(columns)
    widths: list[int] | None = None
    began = False
    while batch := list(islice(coming, BATCH)):
        cells = [[one_line(_text(value(row))) for value in columns.values()] for row in batch]
        if not began:
            widths = _widths(names, cells, out.width)
        if widths is None:
            for first, *others in cells:
                out.print(_coloured(first, "bold"), soft_wrap=True)
                _print_fields(out, {name: text for name, text in zip(names[1:], others, strict=True) if text})
        elif out.is_terminal:
            _print_table(out, names, widths, cells, with_heads=not began)
        else:
            _print_lines([] if began else [[name.upper() for name in names]], widths)
            _print_lines(cells, widths)
        began = True
    if not began and empty:
        typer.echo(empty, err=True)


def show_fields(fields: Mapping[str, object]) -> None:
    """One thing, a line for each of its fields; what is None or empty is left out."""
    _print_fields(console(), _shown(fields))


def fields_table(fields: Mapping[str, object]) -> Table:
    """What `show_fields` prints on a terminal, for views that are drawn again and again."""
    return _drawn(_shown(fields))


def _shown(fields: Mapping[str, object]) -> dict[str, str]:
    texts = {name: lines(_text(value)).rstrip() for name, value in fields.items()}
    return {name: text for name, text in texts.items() if text}


def _drawn(fields: Mapping[str, str]) -> Table:
    table = _grid()
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in fields.items():
        table.add_row(name, _coloured(text))
    return table


def _text(value: object) -> str:
    """A value as people read it; times are told in the time zone of this machine."""
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, str):
        return str(value)  # of an enumeration, its value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in cast("Sequence[object]", value)):
        return ", ".join(cast("Sequence[str]", value))
    if isinstance(value, list | tuple | dict):
        return json_text(cast("object", value))
    return str(value)


def _widths(names: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """How wide each column is, the widest narrowed until all fit; None where some could not be read."""
    from rich.cells import cell_len

    widths = [min(room, max(cell_len(name), *(cell_len(row[at]) for row in cells))) for at, name in enumerate(names)]
    gaps = GAP * (len(names) - 1)
    while sum(widths) + gaps > room:
        at = max(range(1, len(widths)), key=lambda each: widths[each], default=0)
        if at == 0 or widths[at] <= LEAST_CELLS:
            return None
        widths[at] -= 1
    return widths


def _print_lines(rows: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    from rich.cells import cell_len

    for row in rows:
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        typer.echo((" " * GAP).join(padded).rstrip())


def _grid(*, heads: bool = False) -> Table:
    from rich.table import Table

    return Table(
        box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=heads, header_style="bold", collapse_padding=True
    )


def _print_table(
    out: Console, names: Sequence[str], widths: Sequence[int], cells: Sequence[Sequence[str]], *, with_heads: bool
) -> None:
    table = _grid(heads=with_heads)
    for name, width in zip(names, widths, strict=True):
        table.add_column(name.upper(), width=width, overflow="fold")
    for row in cells:
        table.add_row(*map(_coloured, row))
    out.print(table)


def _print_fields(out: Console, fields: Mapping[str, str]) -> None:
    if out.is_terminal:
        out.print(_drawn(fields))
    else:
        width = max(map(len, fields), default=0) + GAP
        for name, text in fields.items():
            typer.echo(f"{name:<{width}}{text.replace(chr(10), chr(10) + ' ' * width)}")


def _coloured(text: str, style: str = "") -> Text:
    """Never as markup: a name may have brackets in it."""
    from rich.text import Text

    return Text(text, style=style or _STYLES.get(text, ""))
