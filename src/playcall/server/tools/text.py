"""`text.search` and `text.stats`: looking into text files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ...models import JsonObject
from .context import ToolContext, printable
from .definition import Parameters, tool
from .failure import ToolFailure

__all__ = ["text_search", "text_stats"]

_LINE_CHARACTERS = 400
"""How much of a matching line is shown, and how much of a line is searched times ten: a bound for hostile patterns."""

_NESTED_QUANTIFIER = re.compile(r"\((?:[^()\\]|\\.)*[*+}](?:[^()\\]|\\.)*\)\s*(?:[*+]|\{\d*,)")
"""`(a+)+` and the like, whose time grows exponentially with the line's length."""


class SearchParameters(Parameters):
    path: str = "."
    pattern: Annotated[str, Field(min_length=1, max_length=500)]
    files: str = "*"
    ignore_case: bool = False
    limit: Annotated[int, Field(ge=1, le=10_000)] = 500


@tool("text.search", SearchParameters)
async def text_search(parameters: SearchParameters, context: ToolContext) -> JsonObject:
    """Searches text files for a regular expression, line by line."""
    if _NESTED_QUANTIFIER.search(parameters.pattern):
        raise ToolFailure(
            "pattern_refused", "a repeated group that itself repeats can take for ever; write it otherwise"
        )
    try:
        pattern = re.compile(parameters.pattern, re.IGNORECASE if parameters.ignore_case else 0)
    except re.error as error:
        raise ToolFailure("parameters_invalid", f"the pattern is not a regular expression: {error}") from None
    return await context.in_thread(_search, parameters, pattern, context)


def _search(parameters: SearchParameters, pattern: re.Pattern[str], context: ToolContext) -> JsonObject:
    root = context.readable(parameters.path)
    matches: list[JsonObject] = []
    searched = 0
    for path in _text_files(root, parameters.files):
        context.check_stopped()
        text = _text_of(path, context.limits.max_file_bytes)
        if text is None:
            continue
        searched += 1
        if searched % 50 == 0:
            context.progress(searched, None, f"{len(matches)} matches")
        name = printable(path.name if path == root else path.relative_to(root).as_posix())
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line[: 10 * _LINE_CHARACTERS]):
                if len(matches) == parameters.limit:
                    return {"matches": matches, "count": len(matches), "files_searched": searched, "truncated": True}
                matches.append({"file": name, "line": number, "text": line[:_LINE_CHARACTERS]})
            if number % 10_000 == 0:
                context.check_stopped()
    return {"matches": matches, "count": len(matches), "files_searched": searched, "truncated": False}


def _text_files(root: Path, pattern: str) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        for name in sorted(names):
            path = Path(directory, name)
            if fnmatch(name, pattern) and not name.startswith(".") and not path.is_symlink() and path.is_file():
                yield path


def _text_of(path: Path, max_bytes: int) -> str | None:
    """The file's text, or None if it is binary, too large or cannot be read."""
    try:
        if path.stat().st_size > max_bytes:
            return None
        raw = path.read_bytes()
    except OSError:
        return None
    return None if b"\0" in raw[:8192] else raw.decode("utf-8", errors="replace")


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
