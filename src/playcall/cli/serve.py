"""`playcall serve`: the backend, on this machine."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .failing import FAILED, USAGE, fail, needing_backend

if TYPE_CHECKING:
    from playcall.server.running.starting import Started
    from playcall.server.settings import Settings

__all__ = ["serve"]

DATABASE_URL_VARIABLE = "PLAYCALL_DATABASE_URL"
MIN_TOKEN_CHARACTERS = 16
"""Attempts are not counted."""
MODEL_API_KEY_VARIABLE = "PLAYCALL_MODEL_API_KEY"
MAX_DAYS = 36_500
"""Longer is for ever, which is said by 0; and no date is so long ago."""
MAX_REQUESTS_PER_SECOND = 1e9
"""No process answers more, and infinity is said by 0."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on. 0.0.0.0 listens on all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 8000,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder for everything that is kept; made if missing.")
    ] = Path("playcall-data"),
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=DATABASE_URL_VARIABLE,
            help="postgresql://user:password@host/database, instead of a file in the data folder. Arguments are seen by "
            "everybody on this machine: with a password in it rather use the variable, or --database-url-file.",
        ),
    ] = None,
    database_url_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The database URL is the first line of this file.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="Processes that share the address and the work; more than one need PostgreSQL."
        ),
    ] = 1,
    lease_seconds: Annotated[
        float,
        typer.Option(
            min=1,
            max=3_600,
            help="A process that was not heard of for so long is taken for dead; others go on with its runs.",
        ),
    ] = 10.0,
    max_at_once: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many runs of one user, and tasks of each of their agents, are worked on at the same time, by all processes "
            "together.",
        ),
    ] = 32,
    read_root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder that file tools may read, besides each run's own. Repeatable."),
    ] = None,
    heartbeat_seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="Ping realtime clients after so long a silence.")
    ] = 15.0,
    access_token_seconds: Annotated[int, typer.Option(min=1, help="How long access tokens live.")] = 900,
    event_retention_days: Annotated[
        float,
        typer.Option(
            min=0,
            max=MAX_DAYS,
            help="How long events, log lines among them, are kept; 0 keeps them for ever.",
        ),
    ] = 7.0,
    run_retention_days: Annotated[
        float,
        typer.Option(
            min=0,
            max=MAX_DAYS,
            help="How long runs, and tasks without one, are kept after their end, with their files; 0 keeps them for ever.",
        ),
    ] = 0.0,
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
    requests_per_second: Annotated[
        float,
        typer.Option(
            min=0,
            max=MAX_REQUESTS_PER_SECOND,
            help="What one user may ask of a process in the long run; five seconds of it at once. 0: any.",
        ),
    ] = 200.0,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Let pages of this origin call this server, * all. Repeatable."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Start nothing and change nothing: show what a start would find, and end.")
    ] = False,
    model_base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An OpenAI-compatible endpoint, such as https://models.example/v1, for agents that have a model. Its key "
            "is in the variable PLAYCALL_MODEL_API_KEY, or in --model-api-key-file.",
        ),
    ] = None,
    model_api_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The endpoint's key is the first line of this file.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A model that agents may have; without, any that the endpoint knows. Repeatable."
        ),
    ] = None,
    enable_shell: Annotated[
        bool,
        typer.Option(
            "--enable-shell",
            help="There is a tool `shell`: whoever has a full key here runs commands as this server's user.",
        ),
    ] = False,
    metrics_token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Count for Prometheus, at /metrics: for whoever brings this file's first line as a bearer token.",
        ),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error; to standard error.")] = "warning",
    log_format: Annotated[str, typer.Option(help="text, or json: one object a line, for programs.")] = "text",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="For programs: say where it serves, or what --check finds, in JSON; as --announce does."
        ),
    ] = False,
) -> None:
    """Serve the backend until Ctrl-C or SIGTERM.

    The first start in a folder makes the user `admin` and prints an API key, once. Runs that a crash interrupted go on
    by themselves.

    Example: playcall serve --port 8000 --data playcall-data
    """
    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is None:
        raise typer.BadParameter("log level is debug, info, warning or error", param_hint="--log-level")
    if log_format not in ("text", "json"):
        raise typer.BadParameter("log format is text or json", param_hint="--log-format")
    with needing_backend():
        from playcall.server.running.starting import StartupError
        from playcall.server.running.workers import serve_on_many
        from playcall.server.settings import Settings
        from playcall.server.telemetry.logs import set_up

        # The parent of several does not serve itself, and starts sooner without all that serving needs.
        run = None if check or workers > 1 else _server()
    if announce is not None:
        _check_announceable(announce)
    set_up(level, "json" if log_format == "json" else "text")

    def started(facts: Started) -> None:
        if announce is not None:
            try:
                _announce(announce, facts)
            except OSError as error:
                raise StartupError(f"{announce} cannot be written: {error.strerror}") from None
        if as_json:
            typer.echo(_facts(facts))
            return
        typer.echo(f"playcall serves at {facts.url}")
        if facts.api_key is not None:
            typer.echo(f"API key of {facts.username}, shown this once: {facts.api_key}")

    try:
        settings = Settings(
            data_dir=data.absolute(),
            database_url=_database_url(database_url, database_url_file),
            host=host,
            port=port,
            lease_seconds=lease_seconds,
            max_at_once=max_at_once,
            read_roots=tuple(root.resolve() for root in read_root or ()),
            heartbeat_seconds=heartbeat_seconds,
            access_token_seconds=access_token_seconds,
            event_retention_seconds=event_retention_days * 86_400 or None,
            run_retention_seconds=run_retention_days * 86_400 or None,
            allow_private_addresses=allow_private_addresses,
            new_epoch=new_epoch,
            admin_password=None if admin_password_file is None else _first_line(admin_password_file, "password"),
            requests_per_second=requests_per_second,
            request_burst=max(1, round(5 * requests_per_second)),
            cors_origins=tuple(cors_origin or ()),
            model_base_url=_model_base_url(model_base_url),
            model_api_key=_model_api_key(model_api_key_file),
            models=tuple(model or ()),
            enable_shell=enable_shell,
            metrics_token=_metrics_token(metrics_token_file),
            log_format="json" if log_format == "json" else "text",
        )
        if check:
            from .serve_check import show_check

            show_check(settings, workers=workers, as_json=as_json)
        elif run is None:
            # This machine's, so not in the data folder, which several may share.
            with tempfile.TemporaryDirectory(prefix="playcall-metrics-") as folder:
                counted = replace(settings, metrics_dir=Path(folder)) if settings.metrics_token else settings
                serve_on_many(counted, workers, log_level=level, on_started=started)
        else:
            run(settings, started)
    except StartupError as error:
        fail(FAILED, str(error))


def _server() -> Callable[[Settings, Callable[[Started], None]], None]:
    from playcall.server.engine import Engine
    from playcall.server.running.serving import serve

    def run(settings: Settings, on_started: Callable[[Started], None]) -> None:
        serve(settings, engine=lambda database, fixed: Engine(database=database, settings=fixed), on_started=on_started)

    return run


def _check_announceable(file: Path) -> None:
    """Before the one API key is made, not when it could not be told any more."""
    if not os.access(file.absolute().parent, os.W_OK | os.X_OK):
        fail(FAILED, f"{file} cannot be written: its folder is missing or not writable")
    if file.exists() and not file.is_file():
        fail(FAILED, f"{file} cannot be written: it is {'a folder' if file.is_dir() else 'no regular file'}")


def _announce(file: Path, started: Started) -> None:
    """Written beside and renamed: whoever waits for the file finds it whole or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    # Ours alone: in a folder that others write to, one that is there already could be theirs, to read the key in.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(_facts(started) + "\n")
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _facts(started: Started) -> str:
    """For programs, on one line."""
    return json.dumps({"url": started.url, "port": started.port, "pid": os.getpid(), "api_key": started.api_key})


def _database_url(given: str | None, file: Path | None) -> str | None:
    # Not to be seen by what the server starts: tools may show their environment.
    from_environment = os.environ.pop(DATABASE_URL_VARIABLE, None)
    if file is None:
        return given or None
    if given is not None and given != from_environment:
        fail(USAGE, "give --database-url or --database-url-file, not both")
    return _first_line(file, "database URL")


def _model_base_url(given: str | None) -> str | None:
    if given is not None and not given.startswith(("http://", "https://")):
        fail(USAGE, "--model-base-url is an address such as https://models.example/v1")
    return given


def _model_api_key(file: Path | None) -> str | None:
    from_environment = os.environ.pop(MODEL_API_KEY_VARIABLE, None)  # as the database URL
    return from_environment if file is None else _first_line(file, "model API key")


def _metrics_token(file: Path | None) -> str | None:
    if file is None:
        return None
    token = _first_line(file, "metrics token")
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        fail(
            FAILED, f"the metrics token in {file} is to have {MIN_TOKEN_CHARACTERS} printable ASCII characters or more"
        )
    return token


def _first_line(file: Path, what: str) -> str:
    try:
        first = file.read_text(encoding="utf-8").partition("\n")[0].removesuffix("\r")  # as `playcall users` reads it
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        fail(FAILED, f"the {what} file {file} cannot be read: {reason}")
    if not first:
        fail(FAILED, f"the {what} file {file} has no first line")
    return first
