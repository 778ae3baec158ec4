"""`playcall agents …`: who does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .completion import agent_ids
from .confirming import Yes, confirm
from .connecting import AsJson, Explain, ProfileName, Url, connected
from .failing import USAGE, fail
from .listing import Limit, NewestFirst

if TYPE_CHECKING:
    from ..client import Playcall
    from ..models.agent import Agent
    from .tables import Columns

__all__ = ["agents"]

agents = typer.Typer(help="Who does the work: agents, and what they are allowed to use.", no_args_is_help=True)

Wanted = Annotated[str, typer.Argument(metavar="AGENT", help="Its id, or its name.", autocompletion=agent_ids)]
Kind = Annotated[str | None, typer.Option("--type", metavar="TEXT", help="What you call its kind; worker if left out.")]
Description = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]
Instructions = Annotated[
    str | None, typer.Option("--instructions", metavar="TEXT", help="What its model is told before each prompt.")
]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="The model that answers its prompts.")]
Tools = Annotated[list[str] | None, typer.Option("--tool", metavar="NAME", help="A tool that it may use. Repeatable.")]


@agents.command(name="list")
def list_(
    newest_first: NewestFirst = False,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """List your agents.

    Example: playcall agents list
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json, show_table

        found = client.agents.list(newest_first=newest_first, max_items=limit)
        if as_json:
            show_json(found)
            return
        columns: Columns[Agent] = {
            "id": lambda each: each.id,
            "name": lambda each: each.name,
            "state": lambda each: each.state,
            "type": lambda each: each.type,
            "tools": lambda each: each.tools,
        }
        show_table(found, columns, empty="no agents; playcall agents create NAME makes one")


@agents.command()
def show(
    agent: Wanted, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Show an agent.

    Example: playcall agents show Reader
    """
    with connected(url, profile, explain=explain) as client:
        _show(_found(client, agent), as_json)


@agents.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Unique among your agents.")],
    type: Kind = None,
    description: Description = None,
    instructions: Instructions = None,
    model: Model = None,
    tools: Tools = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Register an agent and print its id.

    Example: playcall agents create Reader --tool text.stats --tool files.read
    """
    fields = _given(type=type, description=description, instructions=instructions, model=model, tools=tools)
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        made = client.agents.create({"name": name, **fields})
        if as_json:
            show_json(made)
        else:
            typer.echo(made.id)


@agents.command()
def update(
    agent: Wanted,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Its new name.")] = None,
    type: Kind = None,
    description: Description = None,
    instructions: Instructions = None,
    model: Model = None,
    tools: Tools = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Change an agent: what is given, and nothing else; --tool replaces all of its tools.

    Example: playcall agents update Reader --tool text.stats
    """
    changes = _given(name=name, type=type, description=description, instructions=instructions, model=model, tools=tools)
    if not changes:
        fail(USAGE, "nothing is to be changed: give --name, --type, --description, --instructions, --model or --tool")
    with connected(url, profile, explain=explain) as client:
        found = _found(client, agent)
        _show(client.agents.update(found.id, changes, if_match=found.version), as_json)


@agents.command()
def delete(
    agent: Wanted,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Delete an agent that has nothing to do.

    Example: playcall agents delete Reader --yes
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        found = _found(client, agent)
        confirm(f"Delete the agent {found.name!r} ({found.id})?", yes=yes)
        client.agents.delete(found.id)
        if as_json:
            show_json({"id": found.id, "deleted": True})


@agents.command()
def start(
    agent: Wanted, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Let a stopped agent work again; what waited for it goes on.

    Example: playcall agents start Reader
    """
    with connected(url, profile, explain=explain) as client:
        _show(client.agents.start(_found(client, agent).id), as_json)


@agents.command()
def stop(
    agent: Wanted, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Give an agent no new work; what it is doing it finishes.

    Example: playcall agents stop Reader
    """
    with connected(url, profile, explain=explain) as client:
        _show(client.agents.stop(_found(client, agent).id), as_json)


@agents.command()
def tasks(
    agent: Wanted,
    newest_first: NewestFirst = False,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """List the tasks of an agent.

    Example: playcall agents tasks Reader --newest-first --limit 10
    """
    with connected(url, profile, explain=explain) as client:
        from .task_commands import show_tasks

        found = _found(client, agent)
        show_tasks(client.agents.tasks(found.id, newest_first=newest_first, max_items=limit), as_json)


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _found(client: Playcall, wanted: str) -> Agent:
    from .finding import the_agent

    return the_agent(client, wanted)


def _show(agent: Agent, as_json: bool) -> None:
    from .tables import show_fields, show_json

    if as_json:
        show_json(agent)
        return
    show_fields(
        {
            "id": agent.id,
            "name": agent.name,
            "state": agent.state,
            "type": agent.type,
            "about": agent.description,
            "instructions": agent.instructions,
            "model": agent.model,
            "tools": agent.tools,
            "changed": agent.updated_at,
        }
    )
