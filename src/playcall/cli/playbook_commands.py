"""`playcall playbooks …`: store, check, list and run playbooks."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from .completion import playbook_ids
from .confirming import Yes, confirm
from .connecting import AsJson, Explain, ProfileName, Url, connected
from .failing import FAILED, fail
from .listing import Limit, NewestFirst
from .mistakes import Source, counted, show_mistakes
from .values import named_values, read_text

if TYPE_CHECKING:
    from ..client import Playcall
    from ..models.playbook import Playbook
    from .tables import Columns

__all__ = ["playbooks"]

STDIN: Final = Path("-")

playbooks = typer.Typer(help="What can be run: store, check, list and run playbooks.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A playbook in YAML or JSON, - for YAML on standard input.")]
Wanted = Annotated[str, typer.Argument(metavar="PLAYBOOK", help="Its id, or its name.", autocompletion=playbook_ids)]


@playbooks.command(name="list")
def list_(
    text: Annotated[str | None, typer.Option("--text", help="Only those with this in the name or description.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only those with this tag.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only those with this agent.")] = None,
    newest_first: NewestFirst = False,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """List your playbooks.

    Example: playcall playbooks list --tag docs
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json, show_table

        found = client.playbooks.list(text=text, tag=tag, agent=agent, newest_first=newest_first, max_items=limit)
        if as_json:
            show_json(found)
        else:
            columns: Columns[Playbook] = {
                "id": lambda each: each.id,
                "name": lambda each: each.name,
                "steps": lambda each: len(each.steps),
                "tags": lambda each: each.tags,
                "changed": lambda each: each.updated_at,
            }
            show_table(found, columns, empty="no playbooks; playcall playbooks create FILE stores one")


@playbooks.command()
def show(
    playbook: Wanted,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Show a playbook: what it takes, who works in it, and its steps.

    Example: playcall playbooks show "Find work"
    """
    with connected(url, profile, explain=explain) as client:
        found = _found(client, playbook)
        if as_json:
            from .tables import show_json

            show_json(found)
        else:
            _show(found)


@playbooks.command()
def create(
    file: File,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Store the playbook in FILE and print its id; of mistakes in it, all are shown, each where it stands.

    Example: playcall playbooks create report.yaml
    """
    source = _source(file)
    with connected(url, profile, explain=explain, source=source) as client:
        from .tables import show_json

        spec = _spec(source)
        made = client.playbooks.create_from_yaml(spec) if isinstance(spec, str) else client.playbooks.create(spec)
        if as_json:
            show_json(made)
        else:
            typer.echo(made.id)


@playbooks.command()
def validate(
    file: File,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Check the playbook in FILE without storing it; every mistake is shown, each where it stands.

    Example: playcall playbooks validate report.yaml
    """
    source = _source(file)
    with connected(url, profile, explain=explain, source=source) as client:
        found = client.playbooks.validate(_spec(source))
        if as_json:
            from .tables import show_json

            show_json(found)
            if not found.valid:
                raise typer.Exit(FAILED)
            return
        show_mistakes(found.errors, source)
        if not found.valid:
            fail(FAILED, f"{source.name} has {counted(found.errors)}")
        typer.echo("valid")


@playbooks.command()
def delete(
    playbook: Wanted,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Delete a playbook; runs of it stay.

    Example: playcall playbooks delete "Find work" --yes
    """
    with connected(url, profile, explain=explain) as client:
        from .tables import show_json

        found = _found(client, playbook)
        confirm(f"Delete the playbook {found.name!r} ({found.id})?", yes=yes)
        client.playbooks.delete(found.id)
        if as_json:
            show_json({"id": found.id, "deleted": True})


@playbooks.command()
def run(
    playbook: Wanted,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=VALUE", help="A value for an input; JSON, or else text. Repeatable."
        ),
    ] = None,
    inputs_file: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="FILE", help="A JSON object with values, - for standard input."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    profile: ProfileName = None,
    explain: Explain = False,
) -> None:
    """Start a run and print its id; with --watch, follow it to its end.

    Example: playcall playbooks run "Find work" --input path=src --watch
    """
    values = named_values(inputs, inputs_file, option="--input")
    with connected(url, profile, explain=explain) as client:
        started = client.playbooks.run(_found(client, playbook).id, inputs=values)
        if not watch:
            from .tables import show_json

            if as_json:
                show_json(started)
            else:
                typer.echo(started.id)
            return
        from .watching import watch_to_completion

        watch_to_completion(client, started.id, as_json=as_json)


def _found(client: Playcall, wanted: str) -> Playbook:
    from .finding import the_playbook

    return the_playbook(client, wanted)


def _source(file: Path) -> Source:
    return Source("standard input" if file == STDIN else str(file), read_text(file, what="playbook"))


def _spec(source: Source) -> str | dict[str, Any]:  # Any: JSON
    """The text as YAML, which JSON is as well, and of which each mistake has its place; an object where only JSON will do."""
    if "\\ud" in source.text.lower():  # half of a character (RFC 8259 section 7), which YAML does not know
        with suppress(ValueError, RecursionError):
            value: object = json.loads(source.text)
            if isinstance(value, dict):
                return cast("dict[str, Any]", value)
    return source.text


def _show(playbook: Playbook) -> None:
    from ..models.playbook import InputSpec
    from .tables import show_fields, show_table

    show_fields(
        {
            "id": playbook.id,
            "name": playbook.name,
            "about": playbook.description,
            "tags": playbook.tags,
            "agents": playbook.agents,
            "version": playbook.version,
            "changed": playbook.updated_at,
        }
    )
    if playbook.inputs:
        rows: list[tuple[str, str, object, str]] = []
        for name, spec in playbook.inputs.items():
            if isinstance(spec, InputSpec):
                rows.append((name, spec.type, "required" if spec.is_required else spec.default, spec.description))
            else:
                rows.append((name, spec.type, None, ""))  # of a type that only a newer version knows
        inputs: Columns[tuple[str, str, object, str]] = {
            "input": lambda each: each[0],
            "type": lambda each: each[1],
            "default": lambda each: each[2],
            "about": lambda each: each[3],
        }
        typer.echo()
        show_table(rows, inputs)
    steps: Columns[Any] = {  # Any: one class for each type of step, and one for those that are not known
        "step": lambda each: each.id,
        "type": lambda each: each.type,
        "about": lambda each: getattr(each, "description", ""),
    }
    typer.echo()
    show_table(playbook.steps, steps)
