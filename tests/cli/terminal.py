"""A command in a terminal of its own, as a person has it: a pseudo-terminal, and a screen that is looked at."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

import pyte

__all__ = ["CTRL_C", "PATIENCE_SECONDS", "Terminal"]

BETWEEN_SECONDS: Final = 0.03
"""Pieces of one drawing follow each other sooner than this, and the next drawing does not."""
CTRL_C: Final = "\x03"
PATIENCE_SECONDS: Final = 180.0
"""No bound on anything: a test that waits in vain ends, on however busy a machine."""


class Terminal:
    """`playcall` with these arguments. Closed at the end of a `with`, whatever the command is doing."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        columns: int = 90,
        rows: int = 24,
        cwd: Path | None = None,
        shows: str = "",
    ) -> None:
        """`shows`: what is on the screen already."""
        self._screen = pyte.HistoryScreen(columns, rows, history=5_000)
        self._stream = pyte.ByteStream(self._screen)
        self._stream.feed(shows.replace("\n", "\r\n").encode())
        self._master, slave = pty.openpty()
        self._resize(columns, rows)
        self.written = b""
        """Every byte that the command wrote, control codes and all."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "playcall", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**_inherited(), "TERM": "xterm-256color", "COLORTERM": "", **environment},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def cells(self) -> list[list[pyte.screens.Char]]:
        """The same, character by character, with their styles."""
        return [
            [line[at] for at in range(self._screen.columns)]
            for line in map(self._screen.buffer.__getitem__, range(self._screen.lines))
        ]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    @property
    def scrolled(self) -> str:
        """What has left the screen at its top."""
        above = [
            "".join(line[at].data for at in range(self._screen.columns)).rstrip() for line in self._screen.history.top
        ]
        return "\n".join(above)

    def read(self, seconds: float) -> None:
        """Whatever comes in this time."""
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0:
            self._read(left)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self._resize(columns, rows)
        self._screen.resize(rows, columns)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def until(self, true: Callable[[str], bool] | str, *, seconds: float = PATIENCE_SECONDS) -> str:
        """Reads until the screen shows this text, or fulfils this; returns the screen, once it is drawn to its end."""
        holds = true if callable(true) else lambda text: true in text
        ends_at = time.monotonic() + seconds
        while not holds(self.text):
            if time.monotonic() > ends_at:
                raise AssertionError(f"{true!r} did not come in {seconds:g} s; the screen is:\n{self.text}")
            if not self._read(0.1) and self.process.poll() is not None and not self._read(0):
                if holds(self.text):
                    break
                raise AssertionError(f"the command has ended without {true!r}; the screen is:\n{self.text}")
        whole_at = time.monotonic() + 10 * BETWEEN_SECONDS
        while time.monotonic() < whole_at and self._read(BETWEEN_SECONDS):
            pass
        return self.text

    def ended(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Reads to the command's end; returns its exit status."""
        ends_at = time.monotonic() + seconds
        while self._read(0.1) or self.process.poll() is None:
            if time.monotonic() > ends_at:
                raise AssertionError(f"the command goes on after {seconds:g} s; the screen is:\n{self.text}")
        return self.process.wait()

    def _read(self, seconds: float) -> bool:
        """Whether something came."""
        readable, _, _ = select.select([self._master], [], [], seconds)
        if not readable:
            return False
        try:
            came = os.read(self._master, 65_536)
        except OSError as error:
            if error.errno == errno.EIO:  # nobody has the other end any more
                return False
            raise
        self.written += came
        self._stream.feed(came)
        return bool(came)

    def _resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _inherited() -> dict[str, str]:
    """Without what would stand above the size of our own terminal."""
    return {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
