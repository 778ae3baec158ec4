"""Answers that come in an envelope: `{"success": true, "data": …}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NotRequired, TypeVar, cast

from pydantic import ValidationError
from typing_extensions import TypedDict, TypeForm

from ..errors import ConfigurationError, EnvelopeError, StatusError
from .answers import adapter, decode, does_not_fit, unreadable
from .problems import ErrorClasses, error_class, problem_in, told

if TYPE_CHECKING:
    from ..answer import Answer

__all__ = ["Envelope", "object_with"]

T = TypeVar("T")


@lru_cache(maxsize=512)
def object_with(name: str, required: tuple[tuple[str, Any], ...], optional: tuple[str, ...] = ()) -> Any:
    """The type of a JSON object of which these members are known: read in one pass, and made once.

    Any: a TypedDict that is made at run time, whose members are types of the caller's.
    """
    members: dict[str, Any] = {**dict.fromkeys(optional, NotRequired[Any]), **dict(required)}
    return cast("Any", TypedDict)(name, members)


@dataclass(frozen=True, slots=True)
class Envelope:
    """How a backend wraps its answers. The fields name members of the envelope:

        Envelope()                                             {"success": true, "data": …}
        Envelope(success="code", ok=(0, 200), message="msg")   {"code": 0, "data": …, "msg": …}
        Envelope(success="status", ok=("success",))            {"status": "success", "data": …}
        Envelope(success=None)                                 {"data": …}; failures are told by the HTTP status alone

    An answer is read as its `data` (an absent one as null). One whose `success` is not among `ok` is an error although
    its HTTP status is a success. What went wrong is told by `message`, `code` and `errors`, in the envelope itself or in
    its member `error`, which may be a text as well.

    `optional`: answers that are in no envelope are read as they are; else they are an UnreadableAnswerError. Then only an
    object that has `data`, or says that it failed, is one.
    """

    data: str = "data"
    success: str | None = "success"
    ok: tuple[bool | int | str, ...] = (True,)
    message: str = "message"
    code: str = "code"
    errors: str = "errors"
    error: str = "error"
    optional: bool = False

    def __post_init__(self) -> None:
        """Raises: ConfigurationError: a name is missing, or `data` is `success` as well."""
        names = (
            self.data,
            self.message,
            self.code,
            self.errors,
            self.error,
            "-" if self.success is None else self.success,
        )
        if not all(isinstance(name, str) and name for name in names) or self.data == self.success:  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ConfigurationError(
                "the members of an envelope are named by non-empty strings, `data` by one of its own"
            )
        if not isinstance(self.ok, tuple):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ConfigurationError(f"ok= takes a tuple of the values that mean success, got {type(self.ok).__name__}")

    def read(self, answer: Answer, into: TypeForm[T] | None, own: ErrorClasses | None = None) -> T:
        """The data of a successful answer; without `into`, whatever JSON it is.

        Raises:
            UnreadableAnswerError: it does not fit, or is in no envelope.
            StatusError: the envelope says that it failed.
        """
        return self.opened(answer, into, (), own)[0]

    def opened(
        self, answer: Answer, into: TypeForm[T] | None, beside: tuple[str, ...], own: ErrorClasses | None = None
    ) -> tuple[T, Mapping[str, Any]]:
        """As `read`, with those members of the envelope that are named in `beside`, where it has them."""
        if into is None:
            if not answer.body:
                return cast("T", None), {}
            return self._opened_slowly(answer, None, None, own)
        adapter(into)  # refuses what is no type
        known = ((self.data, into),) if self.success is None else ((self.success, Any), (self.data, into))
        try:
            fields: dict[str, Any] = adapter(object_with("Envelope", known, beside)).validate_json(
                answer.body, extra="ignore"
            )
        except ValidationError as error:
            return self._opened_slowly(answer, into, error, own)
        if self._failed(fields):
            return self._opened_slowly(answer, into, None, own)  # for its message and code
        return fields[self.data], fields

    def _opened_slowly(
        self, answer: Answer, into: TypeForm[T] | None, misfit: ValidationError | None, own: ErrorClasses | None
    ) -> tuple[T, Mapping[str, Any]]:
        """Where one pass does not do: for a failure, an answer in no envelope, one without data, or without a type."""
        parsed = decode(answer, cast("TypeForm[object] | None", None))
        if not isinstance(parsed, dict) or not self._holds(cast("dict[str, Any]", parsed)):
            if self.optional:
                return decode(answer, into), {}
            raise unreadable(answer, f"but not in the envelope that was expected, with {self.success or self.data!r}")
        fields = cast("dict[str, Any]", parsed)
        if self._failed(fields):
            raise self._refusal(answer, fields, own)
        if into is None:
            return cast("T", fields.get(self.data)), fields
        if fields.get(self.data) is None:
            try:
                return adapter(into).validate_python(None), fields
            except ValidationError:
                pass  # the error that the whole answer made has the member's path
        assert misfit is not None  # noqa: S101 - what fits was returned by `opened`
        raise does_not_fit(answer, into, misfit) from None

    def _holds(self, fields: Mapping[str, object]) -> bool:
        """Whether these are the members of an envelope.

        Where one is optional a success without data is none: a resource may well have a `success` of its own.
        """
        if (self.success or self.data) not in fields:
            return False
        return not self.optional or self.data in fields or self._failed(fields)

    def _failed(self, fields: Mapping[str, object]) -> bool:
        if self.success is None:
            return False
        told = fields[self.success]
        # To Python, False == 0 and True == 1; to a backend that says 0 for success, false is none.
        return not any(told == ok and isinstance(told, bool) is isinstance(ok, bool) for ok in self.ok)

    def _refusal(self, answer: Answer, fields: Mapping[str, object], own: ErrorClasses | None) -> StatusError:
        problem = problem_in(fields, answer.status, self.said)
        if problem.detail is None:
            problem = problem.model_copy(update={"title": "its envelope says that it failed"})
        code = problem.code
        # A code of 404 is read as the status that the backend meant.
        meant = int(code) if code is not None and code.isascii() and code.isdecimal() and len(code) == 3 else 0
        kind = error_class(meant if 400 <= meant < 600 else answer.status, code, own)
        if kind is StatusError:
            kind = EnvelopeError
        story = answer.timeline
        earlier = story.attempts[:-1]  # the last is the one that said no
        lost = any(each.sent and (each.status is None or each.status >= 500) for each in earlier)
        return told(kind, problem, answer, story, answer.request_id, may_have_happened=story.changes and lost)

    def said(self, fields: Mapping[str, object]) -> dict[str, object]:
        """What an envelope says of a failure, under the names that a problem has for it (RFC 9457)."""
        inner = fields.get(self.error)
        outer = dict(fields) if not isinstance(inner, dict) else {**fields, **cast("dict[str, object]", inner)}
        message, code, errors = outer.get(self.message), outer.get(self.code), outer.get(self.errors)
        if isinstance(inner, str):
            if isinstance(message, str) and message:
                code = inner if code is None else code
            else:
                message = inner
        if isinstance(code, int) and not isinstance(code, bool):
            code = str(code)
        found = {"detail": message, "code": code, "errors": errors}
        return {name: value for name, value in found.items() if value is not None}
