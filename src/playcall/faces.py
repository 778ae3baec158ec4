"""Written once, served twice: descriptors that give one coroutine method two typed faces.

A service method is an ordinary `async def`, or async generator, whose `self` is the awaiting face:

    class PlaybookService(Service[FaceT]):
        @call
        async def get(self: "PlaybookService[Awaiting]", playbook_id: str) -> Playbook: ...

        @stream
        async def list(self: "PlaybookService[Awaiting]") -> AsyncIterator[Playbook]: ...

On `PlaybookService[Awaiting]`, `get(id)` is to be awaited and `list()` iterated with `async for`; on
`PlaybookService[Blocking]` the same method runs on the loop thread, `get(id)` gives the playbook and `list()` is a
plain iterator. Arguments keep their types on both.

`get.raw(id)` gives the answer with the value: its status, headers, body and timeline.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial, update_wrapper
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, cast, overload

from .answer import RawAnswer, with_answer
from .blocking_iterator import BlockingIterator
from .loop_thread import LoopThread

__all__ = [
    "Awaiting",
    "AwaitingMethod",
    "Blocking",
    "BlockingMethod",
    "Face",
    "FaceT",
    "Service",
    "bound",
    "call",
    "stream",
]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")


class Face:
    """Which way a client is used; only a type parameter, never made."""


class Awaiting(Face):
    """Methods are awaited."""


class Blocking(Face):
    """Methods give their value; the work is done on the loop thread."""


FaceT = TypeVar("FaceT", bound=Face)


class Service(Generic[FaceT]):
    """Something with described methods; `blocking` says which face this object shows."""

    def __init__(self, *, blocking: bool = False) -> None:
        self._blocking = blocking

    def _awaiting(self) -> Self:
        """This very service as its coroutines see it: the awaiting face, sharing everything else."""
        if not self._blocking:
            return self
        twin = copy.copy(self)
        twin._blocking = False
        return twin


class AwaitingMethod(Protocol[P, T_co]):
    """A described method on the awaiting face."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...
    async def raw(self, *args: P.args, **kwargs: P.kwargs) -> RawAnswer[T_co]:
        """The value with the answer that it was read from (the last, if it took several); raises as the method."""
        ...


class BlockingMethod(Protocol[P, T_co]):
    """A described method on the blocking face."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...
    def raw(self, *args: P.args, **kwargs: P.kwargs) -> RawAnswer[T_co]:
        """The value with the answer that it was read from (the last, if it took several); raises as the method."""
        ...


class _Shown:
    """Shows name, docstring and signature of a function whose first arguments are given: `_function`.

    By properties of the class, so that a bound method, which is made at each use, costs no more for it.
    """

    __slots__ = ()
    _function: partial[Any]

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cast("Any", property(lambda self: self._function.func.__doc__))

    __name__ = property(lambda self: self._function.func.__name__)
    __signature__ = property(lambda self: inspect.signature(self._function))


class _Awaited(_Shown, partial[Any]):
    # A partial is called by C, so it costs no frame, in time or in a traceback.

    @property
    def _function(self) -> partial[Any]:  # type: ignore[override]
        return partial(self.func, *self.args)

    async def raw(self, /, *args: Any, **kwargs: Any) -> Any:
        return await with_answer(self.func, *self.args, *args, **kwargs)


class _Blocked(_Shown):
    # `LoopThread.call` of a function, on the loop thread that there is when it is called: one made before a fork is gone.
    __slots__ = ("_function",)

    def __init__(self, function: partial[Any]) -> None:
        self._function = function

    @property
    def __call__(self) -> partial[Any]:
        """A property, whose value Python then calls: so there is no frame of ours between the caller and `call`."""
        return partial(LoopThread.shared().call, self._function)

    def raw(self, /, *args: Any, **kwargs: Any) -> Any:
        return LoopThread.shared().call(with_answer, self._function.func, *self._function.args, *args, **kwargs)


class _Iterated(_Shown):
    # A blocking iterator over what a function gives.
    __slots__ = ("_function",)

    def __init__(self, function: partial[Any]) -> None:
        self._function = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> BlockingIterator[Any]:
        return BlockingIterator(LoopThread.shared(), self._function(*args, **kwargs))


def bound(service: Service[Any], fn: Callable[..., Coroutine[Any, Any, Any]], *first: object) -> Any:
    """`fn` as a method of the service, on the face that it shows. Any: the descriptors' overloads type it."""
    if not service._blocking:  # pyright: ignore[reportPrivateUsage] - half of Service
        return _Awaited(fn, service, *first)
    return _Blocked(partial(fn, service._awaiting(), *first))  # pyright: ignore[reportPrivateUsage]


class call(Generic[P, T]):
    """Makes a coroutine method callable on both faces."""

    def __init__(self, fn: Callable[Concatenate[S, P], Coroutine[Any, Any, T]]) -> None:
        # The receiver's type is the method's own affair: `__get__` passes the right one.
        self._fn = cast("Callable[..., Coroutine[Any, Any, T]]", fn)
        update_wrapper(cast("Any", self), fn)

    @overload
    def __get__(self, obj: None, owner: type) -> Self: ...
    @overload
    def __get__(self, obj: Service[Awaiting], owner: type) -> AwaitingMethod[P, T]: ...
    @overload
    def __get__(self, obj: Service[Blocking], owner: type) -> BlockingMethod[P, T]: ...
    def __get__(self, obj: Service[Any] | None, owner: type) -> Any:
        return self if obj is None else bound(obj, self._fn)


class stream(Generic[P, T]):
    """Makes an async generator method iterable on both faces."""

    def __init__(self, fn: Callable[Concatenate[S, P], AsyncIterator[T]]) -> None:
        self._fn = cast("Callable[..., AsyncIterator[T]]", fn)
        update_wrapper(cast("Any", self), fn)

    @overload
    def __get__(self, obj: None, owner: type) -> Self: ...
    @overload
    def __get__(self, obj: Service[Awaiting], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, obj: Service[Blocking], owner: type) -> Callable[P, BlockingIterator[T]]: ...
    def __get__(self, obj: Service[Any] | None, owner: type) -> Any:
        if obj is None:
            return self
        if not obj._blocking:  # pyright: ignore[reportPrivateUsage] - the descriptor is half of Service
            return MethodType(self._fn, obj)
        return _Iterated(partial(self._fn, obj._awaiting()))  # pyright: ignore[reportPrivateUsage]
