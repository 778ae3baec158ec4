"""From an answer to a value, or to the error that it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pydantic_core
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import TypeForm

from ..errors import InvalidArgumentError, StatusError, UnreadableAnswerError, error_for_status
from ..models.problem import FieldProblem, Problem
from .retry import SAFE_METHODS, retry_after_seconds

if TYPE_CHECKING:
    from ..answer import Answer
    from ..timeline import Timeline
    from .transport import WireAnswer

__all__ = ["adapter", "decode", "encode", "problem_of", "status_error", "unreadable"]

T = TypeVar("T")

MAX_ERRORS_IN_MESSAGE: Final = 3
MAX_DETAIL: Final = 500
"""Characters of a problem's detail that a message repeats; `problem` has it all."""


_adapters: dict[object, TypeAdapter[Any]] = {}
_ADAPTERS_KEPT: Final = 512


def adapter(into: TypeForm[T]) -> TypeAdapter[T]:
    """The validator of a type, made once.

    Raises:
        InvalidArgumentError: answers cannot be read into this.
    """
    try:
        known = _adapters.get(into)
        if known is None:
            if len(_adapters) >= _ADAPTERS_KEPT:  # types made at run time must not fill the memory
                _adapters.clear()
            known = TypeAdapter(into)
            known.rebuild(raise_errors=True)  # models may defer it; a name that means nothing is found here
            _adapters[into] = known
    except (PydanticUserError, NameError, TypeError) as error:  # TypeError: it cannot be a key, so it is no type
        raise InvalidArgumentError(f"into= must be a type that pydantic knows, got {into!r}: {error}") from None
    return known


def encode(value: object) -> bytes:
    """A JSON body. A model sends the fields that were set, so that a patch changes nothing else.

    Raises:
        InvalidArgumentError: `value` holds something that is not JSON, NaN and infinity included.
    """
    if isinstance(value, BaseModel):
        return value.model_dump_json(exclude_unset=True, by_alias=True).encode()
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_jsonable).encode()
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError: lone surrogates
        raise InvalidArgumentError(f"the body cannot be sent as JSON: {error}") from None


def _jsonable(value: object) -> Any:
    if isinstance(value, BaseModel):
        return json.loads(encode(value))
    try:
        return pydantic_core.to_jsonable_python(value)
    except pydantic_core.PydanticSerializationError as error:
        raise TypeError(str(error)) from None


def decode(answer: Answer, into: TypeForm[T] | None) -> T:
    """The value of a successful answer; without `into`, whatever JSON it is, None for no body.

    Raises:
        UnreadableAnswerError: the body does not fit, with the path of the first wrong field.
    """
    if into is None:
        if not answer.body:
            return cast("T", None)
        try:
            return cast("T", json.loads(answer.body))
        except (ValueError, RecursionError) as error:
            raise unreadable(answer, f"but not with JSON: {error}") from None
    try:
        # Runtime `extra` wins over the models' own: what a newer backend added is passed over, at any depth.
        return adapter(into).validate_json(answer.body, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        at = f" at {field}" if field else ""
        said = f"but its body does not fit {getattr(into, '__name__', into)}{at}: {first['msg']}"
        raise unreadable(answer, said, field) from None


def unreadable(answer: Answer, said: str, field: str | None = None) -> UnreadableAnswerError:
    """The error of a successful answer that is not what was asked for: `said` goes on after its status."""
    story = answer.timeline
    return UnreadableAnswerError(
        f"{story.method} {story.path} answered {answer.status}, {said}",
        timeline=story,
        may_have_happened=story.method not in SAFE_METHODS,
        field=field,
        status=answer.status,
        request_id=answer.request_id,
    )


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> Problem | None:
    """The problem in an error answer: RFC 9457, FastAPI's `{"detail": …}`, or None for anything else."""
    if "json" not in headers.get("Content-Type", "").lower():
        return None
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    fields = cast("dict[str, Any]", parsed)
    detail: object = fields.get("detail")
    errors: object = fields.get("errors")
    if isinstance(detail, list):  # FastAPI's 422
        errors, detail = cast("list[object]", detail), None
    code: object = fields.get("code")
    title: object = fields.get("title")
    request_id: object = fields.get("request_id")
    return Problem(
        type=str(fields.get("type", "about:blank")),
        title=title if isinstance(title, str) else _phrase(status),
        status=status,
        detail=detail if isinstance(detail, str) else None,
        code=code if isinstance(code, str) else None,
        request_id=request_id if isinstance(request_id, str) else None,
        errors=_field_problems(cast("list[object]", errors)) if isinstance(errors, list) else None,
    )


def _field_problems(items: list[object]) -> list[FieldProblem]:
    read: list[FieldProblem] = []
    for item in items:
        try:
            read.append(FieldProblem.model_validate(item, extra="ignore"))
        except ValidationError:
            continue  # one that we cannot read must not hide the others
    return read


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def status_error(
    answer: WireAnswer, timeline: Timeline, request_id: str | None, *, may_have_happened: bool
) -> StatusError:
    """The error that an answer outside 2xx is."""
    problem = problem_of(answer.status, answer.headers, answer.body)
    code = None if problem is None else problem.code
    request_id = (None if problem is None else problem.request_id) or answer.headers.get("X-Request-ID") or request_id
    said = _phrase(answer.status).lower() if problem is None else problem.detail or problem.title
    if len(said) > MAX_DETAIL:
        said = f"{said[:MAX_DETAIL]}…"
    if problem is not None and problem.errors:
        shown = "; ".join(describe(each) for each in problem.errors[:MAX_ERRORS_IN_MESSAGE])
        more = len(problem.errors) - MAX_ERRORS_IN_MESSAGE
        said = f"{said}: {shown}{f'; and {more} more' if more > 0 else ''}"
    suffix = f" (request id {request_id})" if request_id else ""
    return error_for_status(answer.status, code)(
        f"{timeline.method} {timeline.path} answered {answer.status}: {said}{suffix}",
        timeline=timeline,
        status=answer.status,
        code=code,
        problem=problem,
        request_id=request_id,
        retry_after_seconds=retry_after_seconds(answer.headers, datetime.now(UTC)),
        may_have_happened=may_have_happened,
    )


def describe(problem: FieldProblem) -> str:
    """One wrong field in a line: `steps[0].agent: no such agent (line 7, column 5); did you mean «reader»?`"""
    name = ""
    for part in problem.loc[1:] if problem.loc[:1] in (["body"], ["query"], ["path"], ["header"]) else problem.loc:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    place = "" if problem.line is None else f" (line {problem.line}, column {problem.column})"
    hint = f"; did you mean {problem.suggestion!r}?" if problem.suggestion else ""
    return f"{name or 'the body'}: {problem.msg}{place}{hint}"
