"""A tool that tells in a file that it began, and that it ended; and a package that offers it to a real server."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mark", "install", "read_marks"]

NAME = "proof.append"


@dataclass(frozen=True)
class Mark:
    """One line. `key` is the idempotency key: it names run and step."""

    what: str
    key: str
    pid: int


def install(folder: Path) -> None:
    """What `pip install` would leave there; a server finds it with `folder` on its PYTHONPATH."""
    folder.mkdir()
    (folder / "proof_tool.py").write_text(
        textwrap.dedent(
            '''
            import asyncio, os

            from playcall.server.tools import Parameters, tool


            class Append(Parameters):
                file: str
                seconds: float


            @tool("proof.append", Append)
            async def append(parameters, context):
                """Appends a line, works for a while, and appends another."""
                write(parameters.file, f"begin {context.idempotency_key} {os.getpid()}")
                for part in range(10):
                    context.progress(part, 10)
                    await asyncio.sleep(parameters.seconds / 10)
                write(parameters.file, f"end {context.idempotency_key} {os.getpid()}")
                return {"done": True}


            def write(file, line):
                # One write to a file that is open for appending: lines of several processes do not mix.
                handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                os.write(handle, line.encode() + b"\\n")
                os.fsync(handle)
                os.close(handle)
            '''
        )
    )
    facts = folder / "proof_tool-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: proof-tool\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[playcall.tools]\n{NAME} = proof_tool:append\n")


def read_marks(file: Path) -> Sequence[Mark]:
    """In the order in which they were written."""
    if not file.exists():
        return []
    lines = (line.split() for line in file.read_text().splitlines())
    return [Mark(what, key, int(pid)) for what, key, pid in lines]
