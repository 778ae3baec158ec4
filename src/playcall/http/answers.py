"""From a value to a body, and from an answer to a value."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pydantic_core
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import TypeForm

from ..errors import InvalidArgumentError, UnreadableAnswerError

if TYPE_CHECKING:
    from ..answer import Answer

__all__ = ["adapter", "decode", "decode_body", "does_not_fit", "encode", "unreadable"]

T = TypeVar("T")

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
        return _encoded(value)
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_jsonable).encode()
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError: lone surrogates
        raise InvalidArgumentError(f"the body cannot be sent as JSON: {error}") from None


def _jsonable(value: object) -> Any:
    if isinstance(value, BaseModel):
        return json.loads(_encoded(value))
    try:
        return pydantic_core.to_jsonable_python(value)
    except pydantic_core.PydanticSerializationError as error:
        raise TypeError(str(error)) from None


def _encoded(model: BaseModel) -> bytes:
    try:
        body = model.model_dump_json(exclude_unset=True, by_alias=True).encode()
    except (pydantic_core.PydanticSerializationError, UnicodeEncodeError) as error:
        raise InvalidArgumentError(f"the body cannot be sent as JSON: {error}") from None
    if b"null" in body and _holds_no_number(model.model_dump(exclude_unset=True)):  # pydantic writes null for them
        raise InvalidArgumentError("the body cannot be sent as JSON: it holds a NaN or an infinity")
    return body


def _holds_no_number(value: object) -> bool:
    """Whether a NaN or an infinity is in it, at any depth."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, float) and not math.isfinite(each):
            return True
        if isinstance(each, Mapping):
            left += cast("Mapping[object, object]", each).values()
        elif isinstance(each, list | tuple | set | frozenset):
            left += cast("Iterable[object]", each)
    return False


def decode(answer: Answer, into: TypeForm[T] | None) -> T:
    """The value of a successful answer; raises as `decode_body`."""
    return decode_body(answer.body, into, lambda: answer)


def decode_body(body: bytes, into: TypeForm[T] | None, answer: Callable[[], Answer]) -> T:
    """The value of a successful answer's body; without `into`, whatever JSON it is, None for no body.

    `answer` is asked for only by the error.

    Raises:
        UnreadableAnswerError: the body does not fit, with the path of the first wrong field.
    """
    if into is None:
        if not body:
            return cast("T", None)
        try:
            return cast("T", json.loads(body))
        except (ValueError, RecursionError) as error:
            raise unreadable(answer(), f"but not with JSON: {error}") from None
    try:
        # Runtime `extra` wins over the models' own: what a newer backend added is passed over, at any depth.
        # The adapter's own method asks pydantic nothing else.
        return cast("T", adapter(into).validator.validate_json(body, extra="ignore"))
    except ValidationError as error:
        raise does_not_fit(answer(), into, error) from None


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
