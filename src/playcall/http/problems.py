"""From an error answer to the error that it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from ..errors import StatusError, error_for_status
from ..models.problem import Problem
from .field_problems import describe, read_field_problems
from .retry_after import retry_after_seconds

if TYPE_CHECKING:
    from ..answer import Answer
    from ..timeline import Timeline
    from .transport import WireAnswer

__all__ = ["ErrorClasses", "Said", "error_class", "problem_in", "problem_of", "status_error", "told"]

ErrorClasses: TypeAlias = Mapping[int | str, type[StatusError]]
"""A caller's own classes for error answers, by status or by the backend's code, a number or a text; a code wins."""
Said: TypeAlias = Callable[[Mapping[str, object]], Mapping[str, object]]
"""What a backend's own way of telling says of a failure, under the names that a problem has for it."""

MAX_ERRORS_IN_MESSAGE: Final = 3
MAX_DETAIL: Final = 500
"""Characters of a problem's detail that a message repeats; `problem` has it all."""


def problem_of(status: int, headers: Mapping[str, str], body: bytes, said: Said | None = None) -> Problem | None:
    """The problem in an error answer: RFC 9457, FastAPI's `{"detail": …}`, an envelope's, or None for anything else."""
    if "json" not in headers.get("Content-Type", "").lower():
        return None
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return problem_in(cast("dict[str, object]", parsed), status, said) if isinstance(parsed, dict) else None


def problem_in(fields: Mapping[str, object], status: int, said: Said | None = None) -> Problem:
    """The problem that the members of an answer tell."""
    # Also where answers are enveloped: FastAPI's own 404, 405 and 422 rarely are.
    fields = {**fields, **_detail(fields), **({} if said is None else said(fields))}
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
        for key in (code, _number(code), status):
            if key is not None and key in own:
                return own[key]
    return error_for_status(status, code)


def _number(code: str | None) -> int | None:
    """A code that was a number where it came from, or reads as one."""
    digits = "" if code is None else code.removeprefix("-")
    return int(code) if code is not None and digits.isascii() and digits.isdecimal() and len(digits) < 20 else None


def status_error(
    answer: WireAnswer,
    timeline: Timeline,
    request_id: str | None,
    *,
    may_have_happened: bool,
    said: Said | None = None,
    own: ErrorClasses | None = None,
) -> StatusError:
    """The error that an answer outside 2xx is."""
    problem = problem_of(answer.status, answer.headers, answer.body, said)
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
    text = _phrase(answer.status).lower() if problem is None else problem.detail or problem.title
    if len(text) > MAX_DETAIL:
        text = f"{text[:MAX_DETAIL]}…"
    if problem is not None and problem.errors:
        shown = "; ".join(describe(each) for each in problem.errors[:MAX_ERRORS_IN_MESSAGE])
        more = len(problem.errors) - MAX_ERRORS_IN_MESSAGE
        text = f"{text}: {shown}{f'; and {more} more' if more > 0 else ''}"
    suffix = f" (request id {request_id})" if request_id else ""
    return kind(
        f"{timeline.method} {timeline.path} answered {answer.status}: {text}{suffix}",
        timeline=timeline,
        status=answer.status,
        code=None if problem is None else problem.code,
        problem=problem,
        request_id=request_id,
        retry_after_seconds=retry_after_seconds(answer.headers, datetime.now(UTC)),
        may_have_happened=may_have_happened,
    )
