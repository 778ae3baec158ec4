"""The end of a topic's log as it grows: the newest events, bounded, and where the older ones begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from playcall import Playcall
from playcall.dashboard.event_log import EventPage, earlier_events, head_of
from playcall.dashboard.following import Closable, Followed, Following
from playcall.models import AnyEvent, Cursor
from playcall.realtime.items import Gap

__all__ = ["KEPT", "TOPICS", "EventTail", "event_tail", "patterns_of"]

TOPICS: Final = ("runs", "tasks", "agents", "playbooks", "tools")
KEPT: Final = 500
FIRST: Final = 100
"""Events that it begins with."""
PATTERNS: Final = 20
PATTERN_CHARACTERS: Final = 100


def patterns_of(text: str) -> tuple[str, ...]:
    """`task.*, run.completed` as patterns of types; none for all. What is too much is left out."""
    words = dict.fromkeys(text.replace(",", " ").split())
    return tuple(each[:PATTERN_CHARACTERS] for each in words)[:PATTERNS]


class EventTail(Followed):
    """The newest events of a topic. `types` are patterns, none means all; the backend filters."""

    def __init__(self, topic: str, types: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.topic = topic
        self.types = types or None
        self.epoch = ""
        """Of the log, so that older events can be read from it."""
        self.taken = 0
        """Events that came since it was first looked at."""
        self.lost = 0
        """Times that events were lost for good."""
        self._before = 0
        self._reached = 0
        """The place up to which all is known: what was read comes once more where it waited in the feed meanwhile."""
        self._events: deque[AnyEvent] = deque(maxlen=KEPT)

    def page(self) -> EventPage:
        """What is known, with the place that older events are to be read from."""
        with self.lock:
            return EventPage(tuple(self._events), self._before)

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        with client.events.subscribe(self.topic, types=self.types, on_gap="yield") as feed:
            closing(feed)
            head = head_of(client, self.topic, self.types)
            if head is not None:
                self.begin(head, self._earlier(client, head))
                for item in feed:
                    self.take(item, feed.cursor)
        if head is None:  # it had ended already, and said so before it could be asked how long it is
            with self.lock:
                self._forget("", 0)
            with client.events.subscribe(self.topic, types=self.types, on_gap="yield", start="start") as feed:
                closing(feed)
                for item in feed:
                    self.take(item, feed.cursor)
        with self.lock:
            self.over = True
            self.moved()

    def _earlier(self, client: Playcall, head: Cursor) -> EventPage:
        return earlier_events(client, self.topic, head.epoch, head.seq, types=self.types, want=FIRST)

    def begin(self, head: Cursor, page: EventPage) -> None:
        """What is known so far is forgotten."""
        with self.lock:
            over = len(page.events) - KEPT
            self._forget(head.epoch, page.before if over <= 0 else page.events[over - 1].seq)
            self._events.extend(page.events)
            self._reached = head.seq
            self.moved()

    def take(self, item: AnyEvent | Gap, cursor: Cursor | None) -> None:
        """The next item of the feed, and its place."""
        with self.lock:
            if cursor is not None:
                self.epoch = cursor.epoch
            if isinstance(item, Gap):
                self.lost += 1
                if item.resume.epoch != item.lost_after.epoch or item.resume.seq < self._reached:
                    self._forget(item.resume.epoch, item.resume.seq)  # the log of these events is no more
            elif item.seq <= self._reached:
                return
            else:
                self.taken += 1
                self._reached = item.seq
                if len(self._events) == KEPT:
                    self._before = self._events[0].seq
                self._events.append(item)
            self.moved()

    def _forget(self, epoch: str, before: int) -> None:
        self.epoch, self._before, self._reached = epoch, before, before
        self._events.clear()


def event_tail(following: Following, topic: str, types: tuple[str, ...]) -> EventTail:
    return following.look(f"events:{topic}:{' '.join(types)}", lambda: EventTail(topic, types))
