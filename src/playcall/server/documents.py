"""What an author wrote, JSON or YAML, as plain values, with the place of each value in the text.

YAML is read strictly: what JSON cannot say is refused, keys are texts, a key stands once, and aliases may not blow the
document up.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import yaml

from playcall.models import FieldProblem

from .nul import NO_NUL, has_nul
from .problems import ApiError
from .routes.routing import parse_json

__all__ = ["JSON_TYPES", "YAML_TYPES", "Document", "DocumentError", "read_document", "read_yaml"]

JSON_TYPES = ("application/json",)
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

MAX_YAML_BYTES = 262_144
"""YAML takes a hundred times as long to read as JSON, which a request's own limit bounds."""
MAX_NODES = 50_000
MAX_DEPTH = 64
_TOO_DEEP = f"the document is nested more than {MAX_DEPTH} deep"

Loc: TypeAlias = tuple[str | int, ...]


class DocumentError(Exception):
    """The text is not a document; `problem` says where."""

    def __init__(self, message: str, line: int | None, column: int | None) -> None:
        super().__init__(message)
        self.problem = FieldProblem(loc=[], msg=message, type="yaml", line=line, column=column)


@dataclass(frozen=True, slots=True)
class Document:
    """`places` holds line and column, from 1, by path; it is empty for JSON."""

    value: Any
    places: Mapping[Loc, tuple[int, int]] = field(default_factory=dict[Loc, tuple[int, int]])

    def place(self, problems: Sequence[FieldProblem]) -> list[FieldProblem]:
        """The same problems with line and column: of the value itself, or of what it is missing from."""
        return [self._place(problem) for problem in problems]

    def _place(self, problem: FieldProblem) -> FieldProblem:
        loc = tuple(problem.loc)
        while loc not in self.places:
            if not loc:
                return problem
            loc = loc[:-1]
        line, column = self.places[loc]
        return problem.model_copy(update={"line": line, "column": column})


async def read_document(body: bytes, content_type: str | None) -> Document:
    """The body of a request that may be JSON or YAML.

    Raises:
        ApiError: 400 `invalid_json`; 413; 415: neither JSON nor YAML.
        DocumentError: It is not YAML, or YAML that is refused.
    """
    media_type = (content_type or JSON_TYPES[0]).partition(";")[0].strip().lower()
    if media_type in YAML_TYPES:
        if len(body) > MAX_YAML_BYTES:
            said = f"a document in YAML is at most {MAX_YAML_BYTES:,} bytes, not {len(body):,}; JSON may be larger"
            raise ApiError(413, "body_too_large", said)
        # In a thread: a large text takes a while, and other requests should not.
        return await asyncio.to_thread(read_yaml, body)
    if media_type in JSON_TYPES or media_type.endswith("+json"):
        return Document(parse_json(body))
    raise ApiError(415, "unsupported_media_type", f"send {JSON_TYPES[0]} or {YAML_TYPES[0]}, not {media_type}")


def read_yaml(text: bytes) -> Document:
    """
    Raises:
        DocumentError: See the module.
    """
    try:
        decoded = text.decode()
        _require_shallow(decoded)
        root = yaml.compose(decoded, yaml.CSafeLoader)
    except UnicodeDecodeError:
        raise DocumentError("YAML is text in UTF-8, and this is not", None, None) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        if "nesting depth" in message:  # newer libyaml has a bound of its own, beyond ours, and meets it first
            message = _TOO_DEEP
        raise DocumentError(
            message or "this is not YAML", mark.line + 1 if mark else None, mark.column + 1 if mark else None
        ) from None
    except yaml.YAMLError as error:
        raise DocumentError(f"this is not YAML: {str(error).splitlines()[0]}", None, None) from None
    if root is None:
        raise DocumentError("the document is empty", 1, 1)
    reader = _Reader()
    value = reader.value(root, ())
    return Document(value, reader.places)


def _require_shallow(text: str) -> None:
    """Composing recurses on the C stack: a text that is nested too deep would end the process.

    Reading the events does not.
    """
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                mark = event.start_mark
                raise DocumentError(
                    _TOO_DEEP,
                    mark.line + 1 if mark else None,
                    mark.column + 1 if mark else None,
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """From nodes to values. It counts what it makes, aliases each time anew: that is what the bound is for."""

    def __init__(self) -> None:
        self.places: dict[Loc, tuple[int, int]] = {}
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        """`Any`: a value may be anything that JSON can say."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _refused(node, f"the document has more than {MAX_NODES:,} values, aliases counted each time")
        if len(loc) > MAX_DEPTH:
            raise _refused(node, _TOO_DEEP)
        self.places[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise _refused(node, f"the tag {_short(node.tag)} is not taken here")

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            if key.tag == "tag:yaml.org,2002:merge":
                raise _refused(key, "merge keys (<<) are not taken here; write the fields out")
            if not isinstance(key, yaml.ScalarNode):
                raise _refused(key, "a key is a text")
            # As it is written: `yes:` and `1:` are the texts "yes" and "1", as they would be in JSON.
            name = str(key.value)
            if has_nul(name):
                raise _refused(key, NO_NUL)
            if name in mapping:
                raise _refused(key, f"the key {name!r} stands twice")
            mapping[name] = self.value(value, (*loc, name))
        return mapping

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind = _short(node.tag)
        if kind in ("str", "timestamp"):
            if has_nul(node.value):
                raise _refused(node, NO_NUL)
            return node.value
        if kind not in ("null", "bool", "int", "float"):
            raise _refused(node, f"the tag {kind} is not taken here")
        if kind == "int" and len(node.value) > 40:
            raise _refused(node, "a number this long must be a text, in quotes")
        try:
            value: Any = self._scalars.construct_object(node)  # pyright: ignore[reportUnknownMemberType] - its stub has no types
        except (ValueError, OverflowError, LookupError, yaml.YAMLError):
            raise _refused(node, f"{node.value!r} is not of the kind {kind}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(node, f"{node.value} is not a number that JSON knows")
        return value


def _short(tag: str) -> str:
    return re.sub(r"^tag:yaml\.org,2002:", "", tag)


def _refused(node: yaml.Node, message: str) -> DocumentError:
    return DocumentError(message, node.start_mark.line + 1, node.start_mark.column + 1)
