"""`playcall serve --check`: what a start would find, as a table."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .failing import FAILED
from .tables import show_json

if TYPE_CHECKING:
    from playcall.server.settings import Settings

__all__ = ["show_check"]

_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def show_check(settings: Settings, *, workers: int, as_json: bool) -> None:
    """Ends the command, with status 1 if a start would fail."""
    from playcall.server.running.check import Verdict, check

    findings = asyncio.run(check(settings, workers=workers))
    failed = sum(finding.verdict == Verdict.FAILED for finding in findings)
    if as_json:
        show_json({"would_start": not failed, "findings": [dataclasses.asdict(finding) for finding in findings]})
        raise typer.Exit(FAILED if failed else 0)
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.verdict, _STYLES[finding.verdict]), finding.subject, Text(finding.says))
    Console().print(table)
    typer.echo("playcall would start" if not failed else f"playcall would not start: {failed} of these failed")
    raise typer.Exit(FAILED if failed else 0)
