"""A run that is followed, on a terminal; and the same as plain lines, and as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Final, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.text import Text

from ..models.event import AnyEvent, RunArtifactData, RunData, RunLogData, RunStepData
from ..models.run import LogLevel, Run, RunStep
from ..realtime.states import StateChange
from ..services.run_service import RunSnapshot
from .badge import Badge
from .bars import bars_table, window
from .live_block import LiveBlock
from .run_picture import Picture, style_of
from .tables import show_json
from .terminal_text import one_line

__all__ = ["WatchView", "watch_view"]

LINES: Final = 6
"""Log lines that stay in sight; `playcall runs logs` has all."""
LEAST_ROWS: Final = 2
"""For bars, and the line about those that do not fit, in a window of few lines."""
NARROW: Final = 70
"""Columns under which name, standing and badge have a line each, and log lines leave the time out."""
LOOK_BACK: Final = 1_000
"""Events before now that a terminal is told of a run that is under way; programs and pipes are told all."""

_LEVELS: Final[dict[str, str]] = {LogLevel.WARNING: "yellow", LogLevel.ERROR: "bold red", LogLevel.DEBUG: "dim"}


class WatchView(Protocol):
    """Where a run is told."""

    @property
    def look_back(self) -> int | None:
        """How many events before now it wants to hear; None for all."""
        ...

    @property
    def asks(self) -> bool:
        """Whether somebody is there who can be asked."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
    def begin(self, run: Run, steps: Sequence[RunStep], *, known: bool) -> None:
        """How the run stands. `known`: what happened before is not told, so the steps' own state counts."""
        ...

    def event(self, event: AnyEvent) -> None: ...
    def lost(self, snapshot: RunSnapshot, steps: Sequence[RunStep]) -> None:
        """Events are lost for good; this is what the run is after them."""
        ...

    def connection(self, change: StateChange) -> None:
        """On another thread than the rest."""
        ...

    def say(self, text: str) -> None: ...
    def away(self) -> AbstractContextManager[None]:
        """Meanwhile the terminal is the caller's."""
        ...


class JsonView:
    """Each event as it came, one a line; what is no event is no line, except that events were lost."""

    look_back = None
    asks = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.stdout.flush()

    def begin(self, run: Run, steps: Sequence[RunStep], *, known: bool) -> None:
        """The events say it."""

    def event(self, event: AnyEvent) -> None:
        show_json(event)
        sys.stdout.flush()

    def lost(self, snapshot: RunSnapshot, steps: Sequence[RunStep]) -> None:
        run = json.loads(snapshot.data.model_dump_json())
        show_json({"type": snapshot.type, "cursor": str(snapshot.cursor), "data": run})

    def connection(self, change: StateChange) -> None:
        """No event."""

    def say(self, text: str) -> None:
        print(f"playcall: {one_line(text)}", file=sys.stderr)

    def away(self) -> AbstractContextManager[None]:
        return nullcontext()


class PlainLines:
    """One line an event, without control codes."""

    look_back = None

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._picture = Picture([])
        self._badge = Badge()
        self.asks = sys.stdin.isatty() and out.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._out.flush()

    def begin(self, run: Run, steps: Sequence[RunStep], *, known: bool) -> None:
        self._write(f"{run.id}  {one_line(run.playbook_name)}, {run.steps_total} steps")

    def event(self, event: AnyEvent) -> None:
        self._write(self._picture.take_whole(event))

    def lost(self, snapshot: RunSnapshot, steps: Sequence[RunStep]) -> None:
        run = snapshot.data.run
        self._write(f"  -X- events are lost for good; the run is {run.status}, {run.steps_finished} steps finished")

    def connection(self, change: StateChange) -> None:
        turn = self._badge.take(change)
        if turn == "lost":
            self._write(f"  -X- the connection is lost: {one_line(change.why)}")
        elif turn == "back":
            self._write("  --> connected again, and goes on from there")

    def say(self, text: str) -> None:
        self._write(one_line(text))

    def away(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _write(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class LiveLines:
    """Rich: how the run stands, a bar a step, its last log lines, and the connection; in one block that stays in sight."""

    look_back = LOOK_BACK

    def __init__(self, console: Console) -> None:
        self._console = console
        self._run: Run | None = None
        self._picture = Picture([])
        self._lines: deque[Text] = deque(maxlen=LINES)
        self._badge = Badge()
        self._lost_at = datetime.now(UTC)
        self._told_at = time.monotonic()
        self._told: datetime | None = None
        """By the backend's clock, when it was `_told_at` here."""
        self._block = LiveBlock(console, self._draw)
        self.asks = sys.stdin.isatty()

    def __enter__(self) -> Self:
        self._block.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._block.__exit__(*exc_info)
        self._console.print(self._draw())  # what it showed last stays

    def begin(self, run: Run, steps: Sequence[RunStep], *, known: bool) -> None:
        picture = Picture([step.id for step in steps])
        if known:
            picture.know(steps)
        self._picture, self._run = picture, run
        self._told, self._told_at = run.updated_at, time.monotonic()

    def event(self, event: AnyEvent) -> None:
        said = self._picture.take(event)
        self._told, self._told_at = event.time, time.monotonic()
        match event.data:
            case RunData(run=run):
                self._run = run
            case RunLogData(level=level):
                self._line(event.time, said.partition(": ")[2], _LEVELS.get(level, ""))
            case RunArtifactData():
                self._line(event.time, f"made {said}", "green")
            case RunStepData(step=step) if step.error is not None:
                self._line(event.time, said, style_of("failed"))
            case _:
                pass

    def lost(self, snapshot: RunSnapshot, steps: Sequence[RunStep]) -> None:
        self.begin(snapshot.data.run, steps, known=True)
        self._line(
            snapshot.data.run.updated_at, "events are lost for good; this is how the run stands after them", "yellow"
        )

    def connection(self, change: StateChange) -> None:
        # A reconnect takes some 30 ms, which nobody sees on the badge.
        turn, now = self._badge.take(change), datetime.now(UTC)
        if turn == "lost":
            self._lost_at = now
            self._line(now, f"the connection is lost: {one_line(change.why)}", "yellow")
        elif turn == "back":
            took = (now - self._lost_at).total_seconds()
            self._line(now, f"connected again after {took:.2f} s, and goes on from there", "green")

    def say(self, text: str) -> None:
        self._block.print(Text(one_line(text), "yellow"))

    def away(self) -> AbstractContextManager[None]:
        return self._block.away()

    def _line(self, at: datetime, text: str, style: str) -> None:
        line = Text()
        if self._console.width >= NARROW:
            line.append(f"{at.astimezone():%H:%M:%S}  ", "dim")
        line.append(text, style)
        self._lines.append(line)

    # --- the block ----------------------------------------------------------------------------------------------------

    def _draw(self) -> RenderableType:
        run, console = self._run, self._console
        if run is None:
            return Text("")
        lines = list(self._lines)[-max(1, console.height // 3) :]
        head = self._head(run)
        room = console.height - len(head) - len(lines) - 3
        bars, others = window(self._picture.bars, max(LEAST_ROWS, room))
        parts = [*head, bars_table(bars, console.width)]
        if others:
            parts.append(_cut(Text(others, "dim")))
        if lines:
            parts += [Text(""), *map(_cut, lines)]
        return Group(*parts)

    def _head(self, run: Run) -> list[RenderableType]:
        """The name and how it stands; the connection at the right, or below where there is no room."""
        name = Text(one_line(run.playbook_name), "bold")
        standing = Text(f"  {one_line(run.status)}", style_of(run.status))
        standing.append(f"  {run.steps_finished}/{run.steps_total} steps  {self._took(run)}", "not bold default")
        badge = Text(self._badge.text, self._badge.style)
        if self._console.width < NARROW:
            return [_cut(name), _cut(standing[2:]), *([_cut(badge)] if badge else [])]
        room = self._console.width - standing.cell_len - badge.cell_len - len("  ")
        name.truncate(room, overflow="ellipsis")
        space = " " * (room - name.cell_len)
        return [_cut(Text.assemble(name, standing, space, "  ", badge))]

    def _took(self, run: Run) -> str:
        if run.started_at is None:
            return ""
        until = run.ended_at or self._told or run.started_at
        seconds = (until - run.started_at).total_seconds()
        if run.ended_at is None:
            seconds += time.monotonic() - self._told_at
        minutes, seconds = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _cut(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def watch_view(*, as_json: bool) -> WatchView:
    """The view that standard output can show: plain lines unless it is a terminal that takes control codes."""
    if as_json:
        return JsonView()
    console = Console(highlight=False, markup=False)
    is_plain = not console.is_terminal or console.is_dumb_terminal
    return PlainLines(sys.stdout) if is_plain else LiveLines(console)
