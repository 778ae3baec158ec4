"""The end of `playcall dashboard` is the end of its server, however it ends: also killed, it can leave nothing behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Final

__all__ = ["tie"]

VARIABLE: Final = "PLAYCALL_DASHBOARD_TIED"


def tie() -> None:
    """Where the variable is set, standard input is a pipe from the command: its end ends this process, by SIGTERM."""
    if os.environ.pop(VARIABLE, None):
        threading.Thread(target=_wait, name="playcall-tied", daemon=True).start()


def _wait() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
