"""`playcall playbooks …`: store, check, list and run playbooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failing import FAILED, USAGE, fail, in_one_sentence

if TYPE_CHECKING:
    from ..client import Playcall

__all__ = ["playbooks"]

playbooks = typer.Typer(
    help="Store, check, list and run playbooks. The key is read from PLAYCALL_API_KEY.", no_args_is_help=True
)

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The backend; PLAYCALL_URL, or http://127.0.0.1:8000, if left out."),
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A playbook in YAML or JSON.", show_default=False)]


@playbooks.command()
def create(file: File, url: Url = None) -> None:
    """Store the playbook in FILE and print its id.

    Example: playcall playbooks create report.yaml
    """
    with in_one_sentence(), _client(url) as client:
        typer.echo(client.playbooks.create_from_file(file).id)


@playbooks.command()
def validate(file: File, url: Url = None) -> None:
    """Check the playbook in FILE without storing it; every mistake is shown.

    Example: playcall playbooks validate report.yaml
    """
    with in_one_sentence(), _client(url) as client:
        from ..http.field_problems import describe

        found = client.playbooks.validate(_text(file))
        for mistake in found.errors:
            typer.echo(f"  {describe(mistake)}", err=True)
        if not found.valid:
            fail(FAILED, f"{file} has {len(found.errors)} mistake{'' if len(found.errors) == 1 else 's'}")
        typer.echo("valid")


@playbooks.command(name="list")
def list_(
    url: Url = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only those with this tag.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List your playbooks, oldest first.

    Example: playcall playbooks list --tag docs
    """
    with in_one_sentence(), _client(url) as client:
        for playbook in client.playbooks.list(tag=tag):
            typer.echo(playbook.model_dump_json() if as_json else f"{playbook.id}  {playbook.name}")


@playbooks.command()
def run(
    playbook_id: Annotated[str, typer.Argument(metavar="ID", help="The playbook's id.", show_default=False)],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=VALUE", help="A value for an input; JSON, or else text. Repeatable."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Print each event, until the run ends.")] = False,
    url: Url = None,
) -> None:
    """Start a run and print its id; with --watch, follow it to its end.

    Example: playcall playbooks run pb_1 --input path=src --watch
    """
    values = dict(_input(each) for each in inputs or [])
    with in_one_sentence(), _client(url) as client:
        started = client.playbooks.run(playbook_id, inputs=values)
        typer.echo(started.id)
        if not watch:
            return
        for event in client.runs.watch(started.id, start="start"):
            typer.echo(event.type)
        client.runs.wait(started.id, check=True)


def _client(url: str | None) -> Playcall:
    from ..client import Playcall

    return Playcall(url)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        fail(USAGE, f"the playbook file {file} cannot be read: {(error.strerror or str(error)).lower()}")
    except UnicodeDecodeError:
        fail(USAGE, f"the playbook file {file} is not UTF-8 text")


def _input(pair: str) -> tuple[str, Any]:  # Any: whatever JSON it is
    name, equals, value = pair.partition("=")
    if not name or not equals:
        fail(USAGE, f"--input takes NAME=VALUE, got {pair!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
