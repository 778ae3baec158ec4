"""Lines that the tools of child processes leave behind, whatever becomes of the process."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["append"]


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
