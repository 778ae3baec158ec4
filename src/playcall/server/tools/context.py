"""What a tool is given beside its parameters: where it may read and write, and how it reports."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from ...models import LogLevel
from .failure import ToolFailure, ToolStopped
from .opening import open_real
from .workspace import NewFile, WrittenFile, refuse_odd

__all__ = ["ToolContext", "ToolLimits", "printable"]

P = ParamSpec("P")
T = TypeVar("T")

Progress = Callable[[float, float | None, str], None]
Log = Callable[[LogLevel, str], None]


_LOOK_SECONDS = 0.05


def _no_progress(done: float, total: float | None, message: str) -> None:
    """Where nobody listens."""


def _no_log(level: LogLevel, message: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """What one call may use. Bytes are of UTF-8 or of the file; an output larger than its limit fails the call."""

    max_output_bytes: int = 4 * 1024 * 1024
    max_file_bytes: int = 16 * 1024 * 1024
    max_http_bytes: int = 4 * 1024 * 1024
    allow_private_addresses: bool = False


@dataclass(slots=True)
class ToolContext:
    """One call's surroundings. Beside `workspace` there is a folder `.writing`, for files on their way into it.

    `idempotency_key` is the same whenever the same operation of the same run is tried again after a crash: a tool that
    acts on the outside passes it on. `progress` and `log` may be called from any thread and never block.
    """

    workspace: Path
    read_roots: tuple[Path, ...] = ()
    private_folders: tuple[Path, ...] = ()
    idempotency_key: str = ""
    limits: ToolLimits = field(default_factory=ToolLimits)
    progress_sink: Progress = _no_progress
    log_sink: Log = _no_log
    stop: threading.Event = field(default_factory=threading.Event)
    written: dict[str, WrittenFile] = field(default_factory=dict[str, WrittenFile])
    still_ours: Callable[[], bool] = lambda: True
    """False while this process may have been taken for dead, and its work been given to another."""

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Says how far the call is: `done` of `total` units; `total` is None while it is not known.

        Raises:
            ValueError: one of them is no finite number: events could not say it.
        """
        self.progress_sink(
            _finite(done, "done"), None if total is None else _finite(total, "total"), printable(message)
        )

    def log(self, level: LogLevel, message: str) -> None:
        """Writes one line to the run's log.

        Raises:
            ValueError: there is no such level.
        """
        self.log_sink(LogLevel(level), printable(message))

    def check_stopped(self) -> None:
        """To be called now and then by work in a thread.

        Raises:
            ToolStopped: the call was cancelled or ran out of time.
        """
        if self.stop.is_set():
            raise ToolStopped

    def until_ours(self) -> None:
        """Returns when it is certain that nobody else has gone on with this work: what is written now is not late.

        On a loop's own thread it cannot wait, and returns at once; work that writes files belongs into a thread.

        Raises:
            ToolStopped: as `check_stopped`.
        """
        self.check_stopped()
        while not self.still_ours() and not _is_on_a_loop():
            time.sleep(_LOOK_SECONDS)
            self.check_stopped()

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs blocking `work` beside the loop.

        Cancelled, it sets the stop flag and returns only when the thread has really ended, so that nothing of a
        cancelled step still writes: `work` must call `check_stopped` often enough.
        """
        running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.stop.set()
            while not running.done():
                # A second cancellation must not leave the thread behind either: the flag is set, it ends soon.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # seen; the cancellation is what counts
            raise

    # --- files ------------------------------------------------------------------------------------------------------

    def readable(self, path: str, *, roots_first: bool = False) -> Path:
        """The real path of an existing file or folder in the workspace or under a read root.

        A relative path is looked for in the workspace, then in each read root; with `roots_first` the other way round.
        What is private is outside, whatever the read roots say; the workspace itself is not.

        Raises:
            ToolFailure: `path_refused` (outside, or with `..`) or `not_found`.
        """
        refuse_odd(path)
        workspace = self.workspace.resolve()
        read_roots = [root.resolve() for root in self.read_roots]
        roots = [*read_roots, workspace] if roots_first else [workspace, *read_roots]
        given = Path(path)
        candidates = [given] if given.is_absolute() else [root / given for root in roots]
        outside = False
        for candidate in candidates:
            try:
                real = candidate.resolve(strict=True)
            except (OSError, RuntimeError):
                # Whether something exists outside is not told either.
                outside = outside or not any(candidate.is_relative_to(root) for root in roots)
                continue
            inside = any(real.is_relative_to(root) for root in roots)
            if inside and (real.is_relative_to(workspace) or not self.is_private(real)):
                return real
            outside = True
        if outside:
            raise ToolFailure("path_refused", f"{path!r} lies outside the run's workspace and the server's read roots")
        raise ToolFailure(
            "not_found", f"nothing is at {path!r} in the run's workspace or under the server's read roots"
        )

    def is_private(self, real: Path) -> bool:
        """Whether a real path lies in a folder of the server's own, which no read root opens: its database holds secrets.

        Whoever walks a readable folder leaves such folders out.
        """
        return any(real.is_relative_to(folder) for folder in self.private())

    def private(self) -> list[Path]:
        """Their real paths."""
        return [folder.resolve() for folder in self.private_folders]

    def read_bytes(self, path: str) -> tuple[Path, bytes]:
        """A readable file's real path and content.

        Raises:
            ToolFailure: as `readable`; `not_a_file`, `too_large`, `unreadable`.
        """
        real = self.readable(path)
        if not real.is_file():
            raise ToolFailure("not_a_file", f"{path!r} is not a regular file")
        try:
            with open_real(real) as file:
                content = file.read(self.limits.max_file_bytes + 1)
            if len(content) > self.limits.max_file_bytes:
                raise ToolFailure("too_large", f"{path!r} is larger than {self.limits.max_file_bytes} bytes")
            return real, content
        except OSError as error:
            raise ToolFailure("unreadable", f"{path!r} cannot be read: {error.strerror}") from error

    def write_bytes(self, path: str, content: bytes, *, media_type: str | None = None) -> WrittenFile:
        """Writes a file of the run's workspace, whole or not at all, and notes it as an artifact.

        Raises:
            ToolFailure: `path_refused`, `parameters_invalid` (the media type), `too_large`, or `unwritable`.
        """
        try:
            with NewFile(self.workspace, path, max_bytes=self.limits.max_file_bytes, media_type=media_type) as file:
                file.write(content)
                file.finish()
                self.until_ours()
                entry = file.place()
                file.keep()
        except OSError as error:
            raise ToolFailure("unwritable", f"{path!r} cannot be written: {error.strerror}") from error
        self.written[entry.name] = entry
        return entry

    def standing(self) -> list[WrittenFile]:
        """What this call has written and nobody has written over."""
        return [file for file in self.written.values() if file.stands_in(self.workspace)]


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _finite(value: float, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"progress: {name} is a finite number, got {value!r}")
    return number


def printable(text: str) -> str:
    """The text without lone surrogates, as the names of files hold them whose bytes are not UTF-8."""
    return text.encode("utf-8", "replace").decode()
