"""`shell`: one command line, with the rights of the server's own user. There is no such tool unless the operator says so.

The command runs in the run's workspace, with nothing of the server's environment, in a process group of its own, which is
killed whole when the call ends, however it does. That keeps honest commands tidy; it confines nobody: what leaves its
group goes on, and whoever may use this tool reads what the server's user can read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import AsyncExitStack
from typing import Annotated, Literal, Self

from pydantic import Field

from ...models import JsonObject, LogLevel
from .context import ToolContext
from .definition import Parameters, tool
from .failure import ToolFailure
from .unbroken import unbroken

__all__ = ["shell"]

MAX_OUTPUT_BYTES = 1_048_576
"""Of standard output and error together: beyond it the command is killed."""
_Stream = Literal["stdout", "stderr"]
_LINE_CHARACTERS = 2_000
_PIECE_BYTES = 65_536
_LAST_WORDS_SECONDS = 1.0
"""How long what the command had written may take to be read, once its group is gone."""


class ShellParameters(Parameters):
    """`fail_on_error`: an exit code other than 0 fails the call."""

    command: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")]
    fail_on_error: bool = True


@tool("shell", ShellParameters)
async def shell(parameters: ShellParameters, context: ToolContext) -> JsonObject:
    """Runs a command line (`/bin/sh -c`) in the run's workspace; what it writes comes line by line as the run's log."""
    # Pipes of our own: asyncio's keep `wait` waiting while anybody holds them, and cannot be let go.
    async with AsyncExitStack() as stack:
        out, err = await _Pipe.open(stack), await _Pipe.open(stack)
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                parameters.command,
                cwd=context.workspace,
                env=_environment(context),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out.end,
                stderr=err.end,
                start_new_session=True,
            )
        finally:
            out.close_end()
            err.close_end()
        written = _Written(context, process)
        readers = [
            asyncio.create_task(written.read("stdout", out.reader)),
            asyncio.create_task(written.read("stderr", err.reader)),
        ]
        try:
            await process.wait()
            written.kill_group()  # what it left running in the background holds the pipes
            await asyncio.wait(readers, timeout=_LAST_WORDS_SECONDS)
        finally:
            written.kill_group()
            for reader in readers:
                reader.cancel()
            await unbroken(_ended(process, readers))
    if written.is_too_much:
        raise ToolFailure("too_large", f"the command wrote more than {MAX_OUTPUT_BYTES} bytes, and was stopped")
    exit_code = process.returncode or 0
    if parameters.fail_on_error and exit_code != 0:
        how = f"ended with exit code {exit_code}" if exit_code > 0 else f"was ended by signal {-exit_code}"
        said = written.text("stderr").strip().rpartition("\n")[2]
        raise ToolFailure("exit_code", f"the command {how}{': ' if said else ''}{said[:_LINE_CHARACTERS]}")
    return {"exit_code": exit_code, "stdout": written.text("stdout"), "stderr": written.text("stderr")}


def _environment(context: ToolContext) -> dict[str, str]:
    """Nothing of the server's own, which holds secrets."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(context.workspace),
        "LANG": "C.UTF-8",
        "PLAYCALL_IDEMPOTENCY_KEY": context.idempotency_key,
    }


class _Pipe:
    """What a command writes to its `end` is read from `reader`; closed with the stack."""

    def __init__(self, end: int, reader: asyncio.StreamReader) -> None:
        self.end = end
        self.reader = reader

    @classmethod
    async def open(cls, stack: AsyncExitStack) -> Self:
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        source = os.fdopen(ours, "rb", 0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        stack.callback(transport.close)
        pipe = cls(theirs, reader)
        stack.callback(pipe.close_end)
        return pipe

    def close_end(self) -> None:
        """As often as it is called."""
        end, self.end = self.end, -1
        if end >= 0:
            os.close(end)


class _Written:
    """What the command has written so far, and its end once that is too much."""

    def __init__(self, context: ToolContext, process: asyncio.subprocess.Process) -> None:
        self._context = context
        self._process = process
        self._group_lives = True
        self._parts: dict[_Stream, list[bytes]] = {"stdout": [], "stderr": []}
        self._left = MAX_OUTPUT_BYTES

    @property
    def is_too_much(self) -> bool:
        return self._left < 0

    def text(self, stream: _Stream) -> str:
        return b"".join(self._parts[stream]).decode("utf-8", "replace").replace("\0", "\ufffd")

    async def read(self, stream: _Stream, pipe: asyncio.StreamReader) -> None:
        line = b""
        while piece := await pipe.read(_PIECE_BYTES):
            self._left -= len(piece)
            if self._left < 0:
                self.kill_group()
                return
            self._parts[stream].append(piece)
            *whole, line = (line + piece).split(b"\n")
            for each in whole:
                self._log(stream, each)
        if line:
            self._log(stream, line)

    def kill_group(self) -> None:
        """Once: when all of it has ended, its number may become another's."""
        if self._group_lives:
            self._group_lives = False
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _log(self, stream: _Stream, line: bytes) -> None:
        text = line.decode("utf-8", "replace").replace("\0", "\ufffd")
        self._context.log(LogLevel.INFO if stream == "stdout" else LogLevel.WARNING, text[:_LINE_CHARACTERS])


async def _ended(process: asyncio.subprocess.Process, readers: list[asyncio.Task[None]]) -> None:
    await process.wait()
    await asyncio.wait(readers)
