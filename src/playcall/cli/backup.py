"""`playcall backup`: a copy of everything that a backend keeps, while it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .connecting import AsJson
from .failing import FAILED, fail, needing_backend

__all__ = ["backup"]


def backup(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Where to: a folder that is missing, or empty.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="The folder that the server was started with.")
    ] = Path("playcall-data"),
    as_json: AsJson = False,
) -> None:
    """Copy a backend's data folder while it serves. With PostgreSQL use its own tools: docs/operations.md.

    To put it back, start a server on the copy, or on a copy of that: playcall serve --data DIR. It holds secrets, as the
    folder does.

    Example: playcall backup /backups/today --data playcall-data
    """
    with needing_backend():
        from playcall.server.upkeep.backup import BackupError, back_up
    try:
        copied = back_up(data.absolute(), target.absolute())
    except BackupError as error:
        fail(FAILED, str(error))
    if as_json:
        from .tables import show_json

        show_json({"target": str(target.absolute()), "files": copied.files, "size_bytes": copied.size_bytes})
    else:
        typer.echo(f"{target}: the database and {copied.files} files, {copied.size_bytes:,} bytes")
