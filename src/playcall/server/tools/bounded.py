"""Work that cannot be trusted to end or to stay small: done in a process of its own, with a limit to everything.

A thread that holds the interpreter's lock cannot be stopped and stops everybody else; a process is killed. It is bounded
in memory and processor time by the operating system, and by its caller's clock and cancellation.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...models import JsonObject
from .unbroken import unbroken

__all__ = ["BrokenOff", "bounded"]

_WORKER = Path(__file__).with_name("bounded_worker.py")
_LINE_BYTES = 64 * 1024 * 1024
"""The longest line, a result: bounded by the work's own limits long before."""
_NEEDED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""All that is left of the environment, which holds secrets: without it some interpreters do not start."""
MEMORY_BYTES = 512 * 1024 * 1024


class BrokenOff(Exception):
    """The process ended without a result: it ran out of memory or of processor time, or its result is too large."""


async def bounded(
    module: Path,
    job: JsonObject,
    *,
    seconds: float,
    paths: Sequence[str] = (),
    said: Callable[[JsonObject], None] = lambda line: None,
) -> Any:
    """What `work(job)` of the module gives; whatever JSON holds, in at most 64 MiB.

    Args:
        module: A file, or a package's `__init__.py`, that imports nothing of the package around it: loading that would
            take longer than the work.
        seconds: Of the clock, and of the processor.
        paths: Where its imports are found, besides the standard library.
        said: Is called with each line that the work says meanwhile.

    Raises:
        TimeoutError: it took longer than `seconds`. Whether so or cancelled, the process has ended.
        BrokenOff: as there.
    """
    settings = {
        "module": str(module),
        "paths": list(paths),
        "memory_bytes": MEMORY_BYTES,
        "cpu_seconds": math.ceil(seconds) + 1,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(_WORKER),
        json.dumps(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _NEEDED if name in os.environ},
        limit=_LINE_BYTES,
    )
    try:
        async with asyncio.timeout(seconds):
            return await _talk(process, job, said)
    finally:
        if process.returncode is None:
            process.kill()
        await unbroken(process.wait())


async def _talk(process: asyncio.subprocess.Process, job: JsonObject, said: Callable[[JsonObject], None]) -> Any:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process was started with pipes")
    process.stdin.write(await asyncio.to_thread(lambda: json.dumps(job).encode()))
    process.stdin.close()
    try:
        async for raw in process.stdout:
            line: JsonObject = json.loads(raw)
            if "result" in line:
                return line["result"]
            said(line)
    except ValueError:
        raise BrokenOff from None  # a line that is too long, or that ends in the middle
    raise BrokenOff
