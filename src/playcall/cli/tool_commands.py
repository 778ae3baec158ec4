"""`playcall tools …`: what agents can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .completion import tool_ids
from .confirming import Yes, confirm
from .connecting import AsJson, Explain, ProfileName, Url, connected
from .failing import FAILED, USAGE, fail
from .listing import Limit, NewestFirst
from .values import named_values, read_object

if TYPE_CHECKING:
    from ..client import Playcall
    from ..models.tool import Tool
    from .tables import Columns

__all__ = ["tools"]

tools = typer.Typer(help="What agents can do: built-in tools, and your own.", no_args_is_help=True)

Wanted = Annotated[str, typer.Argument(metavar="TOOL", help="Its id, or its name.", autocompletion=tool_ids)]


@tools.command(name="list")
def list_(
    kind: Annotated[str | None, typer.Option("--kind", help="Only those that are builtin, installed or http.")] = None,
    newest_first: NewestFirst = False,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """List the built-in tools and yours.

    Example: playcall tools list --kind http
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json, show_table

        found = client.tools.list(kind=kind, newest_first=newest_first, max_items=limit)
        if as_json:
            show_json(found)
            return
        columns: Columns[Tool] = {
            "id": lambda each: each.id,
            "name": lambda each: each.name,
            "kind": lambda each: each.kind,
            "description": lambda each: each.description,
        }
        show_table(found, columns, empty="no tools of this kind")


@tools.command()
def show(
    tool: Wanted, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Show a tool, and the parameters that it takes.

    Example: playcall tools show text.stats
    """
    with connected(url, profile, explain=explain) as client:
        _show(_found(client, tool), as_json)


@tools.command()
def register(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What agents call it; unique among your tools.")],
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="Your HTTP endpoint that does the work.")
    ] = None,
    implementation: Annotated[
        str | None, typer.Option("--implementation", metavar="NAME", help="Or a function that is installed there.")
    ] = None,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    method: Annotated[
        str | None, typer.Option("--method", metavar="VERB", help="How the endpoint is called; POST if left out.")
    ] = None,
    parameters_file: Annotated[
        Path | None,
        typer.Option(
            "--parameters", metavar="FILE", help="What the endpoint takes: a JSON schema, - for standard input."
        ),
    ] = None,
    defaults: Annotated[
        list[str] | None,
        typer.Option(
            "--default", metavar="NAME=VALUE", help="What every call starts from; JSON, or else text. Repeatable."
        ),
    ] = None,
    secret_headers_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-headers",
            metavar="FILE",
            help="A JSON object of headers for the endpoint, never shown again; - for standard input.",
        ),
    ] = None,
    timeout_seconds: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="How long a call may take.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Make an HTTP endpoint of yours, or a function that is installed at the backend, a tool; print its id.

    Example: playcall tools register weather --endpoint https://weather.example/now --default unit=celsius
    """
    if (endpoint is None) == (implementation is None):
        fail(USAGE, "give --endpoint URL for a tool of yours, or --implementation NAME for one that is installed there")
    if str(parameters_file) == str(secret_headers_file) == "-":
        fail(USAGE, "standard input can be --parameters or --secret-headers, not both")
    spec: dict[str, Any] = {  # Any: JSON
        "name": name,
        "kind": "installed" if endpoint is None else "http",
        "description": description,
        "url": endpoint,
        "implementation": implementation,
        "method": method,
        "parameters": None if parameters_file is None else read_object(parameters_file),
        "defaults": named_values(defaults, None, option="--default"),
        "secret_headers": None if secret_headers_file is None else read_object(secret_headers_file),
        "timeout_seconds": timeout_seconds,
    }
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        made = client.tools.register({key: value for key, value in spec.items() if value is not None})
        if as_json:
            show_json(made)
        else:
            typer.echo(made.id)


@tools.command()
def delete(
    tool: Wanted,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Delete a tool of yours.

    Example: playcall tools delete weather --yes
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        found = _found(client, tool)
        confirm(f"Delete the tool {found.name!r} ({found.id})?", yes=yes)
        client.tools.delete(found.id)
        if as_json:
            show_json({"id": found.id, "deleted": True})


@tools.command()
def health(
    tool: Wanted, as_json: AsJson = False, url: Url = None, profile: ProfileName = None, explain: Explain = False
) -> None:
    """Look whether a tool could be called just now; the exit status is 1 where it could not.

    Example: playcall tools health weather
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_fields, show_json

        found = _found(client, tool)
        seen = client.tools.health(found.id)
        if as_json:
            show_json(seen)
        else:
            latency = None if seen.latency_ms is None else f"{seen.latency_ms:.1f} ms"
            state = "healthy" if seen.healthy else "unhealthy"
            show_fields({"tool": found.name, "state": state, "message": seen.message, "latency": latency})
        if not seen.healthy:
            raise typer.Exit(FAILED)


@tools.command(name="test")
def try_(
    tool: Wanted,
    params: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; JSON, or else text. Repeatable."),
    ] = None,
    params_file: Annotated[
        Path | None,
        typer.Option("--params", metavar="FILE", help="A JSON object of parameters, - for standard input."),
    ] = None,
    wait_seconds: Annotated[
        float | None,
        typer.Option("--wait", min=0, max=30, metavar="SECONDS", help="How long to wait for it; 5 if left out."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Call a tool, and show what it gives. It is really called, with all that it does.

    Example: playcall tools test text.stats --param text="some words"
    """
    parameters = named_values(params, params_file, option="--param")
    with connected(url, profile, explain=explain) as client:
        from .tables import json_text, show_json
        from .terminal_text import lines

        given = client.tools.execute(_found(client, tool).id, parameters, wait_seconds=wait_seconds)
        if as_json:
            show_json(given)
        elif not given.finished:
            typer.echo(f"it goes on as a task: playcall tasks show {given.task_id}", err=True)
        else:
            output = given.output
            typer.echo(lines(output if isinstance(output, str) else json_text(output, indent=2)))


def _found(client: Playcall, wanted: str) -> Tool:
    from .finding import the_tool

    return the_tool(client, wanted)


def _show(tool: Tool, as_json: bool) -> None:
    from .tables import json_text, show_fields, show_json

    if as_json:
        show_json(tool)
        return
    show_fields(
        {
            "id": tool.id,
            "name": tool.name,
            "kind": tool.kind,
            "about": tool.description,
            "endpoint": None if tool.url is None else f"{tool.method} {tool.url}",
            "function": tool.implementation,
            "defaults": tool.defaults,
            "timeout": None if tool.timeout_seconds is None else f"{tool.timeout_seconds:g} s",
            "parameters": json_text(tool.parameters, indent=2) if tool.parameters else None,
        }
    )
