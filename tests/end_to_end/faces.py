"""One set of tests for both faces: the blocking client, made awaitable, so that a test is written once.

Each call of the blocking client runs on a thread, as an application's would: `await client.playbooks.get(id)`,
`async for event in client.runs.watch(id)` and `async with client.events.subscribe(…) as feed` mean the same on both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any

from playcall import AsyncPlaycall, Playcall

__all__ = ["FACES", "open_client"]

_END = object()


class _Used:
    """A call that is made when it is known how its value is wanted."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._entered: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return asyncio.to_thread(self._make).__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        iterator = iter(await asyncio.to_thread(self._make))
        try:
            while (item := await asyncio.to_thread(next, iterator, _END)) is not _END:
                yield item
        finally:
            if hasattr(iterator, "close"):
                await asyncio.to_thread(iterator.close)

    async def __aenter__(self) -> Any:
        self._entered = await asyncio.to_thread(self._make)
        inner = await asyncio.to_thread(self._entered.__enter__)
        return _Used(lambda: inner)

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self._entered.__exit__, *exc_info)


class _Awaitable:
    """Attributes as they are, methods as `_Used`, services wrapped again."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if isinstance(self._target, Playcall) and not callable(value) and name != "url":
            return _Awaitable(value)  # a service
        if callable(value) and name not in ("on_state", "remove"):  # plain functions on both faces
            return lambda *args, **options: _Used(partial(value, *args, **options))
        return value

    async def __aenter__(self) -> _Awaitable:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self._target.close)


FACES = ("blocking", "async")


def open_client(face: str, url: str, **options: Any) -> Any:
    """A client of that face, for `async with`."""
    if face == "async":
        return AsyncPlaycall(url, **options)
    return _Awaitable(Playcall(url, **options))
