"""`playcall runs …`: how runs stand, and what is to become of them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import playbook_ids
from .confirming import Yes, confirm
from .connecting import AsJson, Explain, ProfileName, Url, connected
from .listing import Limit
from .run_outputs import RunId, artifacts, logs

if TYPE_CHECKING:
    from ..models.run import Run, RunStep
    from .tables import Columns

__all__ = ["runs"]

runs = typer.Typer(help="What playbooks have done and are doing: follow, steer and read runs.", no_args_is_help=True)

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
        from .watching import watch_to_completion

        watch_to_completion(client, run, as_json=as_json)


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
            from .watching import watch_to_completion

            watch_to_completion(client, begun.id, as_json=as_json)
        elif as_json:
            show_json(begun)
        else:
            typer.echo(begun.id)


runs.command()(logs)
runs.command()(artifacts)


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
