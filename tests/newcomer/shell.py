"""A terminal with a shell in it, into which lines are typed as a person would."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["Shell"]

_DONE: Final = re.compile(r"<<(\d+)>>")
_CONTROL: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])|\r")
STOP_SECONDS: Final = 20.0


class Shell:
    """A bash of its own in the folder `cwd`; whatever runs in it is ended with it."""

    def __init__(self, cwd: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._said = ""
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-i"],
            cwd=cwd,
            env={**environment, "PS1": "$ ", "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that a password is asked for here
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A terminal that is closed: what runs in it is told so, and so is the shell.
        os.close(self._master)
        try:
            self._bash.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._bash.kill()
            self._bash.wait()

    def run(self, line: str, *, answers: Mapping[str, str] | None = None, timeout_seconds: float = 120.0) -> str:
        """Types the line, and what is to be typed when the terminal shows a text; gives what was said.

        Raises:
            AssertionError: it ended with another status than 0, or not in time.
        """
        # In two pieces, so that the terminal's echo of the line is not taken for its end.
        since = self.type(f"{line}; printf '<''<%s>>' $?")
        for shown, typed in (answers or {}).items():
            self.until(re.escape(shown), since, timeout_seconds)
            self._type(f"{typed}\n")
        done = self.until(_DONE.pattern, since, timeout_seconds)
        said = self._said[since:]
        assert done[1] == "0", f"{line} ended with {done[1]}:\n{said}"
        return said

    def type(self, line: str) -> int:
        """Types the line, and gives the place in what was said from which on to look."""
        since = len(self._said)
        self._type(f"{line}\n")
        return since

    def until(self, pattern: str, since: int, timeout_seconds: float = 60.0) -> re.Match[str]:
        """Reads until the pattern has been said.

        Raises:
            AssertionError: it was not, in that time.
        """
        ends_at = time.monotonic() + timeout_seconds
        while (found := re.search(pattern, self._said[since:])) is None:
            left = ends_at - time.monotonic()
            readable, _, _ = select.select([self._master], [], [], max(left, 0))
            assert readable, f"{pattern!r} was not said in {timeout_seconds:g} s:\n{self._said[since:]}"
            self._said += _CONTROL.sub("", os.read(self._master, 65_536).decode(errors="replace"))
        return found

    def _type(self, text: str) -> None:
        os.write(self._master, text.encode())
