"""`playcall runs …`: how runs stand, what they say, and what they made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .completion import playbook_ids, run_ids
from .confirming import Yes, confirm
from .connecting import AsJson, Explain, ProfileName, Url, connected
from .failing import FAILED, USAGE, fail
from .listing import Limit

if TYPE_CHECKING:
    from ..client import Playcall
    from ..models.run import Artifact, LogLine, Run, RunStep
    from .tables import Columns

__all__ = ["runs"]

runs = typer.Typer(help="What playbooks have done and are doing: follow, steer and read runs.", no_args_is_help=True)

LINES_A_PAGE: Final = 1_000

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", autocompletion=run_ids)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")]


@runs.command(name="list")
def list_(
    status: Annotated[
        str | None,
        typer.Option("--status", help="Only those that are queued, running, paused, completed, failed or cancelled."),
    ] = None,
    playbook: Annotated[
        str | None,
        typer.Option("--playbook", metavar="PLAYBOOK", help="Only those of this one.", autocompletion=playbook_ids),
    ] = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="From the oldest; else from the newest.")
    ] = False,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """List your runs, the newest first.

    Example: playcall runs list --status running --limit 20
    """
    with connected(url, profile, explain=explain) as client:
        from .finding import the_playbook
        from .tables import show_json, show_table

        if playbook is not None:
            playbook = the_playbook(client, playbook).id
        found = client.runs.list(status=status, playbook=playbook, newest_first=not oldest_first, max_items=limit)
        if as_json:
            show_json(found)
            return
        columns: Columns[Run] = {
            "id": lambda each: each.id,
            "status": _standing,
            "playbook": lambda each: each.playbook_name,
            "steps": lambda each: f"{each.steps_finished}/{each.steps_total}",
            "created": lambda each: each.created_at,
        }
        show_table(found, columns, empty="no runs; playcall playbooks run PLAYBOOK starts one")


@runs.command()
def show(
    run: RunId, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Show a run: how it stands, and each of its steps.

    Example: playcall runs show run_1
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json, show_table

        found = client.runs.get(run)
        if as_json:
            show_json(
                {
                    **found.model_dump(mode="json"),
                    "steps": [each.model_dump(mode="json") for each in client.runs.steps(run)],
                }
            )
            return
        _show_fields(found)
        typer.echo()
        columns: Columns[RunStep] = {
            "step": lambda each: each.id,
            "status": lambda each: each.status,
            "took": lambda each: _took(each.started_at, each.ended_at),
            "error": lambda each: each.error.message if each.error else "",
        }
        show_table(client.runs.steps(run), columns)


@runs.command()
def watch(
    run: RunId, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Follow a run to its end; the exit status is 1 where it does not complete. Ctrl-C leaves it running, or cancels it.

    Example: playcall runs watch run_1
    """
    with connected(url, profile, explain=explain) as client:
        _follow(client, run, as_json)


@runs.command()
def cancel(
    run: RunId, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Ask for a run to be stopped; it is cancelled once its step has really ended. One that is cancelled may be told again.

    Example: playcall runs cancel run_1
    """
    with connected(url, profile, explain=explain) as client:
        from ..errors import RunEndedError
        from ..models.run import RunStatus

        try:
            asked = client.runs.cancel(run)
        except RunEndedError:
            asked = client.runs.get(run)
            if asked.status != RunStatus.CANCELLED:
                raise
        _say(asked, as_json)


@runs.command()
def pause(
    run: RunId, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Ask for a run to be paused; it is paused before its next step.

    Example: playcall runs pause run_1
    """
    with connected(url, profile, explain=explain) as client:
        _say(client.runs.pause(run), as_json)


@runs.command()
def resume(
    run: RunId, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Let a paused run go on.

    Example: playcall runs resume run_1
    """
    with connected(url, profile, explain=explain) as client:
        _say(client.runs.resume(run), as_json)


@runs.command()
def retry(
    run: RunId,
    watch: Watch = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Start a new run that takes over what this one finished, and print its id.

    Example: playcall runs retry run_1 --watch
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        begun = client.runs.retry(run)
        if watch:
            _follow(client, begun.id, as_json)
        elif as_json:
            show_json(begun)
        else:
            typer.echo(begun.id)


@runs.command()
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


@runs.command()
def artifacts(
    run: RunId,
    download: Annotated[
        str | None, typer.Option("--download", "-d", metavar="NAME", help="Fetch this one, rather than list them.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to; else here, under its own name.")
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
    with connected(url, profile, explain=explain) as client:
        from ..event_words import file_size
        from .tables import show_json, show_table

        if download is not None:
            from .downloading import download_artifact

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


@runs.command()
def delete(
    run: RunId,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Delete a run that has ended, with its tasks and files.

    Example: playcall runs delete run_1 --yes
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        confirm(f"Delete the run {run}, with its tasks and files?", yes=yes)
        client.runs.delete(run)
        if as_json:
            show_json({"id": run, "deleted": True})


def _follow(client: Playcall, run: str, as_json: bool) -> None:
    from ..models.run import RunStatus
    from .watching import watch_run

    if watch_run(client, run, as_json=as_json).status != RunStatus.COMPLETED:
        raise typer.Exit(FAILED)


def _say(run: Run, as_json: bool) -> None:
    from .tables import show_json

    if as_json:
        show_json(run)
    else:
        typer.echo(f"{run.id}  {_standing(run)}")


def _standing(run: Run) -> str:
    """What it is, and what somebody has asked of it that it has not obeyed yet."""
    return str(run.status) if run.wish is None else f"{run.status}, asked to {run.wish}"


def _took(started: datetime | None, ended: datetime | None) -> str:
    return "" if started is None or ended is None else f"{(ended - started).total_seconds():.1f} s"


def _show_fields(run: Run) -> None:
    from .tables import show_fields

    show_fields(
        {
            "id": run.id,
            "status": _standing(run),
            "playbook": f"{run.playbook_name} ({run.playbook_id}, version {run.playbook_version})",
            "steps": f"{run.steps_finished} of {run.steps_total}",
            "inputs": run.inputs,
            "output": run.output,
            "error": None if run.error is None else f"{run.error.message} ({run.error.code})",
            "retry of": run.retry_of,
            "created": run.created_at,
            "took": _took(run.started_at, run.ended_at),
        }
    )


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
