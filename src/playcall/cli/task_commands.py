"""`playcall tasks …`: one operation for one agent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import agent_ids, task_ids
from .confirming import Yes, confirm
from .connecting import AsJson, Explain, ProfileName, Url, connected
from .failing import FAILED, fail
from .listing import Limit, NewestFirst
from .values import named_values

if TYPE_CHECKING:
    from ..models.task import Task
    from .tables import Columns

__all__ = ["show_tasks", "tasks"]

tasks = typer.Typer(help="Single operations of agents: those of runs, and your own.", no_args_is_help=True)

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.", autocompletion=task_ids)]


@tasks.command(name="list")
def list_(
    status: Annotated[
        str | None,
        typer.Option("--status", help="Only those that are queued, running, completed, failed or cancelled."),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="AGENT", help="Only those of this agent.", autocompletion=agent_ids),
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only those of this run.")] = None,
    newest_first: NewestFirst = False,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """List tasks.

    Example: playcall tasks list --status failed --newest-first --limit 20
    """
    with connected(url, profile, explain=explain) as client:
        from .finding import the_agent

        if agent is not None:
            agent = the_agent(client, agent).id
        found = client.tasks.list(status=status, agent=agent, run=run, newest_first=newest_first, max_items=limit)
        show_tasks(found, as_json)


@tasks.command()
def show(
    task: TaskId, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Show a task, with what went in and what came out.

    Example: playcall tasks show task_1
    """
    with connected(url, profile, explain=explain) as client:
        _show(client.tasks.get(task), as_json)


@tasks.command()
def create(
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="Who is to do it: an id, or a name.", autocompletion=agent_ids)
    ],
    operation: Annotated[
        str, typer.Argument(metavar="OPERATION", help="One of the agent's tools; with a model, also prompt:TEXT.")
    ],
    params: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; JSON, or else text. Repeatable."),
    ] = None,
    params_file: Annotated[
        Path | None,
        typer.Option("--params", metavar="FILE", help="A JSON object of parameters, - for standard input."),
    ] = None,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    timeout_seconds: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="How long it may take.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Give an agent something to do and print the task's id; it is not waited for.

    Example: playcall tasks create Reader text.stats --param text="some words"
    """
    parameters = named_values(params, params_file, option="--param")
    with connected(url, profile, explain=explain) as client:
        from ..errors import AgentNotFoundError
        from .tables import show_json

        spec: dict[str, object] = {"agent": agent, "operation": operation, "parameters": parameters}
        if description:
            spec["description"] = description
        if timeout_seconds is not None:
            spec["timeout_seconds"] = timeout_seconds
        try:
            made = client.tasks.create(spec)
        except AgentNotFoundError:
            fail(FAILED, f"no agent has the id or the name {agent!r}")
        if as_json:
            show_json(made)
        else:
            typer.echo(made.id)


@tasks.command()
def cancel(
    task: TaskId, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Ask for a task to be stopped; it is cancelled once its tool has really stopped.

    Example: playcall tasks cancel task_1
    """
    with connected(url, profile, explain=explain) as client:
        _show(client.tasks.cancel(task), as_json)


@tasks.command()
def delete(
    task: TaskId,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Delete a task that has ended and belongs to no run.

    Example: playcall tasks delete task_1 --yes
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        confirm(f"Delete the task {task}?", yes=yes)
        client.tasks.delete(task)
        if as_json:
            show_json({"id": task, "deleted": True})


def show_tasks(found: Iterable[Task], as_json: bool) -> None:
    from .tables import show_json, show_table

    if as_json:
        show_json(found)
        return
    columns: Columns[Task] = {
        "id": lambda each: each.id,
        "status": lambda each: each.status,
        "operation": lambda each: each.operation,
        "agent": lambda each: each.agent,
        "run": lambda each: each.run_id,
        "created": lambda each: each.created_at,
    }
    show_table(found, columns, empty="no tasks")


def _show(task: Task, as_json: bool) -> None:
    from .tables import show_fields, show_json

    if as_json:
        show_json(task)
        return
    show_fields(
        {
            "id": task.id,
            "status": task.status,
            "operation": task.operation,
            "agent": task.agent,
            "about": task.description,
            "run": task.run_id,
            "step": task.step_id,
            "parameters": task.parameters,
            "output": task.output,
            "error": None if task.error is None else f"{task.error.message} ({task.error.code})",
            "created": task.created_at,
            "started": task.started_at,
            "ended": task.ended_at,
            "timeout": None if task.timeout_seconds is None else f"{task.timeout_seconds:g} s",
        }
    )
