"""What a dependency reads of a request and may answer it with, said where the dependency is written.

A route has all of it that its dependencies have; so a route says only what it does itself, and the OpenAPI document
follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi.dependencies.models import Dependant

__all__ = ["Promise", "may_answer", "promises_of"]

CallT = TypeVar("CallT", bound=Callable[..., Any])  # Any: whatever a dependency asks for

_ATTRIBUTE: Final = "__playcall_promise__"


@dataclass(frozen=True, slots=True)
class Promise:
    """Codes of problems; names of components of the document: request headers, and headers of a success.

    `unsafe_codes` come with a method that may change something.
    """

    codes: tuple[str, ...]
    unsafe_codes: tuple[str, ...]
    reads: tuple[str, ...]
    sends: tuple[str, ...]


def may_answer(
    *codes: str, unsafe: Iterable[str] = (), reads: Iterable[str] = (), sends: Iterable[str] = ()
) -> Callable[[CallT], CallT]:
    """Marks a dependency."""
    promise = Promise(codes, tuple(unsafe), tuple(reads), tuple(sends))

    def marked(call: CallT) -> CallT:
        setattr(call, _ATTRIBUTE, promise)
        return call

    return marked


def promises_of(dependant: Dependant) -> Iterator[Promise]:
    """Of a route's dependencies, theirs included; the same one may come several times."""
    for dependency in dependant.dependencies:
        promise = getattr(dependency.call, _ATTRIBUTE, None)
        if isinstance(promise, Promise):
            yield promise
        yield from promises_of(dependency)
