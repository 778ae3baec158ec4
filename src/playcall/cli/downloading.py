"""A file on its way from a run to this machine, with a bar where somebody looks."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .failing import USAGE, fail
from .terminal_text import one_line

if TYPE_CHECKING:
    from ..client import Playcall

__all__ = ["download_artifact", "print_artifact"]


def download_artifact(client: Playcall, run: str, name: str, to: Path | None) -> Path:
    """Writes it piece by piece, so that its size does not matter, and returns where.

    Args:
        to: A file, or a folder for it; None for the current one. In a folder no file is overwritten: nobody has named it.
    """
    to = to or Path()
    if to.is_dir():
        to = to / PurePosixPath(name).name
        if to.exists() or to.is_symlink():
            fail(USAGE, f"there is a file {to} here already; say where to with --to FILE")
    return _download(client, run, name, to)


def print_artifact(client: Playcall, run: str, name: str) -> None:
    """Writes it to standard output once it is whole: what goes on where it broke off needs a file."""
    with TemporaryDirectory(prefix="playcall-") as folder:
        with _download(client, run, name, Path(folder, "file")).open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _download(client: Playcall, run: str, name: str, to: Path) -> Path:
    """A large file takes as long as it takes: the deadline of calls does not hold, and a silence ends it all the same."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True, highlight=False)
    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        *([] if console.width < 70 else [TransferSpeedColumn(), TimeRemainingColumn()]),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(one_line(PurePosixPath(name).name), total=None)
        return client.with_options(deadline_seconds=None).runs.download_artifact(
            run, name, to, on_progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
