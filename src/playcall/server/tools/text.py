"""`text.search` and `text.stats`: looking into text files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ...models import JsonObject
from .bounded import BrokenOff, bounded
from .context import ToolContext
from .definition import Parameters, tool
from .failure import ToolFailure

__all__ = ["text_search", "text_stats"]

_WORK = Path(__file__).with_name("search_worker.py")


class SearchParameters(Parameters):
    path: str = "."
    pattern: Annotated[str, Field(min_length=1, max_length=500)]
    files: Annotated[str, Field(max_length=500)] = "*"
    ignore_case: bool = False
    limit: Annotated[int, Field(ge=1, le=10_000)] = 500
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60.0


@tool("text.search", SearchParameters)
async def text_search(parameters: SearchParameters, context: ToolContext) -> JsonObject:
    """Searches text files for a regular expression, line by line."""
    try:
        # In a thread: with large classes and no case it takes most of a second.
        await context.in_thread(re.compile, parameters.pattern)
    except re.error as error:
        raise ToolFailure("parameters_invalid", f"the pattern is not a regular expression: {error}") from None
    root = await context.in_thread(context.readable, parameters.path)
    job = {
        "root": str(root),
        "skip": [str(folder) for folder in context.private()],
        "pattern": parameters.pattern,
        "files": parameters.files,
        "ignore_case": parameters.ignore_case,
        "limit": parameters.limit,
        "max_bytes": context.limits.max_file_bytes,
    }

    def said(line: JsonObject) -> None:
        context.progress(line["progress"], None, f"{line['matches']} matches")

    seconds = parameters.timeout_seconds
    try:
        found: JsonObject = await bounded(_WORK, job, seconds=seconds, said=said)
    except TimeoutError:
        raise ToolFailure("timeout", f"the search took longer than {seconds:g} s: use a simpler pattern") from None
    except BrokenOff:
        raise ToolFailure("tool_error", "the search ended without a result: it took too much memory or time") from None
    return found


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
