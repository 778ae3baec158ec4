"""Values on the command line: `NAME=VALUE`, and JSON objects from a file or standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from .failing import USAGE, fail

__all__ = ["named_values", "read_object", "read_text"]


def named_values(pairs: Sequence[str] | None, file: Path | None, *, option: str) -> dict[str, Any]:  # Any: JSON
    """The object in `file`, if there is one, with what `NAME=VALUE` adds or changes; a value is JSON, or else text.

    Args:
        option: How the pairs are given, for the sentence that ends the command where one is none.
    """
    values = {} if file is None else read_object(file)
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            fail(USAGE, f"{option} takes NAME=VALUE, got {pair!r}")
        values[name] = _value(value)
    return values


def _value(text: str) -> Any:  # Any: whatever JSON it is
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return text


def _refused(constant: str) -> None:
    """`NaN` and `Infinity` are no JSON, whatever Python takes; so they are text."""
    raise ValueError(constant)


def read_object(file: Path) -> dict[str, Any]:  # Any: JSON
    """The JSON object in a file, `-` for standard input; ends the command where there is none."""
    try:
        value: object = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        fail(USAGE, f"{_name(file)} is not JSON: {error}")
    if not isinstance(value, dict):
        fail(USAGE, f"{_name(file)} is not an object of JSON: values by their names")
    return cast("dict[str, Any]", value)


def read_text(file: Path, *, what: str = "") -> str:
    """A file's text, `-` for standard input; ends the command where it cannot be read.

    Args:
        what: Of what the file is to be, for the sentence: `playbook`.
    """
    try:
        return (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode()
    except OSError as error:
        fail(USAGE, f"{_name(file, what)} cannot be read: {(error.strerror or str(error)).lower()}")
    except UnicodeDecodeError:
        fail(USAGE, f"{_name(file, what)} is not UTF-8 text")


def _name(file: Path, what: str = "") -> str:
    if str(file) == "-":
        return "standard input"
    return f"the {what} file {file}" if what else str(file)
