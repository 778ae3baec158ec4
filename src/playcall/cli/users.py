"""`playcall users …`: who may use a backend. On the database itself, so it needs no credentials and no running server."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from .confirming import Yes, confirm
from .connecting import AsJson
from .failing import FAILED, fail, needing_backend
from .secret_prompt import ask_secret

if TYPE_CHECKING:
    from playcall.server.store.database import Database

__all__ = ["users"]

T = TypeVar("T")

users = typer.Typer(
    help="Who may use a backend: add, list, disable and remove users. Run it where the backend's database is.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder that the server was started with.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        envvar="PLAYCALL_DATABASE_URL",
        help="The server's PostgreSQL, where it has one. The variable keeps its password out of the list of processes.",
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Take the password from this file's first line, - for standard input."),
]
DATA = Path("playcall-data")


@users.command()
def add(
    name: Name,
    data: Data = DATA,
    database_url: DatabaseUrl = None,
    password_file: PasswordFile = None,
    api_key: Annotated[
        bool, typer.Option("--api-key", help="No password: print an API key, once. For programs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a user. Asks for the password, unless told where it is, or to make an API key instead.

    Example: playcall users add ann
    """
    with needing_backend():
        from playcall.server.auth.users import add_user

        password = None if api_key else _password(password_file)
        secret = _on_database(data, database_url, lambda database: add_user(database, name, password))
        if as_json:
            typer.echo(json.dumps({"name": name, "api_key": secret}))
        elif secret is not None:
            typer.echo(f"API key of {name}, shown this once: {secret}")


@users.command(name="list")
def list_(
    data: Data = DATA,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List users, in the order of their making.

    Example: playcall users list
    """
    with needing_backend():
        from playcall.server.auth.users import list_users

        for user in _on_database(data, database_url, list_users):
            if as_json:
                facts = {
                    "name": user.name,
                    "created_at": user.created_at.isoformat(),
                    "disabled_at": user.disabled_at.isoformat() if user.disabled_at else None,
                    "has_password": user.has_password,
                    "api_keys": user.api_keys,
                }
                typer.echo(json.dumps(facts))
            else:
                keys = f"{user.api_keys} API key{'' if user.api_keys == 1 else 's'}"
                has = f"password, {keys}" if user.has_password else keys
                typer.echo(f"{user.name}  ({has}{', disabled' if user.disabled_at else ''})")


@users.command()
def disable(name: Name, data: Data = DATA, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Refuse a user from now on; their open connections close within seconds. What is theirs stays, and runs go on.

    Example: playcall users disable ann
    """
    with needing_backend():
        from playcall.server.auth.users import disable_user

        _on_database(data, database_url, lambda database: disable_user(database, name))
    _done(name, "disabled", as_json)


@users.command()
def enable(name: Name, data: Data = DATA, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Let a user in again who was disabled.

    Example: playcall users enable ann
    """
    with needing_backend():
        from playcall.server.auth.users import enable_user

        _on_database(data, database_url, lambda database: enable_user(database, name))
    _done(name, "enabled", as_json)


@users.command(name="set-password")
def set_password_(
    name: Name,
    data: Data = DATA,
    database_url: DatabaseUrl = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a user another password. Whoever is signed in with the old one is not any more; API keys stay.

    Example: playcall users set-password ann
    """
    with needing_backend():
        from playcall.server.auth.users import set_password

        password = _password(password_file)
        _on_database(data, database_url, lambda database: set_password(database, name, password))
    _done(name, "password_set", as_json)


@users.command()
def remove(
    name: Name,
    data: Data = DATA,
    database_url: DatabaseUrl = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove a user who was disabled, with their playbooks, runs, files, and all else of theirs. It cannot be undone.

    Example: playcall users remove ann
    """
    confirm(f"Remove {name} and all that is theirs?", yes=yes)
    with needing_backend():
        from playcall.server.auth.users import remove_user
        from playcall.server.settings import Settings

        folder = Settings(data_dir=data.absolute()).workspaces_dir
        for workspace in _on_database(data, database_url, lambda database: remove_user(database, name)):
            shutil.rmtree(folder / workspace, ignore_errors=True)
    _done(name, "removed", as_json)


def _done(name: str, what: str, as_json: bool) -> None:
    """People see that it was done by there being no complaint; programs are told."""
    if as_json:
        typer.echo(json.dumps({"name": name, what: True}))


def _password(file: Path | None) -> str:
    """Never from an argument: those stand in the list of processes, and in the shell's history."""
    if file is None:
        if not sys.stdin.isatty():
            fail(FAILED, "there is no terminal to ask for the password; give --password-file, - for standard input")
        return ask_secret("Password", twice=True)
    try:
        text = (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode()
    except (OSError, UnicodeDecodeError) as error:
        fail(FAILED, f"the password file {file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}")
    first, _, _ = text.partition("\n")
    return first.removesuffix("\r")


def _on_database(data: Path, url: str | None, do: Callable[[Database], Awaitable[T]]) -> T:
    """Ends the command with a sentence where it cannot be done."""
    import asyncio

    from sqlalchemy.exc import DBAPIError

    from playcall.server.auth.passwords import UnfitPasswordError
    from playcall.server.auth.users import UserError, require_current
    from playcall.server.running.database_url import postgresql_url
    from playcall.server.running.starting import StartupError
    from playcall.server.settings import Settings
    from playcall.server.store.database import Database
    from playcall.server.store.dialect import CONNECT_ERRORS

    async def run(address: str) -> T:
        database = Database.at(address)
        try:
            await require_current(database)
            return await do(database)
        finally:
            await database.close()

    try:
        if url is not None:
            address = postgresql_url(url)
        else:
            path = Settings(data_dir=data.absolute()).database_path
            if not os.access(path, os.R_OK | os.W_OK):
                fail(FAILED, f"there is no database {path} to write to; --data is the folder that the server uses")
            address = f"sqlite+aiosqlite:///{path}"
        return asyncio.run(run(address))
    except (UserError, UnfitPasswordError, StartupError) as error:
        fail(FAILED, str(error))
    except DBAPIError as error:
        fail(FAILED, f"the database cannot be used: {error.orig}")
    except CONNECT_ERRORS as error:
        fail(FAILED, f"the database cannot be reached: {error or 'it does not answer'}")
