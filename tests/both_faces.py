"""One test, both faces: `await value(api.get(…))` and `await items(service.list())` serve either.

The blocking face does its work on playcall's own thread, so a test may call it from within its own loop.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from playcall import AsyncPlaycall, BaseAPIClient, BlockingAPIClient, Playcall
from playcall.testing import MockTransport
from playcall.testing.mock_transport import Handler

FACES = pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])


async def value(given: Any) -> Any:
    """What a call gives: awaited on the async face, there already on the blocking one."""
    return await given if inspect.isawaitable(given) else given


async def items(given: Any, limit: int | None = None) -> list[Any]:
    """What a stream gives, at most `limit` of it."""
    got: list[Any] = []
    if isinstance(given, AsyncIterator):
        async for each in given:
            got.append(each)
            if len(got) == limit:
                break
        await given.aclose()  # type: ignore[attr-defined]
    else:
        assert isinstance(given, Iterator)
        for each in given:
            got.append(each)
            if len(got) == limit:
                break
    return got


class using:
    """`async with using(client) as client`: closes it on either face."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def __aenter__(self) -> Any:
        return self._client

    async def __aexit__(self, *exc_info: object) -> None:
        await value(self._client.close())


def api(blocking: bool, handler: Handler, url: str = "http://backend.test/base", **options: Any) -> using:
    """A `BaseAPIClient` or `BlockingAPIClient` over a mock; its requests are `.engine.transport.requests`."""
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    return using(kind(url, transport=MockTransport(handler), **options))


def playcall(blocking: bool, handler: Handler, **options: Any) -> using:
    """A `Playcall` or `AsyncPlaycall` over a mock."""
    kind: Any = Playcall if blocking else AsyncPlaycall
    return using(kind("http://backend.test", transport=MockTransport(handler), **options))
