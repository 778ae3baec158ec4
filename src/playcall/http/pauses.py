"""Pauses that a client's calls make, and that end when it is closed."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["Pauses"]


class Pauses:
    """Of one client, over all its loops and threads."""

    def __init__(self) -> None:
        self._waking: set[asyncio.Future[None]] = set()
        self._ended = False

    async def pause(self, seconds: float) -> None:
        """Returns after so long, or as soon as `end` was called."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._waking.add(woken)
        if self._ended:  # looked at last, because another thread may end them this moment
            _wake(woken)
        timer = loop.call_later(seconds, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()
            self._waking.discard(woken)

    def end(self) -> None:
        """Ends those under way, and all that would follow; from any thread."""
        self._ended = True
        for woken in list(self._waking):
            with contextlib.suppress(RuntimeError):  # its loop has closed, so nobody pauses there
                woken.get_loop().call_soon_threadsafe(_wake, woken)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
