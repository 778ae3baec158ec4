"""`playcall runs logs` and `artifacts`: what a run says and makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .completion import run_ids
from .connecting import AsJson, Explain, ProfileName, Url, connected
from .failing import USAGE, fail
from .listing import Limit

if TYPE_CHECKING:
    from ..client import Playcall
    from ..models.run import Artifact, LogLine
    from .tables import Columns

__all__ = ["RunId", "artifacts", "logs"]

LINES_A_PAGE: Final = 1_000

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", autocompletion=run_ids)]


def logs(
    run: RunId,
    level: Annotated[str, typer.Option("--level", help="This and above: debug, info, warning or error.")] = "debug",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Print what a run has logged, the oldest first.

    Example: playcall runs logs run_1 --level warning --follow
    """
    from ..models.run import LogLevel

    if level not in list(LogLevel):
        fail(USAGE, f"--level is one of {', '.join(LogLevel)}, got {level!r}")
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        lines = (
            _followed_lines(client, run, LogLevel(level))
            if follow
            else client.runs.logs(run, level=level, page_size=LINES_A_PAGE, max_items=limit)
        )
        for number, line in enumerate(lines, 1):
            if as_json:
                show_json(line)
            else:
                _print(line)
            if number == limit:
                break


def artifacts(
    run: RunId,
    download: Annotated[
        str | None, typer.Option("--download", "-d", metavar="NAME", help="Fetch this one, rather than list them.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Where to, - for standard output; else here, under its own name."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """List a run's files, or fetch one: piece by piece, going on where it broke off, and whole or not at all.

    Example: playcall runs artifacts run_1 --download report.md --to report.md
    """
    if to is not None and download is None:
        fail(USAGE, "--to goes with --download NAME")
    if to == Path("-") and as_json:
        fail(USAGE, "standard output is for the file, or for --json: give one of them")
    with connected(url, profile, explain=explain) as client:
        from ..event_words import file_size
        from .tables import show_json, show_table

        if download is not None:
            from .downloading import download_artifact, print_artifact

            if to == Path("-"):
                print_artifact(client, run, download)
                return
            path = download_artifact(client, run, download, to)
            if as_json:
                show_json({"name": download, "path": str(path), "size_bytes": path.stat().st_size})
            else:
                typer.echo(path)
            return
        found = client.runs.artifacts(run)
        if as_json:
            show_json(found)
            return
        columns: Columns[Artifact] = {
            "name": lambda each: each.name,
            "size": lambda each: file_size(each.size_bytes),
            "type": lambda each: each.media_type,
            "made by": lambda each: each.step_id,
        }
        show_table(found, columns, empty="no files")


def _followed_lines(client: Playcall, run: str, least: str) -> Iterator[LogLine]:
    """Those there are, then those that come; lines that were lost for good are told on stderr."""
    from ..models.event import RunLogData
    from ..models.run import LogLevel, LogLine
    from ..models.topic import run_topic
    from ..realtime.items import Gap

    levels: list[str] = list(LogLevel)
    shown = levels[levels.index(least) :]
    types = ["run.log", "run.completed", "run.failed", "run.cancelled"]
    with client.events.subscribe(run_topic(run), types=types, start="start", on_gap="yield") as feed:
        for item in feed:
            if isinstance(item, Gap):
                typer.echo(f"playcall: lines are missing here: {item.reason}", err=True)
            elif isinstance(item.data, RunLogData) and (item.data.level in shown or item.data.level not in levels):
                said = item.data
                yield LogLine(
                    seq=item.seq,
                    at=item.time,
                    level=said.level,
                    message=said.message,
                    step_id=said.step_id,
                    task_id=said.task_id,
                )


def _print(line: LogLine) -> None:
    from .terminal_text import lines, one_line

    head = f"{line.at.astimezone():%H:%M:%S} {one_line(line.level):<7}"
    step = f" {one_line(line.step_id)}:" if line.step_id else ""
    typer.echo(f"{head}{step} {lines(line.message).rstrip()}")
