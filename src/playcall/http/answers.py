"""From an answer to a value, or to the error that it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import pydantic_core
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import TypeForm

from ..errors import InvalidArgumentError, StatusError, UnreadableAnswerError, error_for_status
from ..models.problem import Problem
from .field_problems import describe, read_field_problems
from .retry import retry_after_seconds

if TYPE_CHECKING:
    from ..answer import Answer
    from ..timeline import Timeline
    from .envelope import Envelope
    from .transport import WireAnswer

__all__ = [
    "ErrorClasses",
    "adapter",
    "decode",
    "does_not_fit",
    "encode",
    "error_class",
    "problem_in",
    "problem_of",
    "status_error",
    "told",
    "unreadable",
]

T = TypeVar("T")

ErrorClasses: TypeAlias = Mapping[int | str, type[StatusError]]
"""A caller's own classes for error answers, by status or by the backend's code; a code wins."""

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
        raise does_not_fit(answer, into, error) from None


def does_not_fit(answer: Answer, into: object, error: ValidationError) -> UnreadableAnswerError:
    """The error of a body that is not an `into`."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    at = f" at {field}" if field else ""
    return unreadable(answer, f"but its body does not fit {getattr(into, '__name__', into)}{at}: {first['msg']}", field)


def unreadable(answer: Answer, said: str, field: str | None = None) -> UnreadableAnswerError:
    """The error of a successful answer that is not what was asked for: `said` goes on after its status."""
    story = answer.timeline
    return UnreadableAnswerError(
        f"{story.method} {story.path} answered {answer.status}, {said}",
        timeline=story,
        may_have_happened=story.changes,
        field=field,
        status=answer.status,
        request_id=answer.request_id,
    )


def problem_of(
    status: int, headers: Mapping[str, str], body: bytes, envelope: Envelope | None = None
) -> Problem | None:
    """The problem in an error answer: RFC 9457, FastAPI's `{"detail": …}`, an envelope's, or None for anything else."""
    if "json" not in headers.get("Content-Type", "").lower():
        return None
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return problem_in(cast("dict[str, Any]", parsed), status, envelope) if isinstance(parsed, dict) else None


def problem_in(fields: Mapping[str, object], status: int, envelope: Envelope | None = None) -> Problem:
    """The problem that the members of an answer tell."""
    # Also where answers are enveloped: FastAPI's own 404, 405 and 422 rarely are.
    fields = {**fields, **_detail(fields), **({} if envelope is None else envelope.said(fields))}
    title = fields.get("title")
    version = fields.get("current_version")
    return Problem(
        type=str(fields.get("type", "about:blank")),
        title=title if isinstance(title, str) else _phrase(status),
        status=status,
        detail=_text(fields.get("detail")) or _text(fields.get("message")),
        code=_text(fields.get("code")),
        request_id=_text(fields.get("request_id")),
        errors=read_field_problems(fields.get("errors")),
        current_version=version if isinstance(version, int) and not isinstance(version, bool) else None,
    )


def _detail(fields: Mapping[str, object]) -> Mapping[str, object]:
    """What stands in `detail` where that is no text: the list of FastAPI's 422, or an object of the backend's own."""
    detail = fields.get("detail")
    if isinstance(detail, list):
        return {"errors": cast("list[object]", detail), "detail": None}
    if not isinstance(detail, dict):
        return {}
    own = cast("dict[str, object]", detail)
    said: dict[str, object] = {"detail": None}
    for name in ("message", "msg", "reason", "detail"):
        if isinstance(own.get(name), str):
            said["detail"] = own[name]
            break
    return {**said, **{name: own[name] for name in ("code", "errors") if name in own}}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def error_class(status: int, code: str | None, own: ErrorClasses | None) -> type[StatusError]:
    """The class for an error answer: the caller's own, by its code or its status; else ours."""
    if own:
        for key in (code, status):
            if key is not None and key in own:
                return own[key]
    return error_for_status(status, code)


def status_error(
    answer: WireAnswer,
    timeline: Timeline,
    request_id: str | None,
    *,
    may_have_happened: bool,
    envelope: Envelope | None = None,
    own: ErrorClasses | None = None,
) -> StatusError:
    """The error that an answer outside 2xx is."""
    problem = problem_of(answer.status, answer.headers, answer.body, envelope)
    kind = error_class(answer.status, None if problem is None else problem.code, own)
    return told(kind, problem, answer, timeline, request_id, may_have_happened=may_have_happened)


def told(
    kind: type[StatusError],
    problem: Problem | None,
    answer: WireAnswer | Answer,
    timeline: Timeline,
    request_id: str | None,
    *,
    may_have_happened: bool = False,
) -> StatusError:
    """A `kind` with the message that the problem makes."""
    request_id = (None if problem is None else problem.request_id) or answer.headers.get("X-Request-ID") or request_id
    said = _phrase(answer.status).lower() if problem is None else problem.detail or problem.title
    if len(said) > MAX_DETAIL:
        said = f"{said[:MAX_DETAIL]}…"
    if problem is not None and problem.errors:
        shown = "; ".join(describe(each) for each in problem.errors[:MAX_ERRORS_IN_MESSAGE])
        more = len(problem.errors) - MAX_ERRORS_IN_MESSAGE
        said = f"{said}: {shown}{f'; and {more} more' if more > 0 else ''}"
    suffix = f" (request id {request_id})" if request_id else ""
    return kind(
        f"{timeline.method} {timeline.path} answered {answer.status}: {said}{suffix}",
        timeline=timeline,
        status=answer.status,
        code=None if problem is None else problem.code,
        problem=problem,
        request_id=request_id,
        retry_after_seconds=retry_after_seconds(answer.headers, datetime.now(UTC)),
        may_have_happened=may_have_happened,
    )
