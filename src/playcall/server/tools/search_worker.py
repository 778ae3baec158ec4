"""The work of `text.search`, done in a bounded process: with the standard library and nothing else.

A regular expression can take for ever, cannot be interrupted, and holds the interpreter's lock meanwhile; in a process
of its own it is ended by killing it, and nobody else waits. Now and then it says `{"progress": FILES, "matches": N}`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from typing import Any, TypedDict

LINE_CHARACTERS = 400
"""How much of a matching line is shown; ten times as much of a line is searched."""
REPORT_EVERY = 50


class Job(TypedDict):
    """`root` has been checked by whoever sends the job."""

    root: str
    skip: list[str]
    pattern: str
    files: str
    ignore_case: bool
    limit: int
    max_bytes: int


def text_files(root: str, pattern: str, skip: Sequence[str] = ()) -> Iterator[str]:
    """By name, without what is hidden, without symbolic links, and without the folders to be skipped."""
    if os.path.isfile(root):
        yield root
        return
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(
            f for f in folders if f[0] != "." and f != "__pycache__" and os.path.join(directory, f) not in skip
        )
        for name in sorted(names):
            path = os.path.join(directory, name)
            if (
                fnmatch(name, pattern)
                and not name.startswith(".")
                and not os.path.islink(path)
                and os.path.isfile(path)
            ):
                yield path


def text_of(path: str, max_bytes: int) -> str | None:
    """The file's text, or None if it is binary, too large or cannot be read."""
    try:
        if os.path.getsize(path) > max_bytes:
            return None
        # A link that took its place since it was found is not followed.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NOFOLLOW", 0))) as file:
            raw = file.read(max_bytes)
    except OSError:
        return None
    return None if b"\0" in raw[:8192] else raw.decode("utf-8", errors="replace")


def say(value: dict[str, Any]) -> None:
    """One JSON line to whoever waits."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def work(job: Job) -> dict[str, Any]:
    """The result, as `text.search` gives it: a JSON object."""
    pattern = re.compile(job["pattern"], re.IGNORECASE if job["ignore_case"] else 0)
    root, limit = job["root"], job["limit"]
    matches: list[dict[str, str | int]] = []
    searched = 0
    for path in text_files(root, job["files"], job["skip"]):
        text = text_of(path, job["max_bytes"])
        if text is None:
            continue
        searched += 1
        if searched % REPORT_EVERY == 0:
            say({"progress": searched, "matches": len(matches)})
        name = os.path.basename(path) if path == root else os.path.relpath(path, root).replace(os.sep, "/")
        name = name.encode("utf-8", "replace").decode()
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line[: 10 * LINE_CHARACTERS]):
                if len(matches) == limit:
                    return {"matches": matches, "count": limit, "files_searched": searched, "truncated": True}
                matches.append({"file": name, "line": number, "text": line[:LINE_CHARACTERS]})
    return {"matches": matches, "count": len(matches), "files_searched": searched, "truncated": False}
