"""Tools for what is shown in a browser, and a package that offers them to a real server.

`show.gate` moves when the test says so, `show.lines` writes many log lines, `show.file` writes a large file.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Final

__all__ = ["LEVELS", "TOOLS", "install", "large_file"]

TOOLS: Final = ("show.gate", "show.lines", "show.file")
LEVELS: Final = ("debug", "info", "warning", "error")
"""The levels of the lines that `show.lines` writes, in turns."""
_PIECE: Final = bytes(range(256)) * 4


def install(folder: Path) -> dict[str, str]:
    """What `pip install` would leave in `folder`; gives the variables with which a server finds it."""
    folder.mkdir()
    (folder / "show_tools.py").write_text(_SOURCE)
    facts = folder / "show_tools-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: show-tools\nVersion: 1.0\n")
    entries = "".join(f"{name} = show_tools:{name.partition('.')[2]}\n" for name in TOOLS)
    (facts / "entry_points.txt").write_text(f"[playcall.tools]\n{entries}")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def large_file(kib: int) -> bytes:
    """What `show.file` writes."""
    return _PIECE * kib


_SOURCE: Final = textwrap.dedent(
    '''
    import asyncio
    from dataclasses import replace
    from pathlib import Path

    from playcall.models import LogLevel
    from playcall.server.tools import Parameters, tool


    class GateParameters(Parameters):
        folder: str
        marks: int = 1


    @tool("show.gate", GateParameters)
    async def gate(parameters, context):
        """Goes on by one for each of the files 1, 2, 3 … that it finds in the folder, and ends with the last."""
        passed = -1
        while passed < parameters.marks:
            found = 0
            while Path(parameters.folder, str(found + 1)).exists():
                found += 1
            if found != passed:
                passed = min(found, parameters.marks)
                context.progress(passed, parameters.marks, f"mark {passed} of {parameters.marks}")
                context.log(LogLevel.INFO, f"mark {passed} of {parameters.marks} was passed")
            await asyncio.sleep(0.05)
        return {"marks": passed}


    class LinesParameters(Parameters):
        lines: int
        text: str = "line {} of the quarterly report has been read, and its figures agree"


    @tool("show.lines", LinesParameters)
    async def lines(parameters, context):
        """Writes log lines, of all levels in turns, no faster than a log takes them."""
        levels = [LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR]
        for number in range(parameters.lines):
            context.log(levels[number % 4], parameters.text.replace("{}", str(number)))
            if number % 100 == 99:
                await asyncio.sleep(0.06)
        return {"lines": parameters.lines}


    class FileParameters(Parameters):
        path: str
        kib: int


    @tool("show.file", FileParameters)
    async def file(parameters, context):
        """Writes a file of so many KiB, as large as it may be."""
        context.limits = replace(context.limits, max_file_bytes=1 << 40)
        content = bytes(range(256)) * 4 * parameters.kib
        await context.in_thread(context.write_bytes, parameters.path, content)
        return {"kib": parameters.kib}
    '''
)
