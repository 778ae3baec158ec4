"""A file on its way from a run to this machine, with a bar where somebody looks."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .failing import USAGE, fail
from .terminal_text import one_line

if TYPE_CHECKING:
    from ..client import Playcall

__all__ = ["download_artifact"]


def download_artifact(client: Playcall, run: str, name: str, to: Path | None) -> Path:
    """Writes it piece by piece, so that its size does not matter, and returns where.

    A large file takes as long as it takes: the deadline of calls does not hold for it, and a silence ends it all the same.

    Args:
        to: A file, or a folder for it; None for the current one, where a file of that name is never overwritten.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    own = PurePosixPath(name).name
    if to is None:
        to = Path(own)
        if to.exists():
            fail(USAGE, f"there is a file {own} here already; say where to with --to")
    elif to.is_dir():
        to = to / own
    console = Console(stderr=True, highlight=False)
    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        *([] if console.width < 70 else [TransferSpeedColumn(), TimeRemainingColumn()]),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(one_line(own), total=None)
        return client.with_options(deadline_seconds=None).runs.download_artifact(
            run, name, to, on_progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
