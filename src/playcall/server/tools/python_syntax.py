"""Reading Python's syntax, one text at a time."""

from __future__ import annotations

import ast
import threading

__all__ = ["parsed"]

_one_at_a_time = threading.Lock()


def parsed(text: str, *, mode: str = "exec", filename: str = "<unknown>") -> ast.AST:
    """As `ast.parse`, safe from several threads: CPython 3.11 counts how deep it is in one place for all of them, and raises
    SystemError («recursion depth mismatch») where another comes between, as the garbage collector lets it.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: As `ast.parse`.
    """
    with _one_at_a_time:
        return ast.parse(text, filename=filename, mode=mode)
