"""Ending what has begun, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["unbroken"]

T = TypeVar("T")


async def unbroken(action: Coroutine[Any, Any, T]) -> T:
    """Ends what has begun, even if the caller is cancelled meanwhile: for transactions.

    Raises:
        asyncio.CancelledError: after the action has ended, if the caller was cancelled.
    """
    task = asyncio.ensure_future(action)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            # However often it is cancelled: a transaction is short.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
