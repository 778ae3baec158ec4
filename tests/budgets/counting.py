"""Counts what threads execute: the bytecodes in playcall's own files, the calls made from there, and bytecodes elsewhere.

CPython tells a trace function of each bytecode and a profile function of each call, so the counts are exact. They depend
on the version of CPython, and on nothing that the machine does meanwhile.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

import playcall

__all__ = ["Counting", "Lap"]

OURS: Final = f"{Path(playcall.__file__).parent}/"
HERE: Final = f"{Path(__file__).parent}/"
"""The budgets' own code drives the paths and answers them; it counts for nobody."""

Tracer: TypeAlias = Callable[[FrameType, str, Any], Any]  # Any: as typeshed has it


@dataclass(slots=True)
class Lap:
    """What one thread executed between two of its own marks.

    `calls` are of Python and of C functions, each resumption of a coroutine included. `elsewhere` are the bytecodes of
    other people's Python: what our calls set going.
    """

    files: Counter[str] = field(default_factory=Counter[str])
    calls: int = 0
    elsewhere: int = 0


class Counting:
    """Counts each thread from its first `lap()` until `stop()`."""

    def __init__(self, *, ours: str = OURS) -> None:
        """`ours` is how the files begin that count as playcall's own."""
        self._ours = ours
        self._laps: dict[int, Lap] = {}
        self._tracers: dict[str, Tracer | None] = {}

    def lap(self) -> Lap:
        """What this thread has executed since it was here last. The frames that it is in are not counted to their end."""
        ended = self._laps.get(threading.get_ident(), Lap())
        self._laps[threading.get_ident()] = Lap()
        # Each time: in between somebody may have had this thread's for himself.
        sys.setprofile(self._called)
        sys.settrace(self._entered)
        return ended

    def stop(self) -> None:
        """Of this thread only: nobody can do it for another."""
        sys.settrace(None)
        sys.setprofile(None)

    @property
    def _lap(self) -> Lap:
        return self._laps[threading.get_ident()]

    def _entered(self, frame: FrameType, event: str, argument: object) -> Tracer | None:
        """Told of each frame that begins or is resumed; gives what shall be told of its bytecodes."""
        file = frame.f_code.co_filename
        if file not in self._tracers:
            self._tracers[file] = self._tracer(file)
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._tracers[file]

    def _tracer(self, file: str) -> Tracer | None:
        if file.startswith(HERE):
            return None
        name = file.removeprefix(self._ours)

        def ours(frame: FrameType, event: str, argument: object) -> Tracer:
            if event == "opcode":
                self._lap.files[name] += 1
            return ours

        def others(frame: FrameType, event: str, argument: object) -> Tracer:
            if event == "opcode":
                self._lap.elsewhere += 1
            return others

        return others if name == file else ours

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        """Told of each call: of a Python function in its own frame, of a C function in its caller's."""
        caller = frame if event == "c_call" else frame.f_back if event == "call" else None
        if caller is not None and caller.f_code.co_filename.startswith(self._ours):
            self._lap.calls += 1
