"""What is wrong with a playbook's YAML, shown where it is: the line with a caret under the place."""

from __future__ import annotations

from typing import Final

from playcall.models import FieldProblem

__all__ = ["headline", "pointed_at"]

LINE_CHARACTERS: Final = 110
CONTEXT_LINES: Final = 1
"""Lines before the one that is wrong."""


def headline(problem: FieldProblem) -> str:
    """`steps[1].operation: no tool has this name (line 9, column 16)`"""
    name = problem.field
    place = "" if problem.line is None else f" (line {problem.line}, column {problem.column or 1})"
    hint = "" if problem.suggestion is None else f"; did you mean {problem.suggestion}?"
    return f"{name + ': ' if name else ''}{problem.msg}{place}{hint}"


def pointed_at(text: str, problem: FieldProblem) -> str:
    """The line of `text` that is wrong, after the one before it, and a caret; empty where no place is known."""
    lines = text.splitlines()
    if problem.line is None or not 1 <= problem.line <= len(lines):
        return ""
    width = len(str(problem.line))
    shown = [
        f"{number:>{width}} | {_without_tabs(lines[number - 1])}"
        for number in range(max(1, problem.line - CONTEXT_LINES), problem.line + 1)
    ]
    column = (problem.column or 1) - 1
    line = lines[problem.line - 1]
    before = _without_tabs(line[:column])
    first = max(0, len(before) - LINE_CHARACTERS + 10)
    if first or any(len(each) > LINE_CHARACTERS + width + 3 for each in shown):
        shown = [f"{problem.line:>{width}} | {_without_tabs(line)[first : first + LINE_CHARACTERS]}"]
    return "\n".join([*shown, f"{' ' * width} | {' ' * (len(before) - first)}^"])


def _without_tabs(line: str) -> str:
    """The caret stands right only where every character is one column wide."""
    return line.replace("\t", " ")
