"""What tests of commands have in common."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

Completed = subprocess.CompletedProcess[str]
Run = Callable[..., Completed]


def done(completed: Completed) -> str:
    """What a command that did its work wrote."""
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def said(completed: Completed, status: int) -> str:
    """What a failed command says: never a traceback, and a sentence at the end."""
    assert completed.returncode == status, (completed.returncode, completed.stdout, completed.stderr)
    assert "Traceback" not in completed.stderr
    assert completed.stderr.splitlines()[-1].startswith("playcall: ")
    return completed.stderr


def objects(completed: Completed) -> list[Any]:  # Any: JSON
    """What a command wrote with --json: one object a line, and nothing else."""
    return [json.loads(line) for line in done(completed).splitlines()]
