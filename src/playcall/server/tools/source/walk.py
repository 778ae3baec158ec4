"""Walking a source tree: which files count, and what happens to one that cannot be read.

Hidden files and folders, `__pycache__`, symbolic links and binary files are left out. A file that cannot be read is
left out with a note; no single file fails a walk.
"""

from __future__ import annotations

import os
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ....models import JsonObject, LogLevel
from ..context import ToolContext, printable
from ..decoding import text_from
from ..definition import Parameters
from ..failure import ToolFailure
from ..opening import open_real

__all__ = ["MAX_PARSED_BYTES", "SourceFile", "TreeParameters", "Walk"]

MAX_PARSED_BYTES = 262_144
"""The parser stops everybody else while it works, and makes two kilobytes of a line of two bytes."""

_REPORT_EVERY = 10
"""Files between two progress reports."""
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})
_MAX_NOTES = 50


class TreeParameters(Parameters):
    """`path`: a folder (or one file) under a read root; `top`: how many entries the lists of the largest have."""

    path: str
    top: Annotated[int, Field(ge=1, le=500)] = 10
    max_files: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000


@dataclass(frozen=True, slots=True)
class SourceFile:
    """`name` is the path below the tree's root, with `/`."""

    name: str
    path: Path
    raw: bytes

    @property
    def lines(self) -> int:
        return self.raw.count(b"\n") + (bool(self.raw) and not self.raw.endswith(b"\n"))

    def python_text(self) -> str:
        """The text of a Python file, decoded as its coding line says (PEP 263).

        Raises:
            SyntaxError, UnicodeDecodeError, LookupError: it says something else than it holds.
        """
        lines = iter(self.raw.splitlines(keepends=True))
        encoding, _ = tokenize.detect_encoding(lambda: next(lines, b""))
        return text_from(self.raw, encoding)


@dataclass(slots=True)
class Walk:
    """One pass over a tree; `notes` says which files were left out, `skipped` counts them."""

    parameters: TreeParameters
    context: ToolContext
    notes: list[str] = field(default_factory=list[str])
    skipped: int = 0
    seen: int = 0

    def files(self, *, suffix: str | None = None) -> Iterator[SourceFile]:
        """Every readable text file, in the order of names; with `suffix`, only those.

        Raises:
            ToolFailure: the path itself cannot be used.
            ToolStopped: the call was cancelled.
        """
        root = self.context.readable(self.parameters.path, roots_first=True)
        if not root.is_dir() and not root.is_file():
            raise ToolFailure("not_a_folder", f"{self.parameters.path!r} is neither a folder nor a file")
        paths = [p for p in self._paths(root) if suffix is None or p.suffix == suffix]
        for number, path in enumerate(paths, 1):
            self.context.check_stopped()
            name = printable(path.name if path == root else path.relative_to(root).as_posix())
            raw = self._read(path, name)
            if raw is not None:
                self.seen += 1
                yield SourceFile(name, path, raw)
            if number % _REPORT_EVERY == 0 or number == len(paths):
                self.context.progress(number, len(paths), name)
        if not paths:
            self.context.progress(0, 0, "no files")

    def note(self, name: str, why: str) -> None:
        """One file was left out, and why; the first notes are kept, all are counted."""
        self.skipped += 1
        if len(self.notes) < _MAX_NOTES:
            self.notes.append(printable(f"{name}: {why}"))

    def outcome(self, figures: JsonObject) -> JsonObject:
        """The tool's output: its figures, beside what was left out."""
        for note in self.notes[:5]:
            self.context.log(LogLevel.WARNING, f"left out {note}")
        return {**figures, "skipped": self.skipped, "notes": self.notes}

    def _paths(self, root: Path) -> list[Path]:
        if root.is_file():
            return [root]
        found: list[Path] = []
        private = self.context.private()
        for directory, folders, names in os.walk(
            root, onerror=lambda e: self.note(str(e.filename), "cannot be listed")
        ):
            self.context.check_stopped()
            folders[:] = sorted(
                f
                for f in folders
                if not f.startswith(".") and f not in _SKIPPED_FOLDERS and Path(directory, f) not in private
            )
            for name in sorted(names):
                path = Path(directory, name)
                if name.startswith(".") or path.is_symlink() or not path.is_file():
                    continue
                if len(found) == self.parameters.max_files:
                    raise ToolFailure("too_many_files", f"{self.parameters.path!r} holds more than {len(found)} files")
                found.append(path)
        return found

    def _read(self, path: Path, name: str) -> bytes | None:
        try:
            if path.stat().st_size > self.context.limits.max_file_bytes:
                self.note(name, "too large")
                return None
            with open_real(path) as file:
                raw = file.read(self.context.limits.max_file_bytes)
        except OSError as error:
            self.note(name, f"cannot be read ({error.strerror})")
            return None
        return None if b"\0" in raw[:8192] else raw
