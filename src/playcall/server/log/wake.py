"""Waking those who wait for a topic. A wake-up carries no data: whoever is woken reads the log."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeAlias

from playcall.server.telemetry import metrics

__all__ = ["TopicKey", "Waiter", "Wakes", "key_of_word", "topic_word"]

TopicKey: TypeAlias = tuple[str, str]
"""Owner and topic."""


def topic_word(key: TopicKey) -> str:
    """The two in one word, for other processes."""
    return " ".join(key)


def key_of_word(id: str) -> TopicKey:
    """Ids of owners have no blanks."""
    owner_id, _, name = id.partition(" ")
    return owner_id, name


class Waiter:
    """One reader's flag. Clear it, read the log, then wait: a commit between the two leaves it set.

    `seen` is the last seq that the reader knows of; the poll wakes it when the head is beyond that. `gone`: the topic was
    not there when the poll looked, which is worth a read however little could be sent.
    """

    def __init__(self) -> None:
        self._flag = asyncio.Event()
        self.seen = 0
        self.gone = False

    def clear(self) -> None:
        self.gone = False
        self._flag.clear()

    def is_set(self) -> bool:
        return self._flag.is_set()

    def set(self) -> None:
        self._flag.set()

    async def wait(self) -> None:
        await self._flag.wait()


class Wakes:
    """All waiters of this process. `wake` may be called from any thread; the rest belongs to the server's loop."""

    def __init__(self) -> None:
        self._waiters: defaultdict[TopicKey, set[Waiter]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id: int | None = None

    @contextmanager
    def waiting(self, owner_id: str, topic: str) -> Generator[Waiter]:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        key = (owner_id, topic)
        waiter = Waiter()
        self._waiters[key].add(waiter)
        try:
            yield waiter
        finally:
            self._waiters[key].discard(waiter)
            if not self._waiters[key]:
                del self._waiters[key]

    def wake(self, owner_id: str, topic: str) -> None:
        """Set the flag of everyone who waits for this topic."""
        if self._loop is None:
            return  # nobody has ever waited
        if threading.get_ident() == self._thread_id:
            self._wake((owner_id, topic))
        else:
            self._loop.call_soon_threadsafe(self._wake, (owner_id, topic))

    def wake_all(self) -> None:
        """Everybody looks up: something may have been missed."""
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.set()

    def watched(self) -> list[TopicKey]:
        """The topics that somebody waits for."""
        return list(self._waiters)

    def wake_behind(self, owner_id: str, topic: str, head: int) -> None:
        """Wake those who have not seen the topic's head."""
        for waiter in self._waiters.get((owner_id, topic), ()):
            if waiter.seen < head:
                metrics.WAKES.add("poll")
                waiter.set()

    def wake_gone(self, owner_id: str, topic: str) -> None:
        """Wake everyone who waits for a topic that is not there."""
        for waiter in self._waiters.get((owner_id, topic), ()):
            waiter.gone = True
            waiter.set()

    def _wake(self, key: TopicKey) -> None:
        for waiter in self._waiters.get(key, ()):
            waiter.set()
