"""A run that is watched in a terminal, with its connection cut on the way: recorded as it happens."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from tests.cli.terminal import Terminal

from playcall import ApiKey, Playcall
from playcall.testing import FaultProxy, LiveBackend

from .recording import Line, Recording, line_of, moving_svg

__all__ = ["make"]

_ROOT: Final = Path(__file__).resolve().parent.parent
TO: Final = _ROOT / "docs" / "pictures" / "terminal.svg"
COLUMNS, ROWS = 88, 17
FRAMES_A_SECOND: Final = 8
PROMPT: Final = "$ "
COMMAND: Final = 'playcall playbooks run "Nightly report" --watch'
TYPED_SECONDS, AWAY_SECONDS, STAYS_SECONDS = 1.0, 0.8, 2.0


def make() -> None:
    with tempfile.TemporaryDirectory() as folder, LiveBackend(options=["--enable-shell"]) as backend:
        with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
            for name, tools in (("Clerk", ["wait"]), ("Auditor", ["wait", "shell"]), ("Editor", ["files.write"])):
                client.agents.create({"name": name, "tools": tools})
            client.playbooks.create_from_file(_ROOT / "pictures" / "playbooks" / "nightly-report.yaml")
        with FaultProxy(backend.url) as proxy:
            environment = {"PLAYCALL_URL": proxy.url, "PLAYCALL_API_KEY": backend.api_key, "HOME": folder}
            recording = _recorded(proxy, environment)
    TO.write_text(moving_svg(recording, "A playbook's run, watched in a terminal; the connection is cut, and heals"))
    print(
        f"{TO.relative_to(_ROOT)}: {len(recording.frames)} frames, {recording.ends_at:.0f} s, {TO.stat().st_size:,} bytes"
    )


def _recorded(proxy: FaultProxy, environment: dict[str, str]) -> Recording:
    frames: list[tuple[float, list[Line]]] = _typed()
    with Terminal(
        "playbooks", "run", "Nightly report", "--watch", environment=environment, columns=COLUMNS, rows=ROWS
    ) as terminal:
        began = time.monotonic() - TYPED_SECONDS
        said: Line = ((PROMPT, "#5fd38d", True, False), (COMMAND, "#d7dce5", False, False))
        heals_at: float | None = None
        while terminal.process.poll() is None:
            terminal.read(1 / FRAMES_A_SECOND)
            _finish_drawing(terminal)
            lines = [said, *map(line_of, terminal.cells)]
            if lines != frames[-1][1]:
                frames.append((time.monotonic() - began, lines))
            if heals_at is None and "2/4 steps" in terminal.text:
                proxy.refuse()
                proxy.cut()
                heals_at = time.monotonic() + AWAY_SECONDS
            if heals_at is not None and time.monotonic() > heals_at:
                proxy.heal()
        assert terminal.ended() == 0, terminal.text
        frames.append((time.monotonic() - began, [said, *map(line_of, terminal.cells)]))
    return Recording([(at, _without_end(lines)) for at, lines in frames], frames[-1][0] + STAYS_SECONDS, COLUMNS)


def _finish_drawing(terminal: Terminal) -> None:
    """Not in the middle of a picture, of which half is there."""
    for _ in range(10):
        before = len(terminal.written)
        terminal.read(0.02)
        if len(terminal.written) == before:
            return


def _typed() -> list[tuple[float, list[Line]]]:
    """The command comes letter by letter, as it is typed."""
    pieces = 12
    return [
        (
            TYPED_SECONDS * n / pieces,
            [((PROMPT, "#5fd38d", True, False), (COMMAND[: len(COMMAND) * n // pieces], "#d7dce5", False, False))],
        )
        for n in range(pieces + 1)
    ]


def _without_end(lines: list[Line]) -> list[Line]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines
