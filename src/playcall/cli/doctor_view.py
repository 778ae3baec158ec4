"""The doctor's findings as tables: problems first."""

from __future__ import annotations

from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .doctor_checks import NOT_LOOKED_AT
from .doctor_contract import Drift
from .doctor_findings import Diagnosis, Verdict
from .terminal_text import one_line

__all__ = ["show"]

_ORDER: Final[tuple[Verdict, ...]] = ("problem", "note", "good", "skipped")
_LOOKS: Final[dict[Verdict, str]] = {"problem": "bold red", "note": "yellow", "good": "green", "skipped": "dim"}
MOST_DRIFTS: Final = 60
"""More than these say the same again: that it is another backend."""


def show(diagnosis: Diagnosis, console: Console | None = None) -> None:
    console = console or Console(highlight=False)
    table = _table(diagnosis.url, "check", "", "found", "what to do")
    looked_at = [finding for finding in diagnosis.findings if finding.figure != NOT_LOOKED_AT]
    for finding in sorted(looked_at, key=lambda each: _ORDER.index(each.verdict)):
        table.add_row(
            _cell(finding.check),
            _cell(finding.verdict, _LOOKS[finding.verdict]),
            _cell(finding.figure),
            _cell(finding.advice),
        )
    console.print(table)
    rest = [finding.check for finding in diagnosis.findings if finding.figure == NOT_LOOKED_AT]
    if rest:
        console.print(Text(f"{NOT_LOOKED_AT}: {', '.join(rest)}\n", "dim"))
    _show_serious(console, [drift for drift in diagnosis.drifts if drift.matters])
    _show_others(console, [drift for drift in diagnosis.drifts if not drift.matters])
    problems = sum(finding.verdict == "problem" for finding in diagnosis.findings)
    if problems:
        console.print(Text(f"{problems} problem{'' if problems == 1 else 's'}", "bold red"))
    else:
        console.print(Text("all is well", "bold green"))


def _show_serious(console: Console, drifts: list[Drift]) -> None:
    if not drifts:
        return
    table = _table("different there, in what this client needs", "operation", "where", "what", "used by")
    for drift in drifts[:MOST_DRIFTS]:
        table.add_row(*map(_cell, (drift.operation, drift.where, drift.what, ", ".join(drift.used_by))))
    console.print(table)
    if len(drifts) > MOST_DRIFTS:
        console.print(f"… and {len(drifts) - MOST_DRIFTS} more\n")


def _show_others(console: Console, drifts: list[Drift]) -> None:
    """The same of many operations is one line."""
    if not drifts:
        return
    grouped: dict[str, list[Drift]] = {}
    for drift in drifts:
        grouped.setdefault(drift.what, []).append(drift)
    table = _table("different there, and no matter", "what", "of")
    for what, some in grouped.items():
        first = f"{some[0].operation} {some[0].where}".rstrip()
        table.add_row(_cell(what), _cell(first if len(some) == 1 else f"{first}, and {len(some) - 1} more"))
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, title=_cell(title), title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(text: str, style: str = "") -> Text:
    """What strangers say, as what it is: neither Rich nor the terminal obeys any of it."""
    return Text(one_line(text), style)
