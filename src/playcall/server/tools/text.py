"""`text.search` and `text.stats`: looking into text files."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ...models import JsonObject
from .context import ToolContext
from .definition import Parameters, tool
from .failure import ToolFailure
from .unbroken import unbroken

__all__ = ["text_search", "text_stats"]

_WORKER = Path(__file__).with_name("search_worker.py")
_LINE_BYTES = 64 * 1024 * 1024
"""The worker's longest line, its result: bounded by its own limits long before."""


class SearchParameters(Parameters):
    path: str = "."
    pattern: Annotated[str, Field(min_length=1, max_length=500)]
    files: str = "*"
    ignore_case: bool = False
    limit: Annotated[int, Field(ge=1, le=10_000)] = 500
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60.0


@tool("text.search", SearchParameters)
async def text_search(parameters: SearchParameters, context: ToolContext) -> JsonObject:
    """Searches text files for a regular expression, line by line."""
    try:
        re.compile(parameters.pattern)
    except re.error as error:
        raise ToolFailure("parameters_invalid", f"the pattern is not a regular expression: {error}") from None
    root = await context.in_thread(context.readable, parameters.path)
    job = {
        "root": str(root),
        "pattern": parameters.pattern,
        "files": parameters.files,
        "ignore_case": parameters.ignore_case,
        "limit": parameters.limit,
        "max_bytes": context.limits.max_file_bytes,
    }
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",  # nothing of this environment
        "-S",
        str(_WORKER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LINE_BYTES,
    )
    try:
        async with asyncio.timeout(parameters.timeout_seconds):
            return await _result_of(worker, job, context)
    except TimeoutError:
        seconds = parameters.timeout_seconds
        raise ToolFailure("timeout", f"the search took longer than {seconds:g} s: use a simpler pattern") from None
    finally:
        if worker.returncode is None:
            worker.kill()
        await unbroken(worker.wait())


async def _result_of(worker: asyncio.subprocess.Process, job: JsonObject, context: ToolContext) -> JsonObject:
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("the worker was started with pipes")
    worker.stdin.write(json.dumps(job).encode())
    worker.stdin.close()
    async for line in worker.stdout:
        said: JsonObject = json.loads(line)
        if "result" in said:
            result: JsonObject = said["result"]
            return result
        context.progress(said["progress"], None, f"{said['matches']} matches")
    raise ToolFailure("tool_error", "the search ended without a result")


class StatsParameters(Parameters):
    text: str | None = None
    path: str | None = None
    top: Annotated[int, Field(ge=0, le=1_000)] = 10


_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@tool("text.stats", StatsParameters)
async def text_stats(parameters: StatsParameters, context: ToolContext) -> JsonObject:
    """Counts a text's characters, words and lines, and its most frequent words."""
    if (parameters.text is None) == (parameters.path is None):
        raise ToolFailure("parameters_invalid", "text.stats takes either `text` or `path`")

    def count() -> JsonObject:
        text = parameters.text
        if text is None:
            _, raw = context.read_bytes(parameters.path or "")
            text = raw.decode("utf-8", errors="replace")
        words: dict[str, int] = {}
        total = 0
        for match in _WORD.finditer(text):
            word = match.group().lower()
            words[word] = words.get(word, 0) + 1
            total += 1
            if total % 10_000 == 0:
                context.check_stopped()
        top = sorted(words.items(), key=lambda item: (-item[1], item[0]))[: parameters.top]
        return {
            "characters": len(text),
            "words": total,
            "lines": len(text.splitlines()),
            "distinct_words": len(words),
            "top_words": [{"word": word, "count": number} for word, number in top],
        }

    return await context.in_thread(count)
