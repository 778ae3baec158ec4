"""`playcall serve`: the backend, on this machine."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .failing import FAILED, fail

if TYPE_CHECKING:
    from playcall.server.serving import Started

__all__ = ["serve"]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on. 0.0.0.0 listens on all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 8000,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder for everything that is kept; made if missing.")
    ] = Path("playcall-data"),
    read_root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder that file tools may read, besides each run's own. Repeatable."),
    ] = None,
    heartbeat_seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="Ping realtime clients after so long a silence.")
    ] = 15.0,
    access_token_seconds: Annotated[int, typer.Option(min=1, help="How long access tokens live.")] = 900,
    event_retention_days: Annotated[
        float, typer.Option(min=0, help="How long events, log lines among them, are kept; 0 keeps them for ever.")
    ] = 7.0,
    allow_private_addresses: Annotated[
        bool, typer.Option(help="Let HTTP tools call addresses that are not public, this machine's own among them.")
    ] = False,
    admin_password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="At the first start, give `admin` the password in this file's first line."),
    ] = None,
    new_epoch: Annotated[
        bool,
        typer.Option(
            "--new-epoch",
            help="After putting back a copy of the whole data folder, or of the machine: tell realtime clients that what "
            "they have seen may not be what is here. For this one start; a database that was put back alone is noticed.",
        ),
    ] = False,
    announce: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Once it serves, write one line of JSON there for a program that waits: url, port, pid, api_key "
            "(null unless this was the first start). The file appears whole, readable by its owner only.",
        ),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error; to standard error.")] = "warning",
) -> None:
    """Serve the backend until Ctrl-C or SIGTERM.

    The first start in a folder makes the user `admin` and prints an API key, once. Runs that a crash interrupted go on
    by themselves.
    """
    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is None:
        raise typer.BadParameter("log level is debug, info, warning or error", param_hint="--log-level")
    try:
        from playcall.server.engine import Engine
        from playcall.server.serving import StartupError
        from playcall.server.serving import serve as run
        from playcall.server.settings import Settings
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("playcall"):
            raise
        fail(FAILED, f"{error.name} is missing; the backend needs: pip install 'playcall[server]'")
    if announce is not None and not os.access(announce.absolute().parent, os.W_OK | os.X_OK):
        # Now, not when the one API key has been made and could not be told.
        fail(FAILED, f"{announce} cannot be written: its folder is missing or not writable")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")

    def started(facts: Started) -> None:
        if announce is not None:
            try:
                _announce(announce, facts)
            except OSError as error:
                raise StartupError(f"{announce} cannot be written: {error.strerror}") from None
        typer.echo(f"playcall serves at {facts.url}")
        if facts.api_key is not None:
            typer.echo(f"API key of {facts.username}, shown this once: {facts.api_key}")

    try:
        settings = Settings(
            data_dir=data.absolute(),
            host=host,
            port=port,
            read_roots=tuple(root.resolve() for root in read_root or ()),
            heartbeat_seconds=heartbeat_seconds,
            access_token_seconds=access_token_seconds,
            event_retention_seconds=event_retention_days * 86_400 or None,
            allow_private_addresses=allow_private_addresses,
            new_epoch=new_epoch,
            admin_password=None if admin_password_file is None else _first_line(admin_password_file),
        )
        run(
            settings,
            engine=lambda database, fixed: Engine(database=database, settings=fixed),
            on_started=started,
        )
    except StartupError as error:
        fail(FAILED, str(error))


def _announce(file: Path, started: Started) -> None:
    """Written beside and renamed: whoever waits for the file finds it whole or not at all."""
    line = json.dumps({"url": started.url, "port": started.port, "pid": os.getpid(), "api_key": started.api_key})
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(line + "\n")
    draft.replace(file)


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        fail(FAILED, f"the password file {file} cannot be read: {reason}")
    if not lines or not lines[0]:
        fail(FAILED, f"the password file {file} has no first line")
    return lines[0]
