"""`source.sizes`, `source.languages`, `source.todos`: figures that need no syntax tree."""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from pathlib import PurePosixPath

from ....models import JsonObject
from ..context import ToolContext
from ..definition import tool
from .walk import MAX_PARSED_BYTES, SourceFile, TreeParameters, Walk

__all__ = ["languages", "sizes", "todos"]

_LANGUAGES = {
    ".py": "Python", ".pyi": "Python", ".pyx": "Cython", ".c": "C", ".h": "C", ".cc": "C++", ".cpp": "C++", ".hpp": "C++",
    ".rs": "Rust", ".go": "Go", ".js": "JavaScript", ".mjs": "JavaScript", ".jsx": "JavaScript", ".ts": "TypeScript",
    ".tsx": "TypeScript", ".java": "Java", ".kt": "Kotlin", ".rb": "Ruby", ".php": "PHP", ".cs": "C#", ".swift": "Swift",
    ".sh": "Shell", ".sql": "SQL", ".html": "HTML", ".css": "CSS", ".md": "Markdown", ".rst": "reStructuredText",
    ".txt": "Text", ".json": "JSON", ".yaml": "YAML", ".yml": "YAML", ".toml": "TOML", ".ini": "INI", ".cfg": "INI",
    ".xml": "XML", ".csv": "CSV",
}  # fmt: skip


@tool("source.sizes", TreeParameters)
async def sizes(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    """Counts a tree's files, lines and bytes, and names the largest files."""
    return await context.in_thread(_sizes, parameters, context)


def _sizes(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    walk = Walk(parameters, context)
    entries = [(len(file.raw), file.lines, file.name) for file in walk.files()]
    entries.sort(key=lambda entry: (-entry[0], entry[2]))
    return walk.outcome(
        {
            "files": len(entries),
            "lines": sum(lines for _, lines, _ in entries),
            "bytes": sum(size for size, _, _ in entries),
            "largest": [
                {"file": name, "lines": lines, "bytes": size} for size, lines, name in entries[: parameters.top]
            ],
        }
    )


@tool("source.languages", TreeParameters)
async def languages(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    """Counts a tree's files and lines by language, told by file extension."""
    return await context.in_thread(_languages, parameters, context)


def _languages(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    walk = Walk(parameters, context)
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for file in walk.files():
        language = _LANGUAGES.get(PurePosixPath(file.name).suffix.lower(), "other")
        files[language] += 1
        lines[language] += file.lines
    total = sum(lines.values())
    ordered = sorted(files, key=lambda language: (-lines[language], language))
    return walk.outcome(
        {
            "languages": [
                {
                    "language": language,
                    "files": files[language],
                    "lines": lines[language],
                    "percent": round(100 * lines[language] / total, 1) if total else 0.0,
                }
                for language in ordered
            ],
            "lines": total,
        }
    )


_MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b[:\s]*(.*)")


@tool("source.todos", TreeParameters)
async def todos(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    """Finds TODO, FIXME, XXX and HACK in the comments of a tree's Python files."""
    return await context.in_thread(_todos, parameters, context)


def _todos(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    walk = Walk(parameters, context)
    found: list[JsonObject] = []
    counts: Counter[str] = Counter()
    for file in walk.files(suffix=".py"):
        if len(file.raw) > MAX_PARSED_BYTES:
            walk.note(file.name, "too large to be parsed")
            continue
        # All of a file's comments are in before the next: a file that breaks off in the middle adds nothing.
        try:
            marks = _marks_of(file)
        except (tokenize.TokenError, SyntaxError, UnicodeDecodeError, LookupError) as error:
            walk.note(file.name, f"cannot be tokenized ({type(error).__name__})")
            continue
        found.extend(marks)
        counts.update(str(mark["kind"]) for mark in marks)
    return walk.outcome(
        {
            "todos": found[: 50 * parameters.top],
            "count": len(found),
            "by_kind": dict(sorted(counts.items())),
            "files": walk.seen,
        }
    )


def _marks_of(file: SourceFile) -> list[JsonObject]:
    return [
        {"file": file.name, "line": token.start[0], "kind": match.group(1), "text": match.group(2).strip()[:200]}
        for token in tokenize.generate_tokens(io.StringIO(file.python_text()).readline)
        if token.type == tokenize.COMMENT and (match := _MARK.search(token.string))
    ]
