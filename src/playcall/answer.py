"""A successful answer, and the value that was read from it; what `.raw()` of any method gives."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import Any, Generic, ParamSpec, Self, TypeVar

from .timeline import Timeline

__all__ = ["Answer", "RawAnswer", "heard", "with_answer"]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the backend answered. `headers` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    timeline: Timeline
    request_id: str | None

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        """Pickles and copies deeply, though the headers of a real connection do neither."""
        from multidict import CIMultiDict

        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return type(self), tuple({**values, "headers": CIMultiDict(self.headers)}.values())

    @property
    def etag(self) -> str | None:
        """The answer's `ETag`, quotes and all, for `If-Match` (RFC 9110 section 8.8.3); None without one."""
        return self.headers.get("ETag")

    def explain(self) -> str:
        """Every attempt: when, how it ended, and why it was made again; fit to paste into a report."""
        return self.timeline.explain()


@dataclass(frozen=True, slots=True)
class RawAnswer(Answer, Generic[T_co]):
    """An answer with the value that the method gave for it.

    `not_modified` is True when the backend said 304, so that `value` is what the caller had already.
    """

    value: T_co

    @property
    def not_modified(self) -> bool:
        return self.status == 304


heard: ContextVar[list[Answer] | None] = ContextVar("playcall_heard", default=None)
"""Where the answers of this context are kept for `with_answer`; None nearly always."""


async def with_answer(fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> RawAnswer[T]:
    """What `fn` gives, together with the last answer that it was made from.

    Raises:
        TypeError: `fn` asked the backend nothing.
    """
    answers: list[Answer] = []
    token = heard.set(answers)
    try:
        value = await fn(*args, **kwargs)
    finally:
        heard.reset(token)
    if not answers:
        raise TypeError(f"{getattr(fn, '__name__', fn)} asked the backend nothing, so there is no raw answer")
    last = answers[-1]
    return RawAnswer(last.status, last.headers, last.body, last.timeline, last.request_id, value)
