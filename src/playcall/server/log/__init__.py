"""The event log: what to append, appending, reading, and waking those who wait (docs/realtime-protocol.md, «The log»)."""

from .append import EventTooLargeError, Outbox, TopicEndedError
from .events import MAX_DATA_BYTES, NewEvent, TopicEntry
from .read import LogGap, LogSlice, Place, StoredEvent, TopicState, read_log, read_place, read_topic
from .retention import expire_events, expire_topic
from .shared import SharedReads
from .wake import Wakes

__all__ = [
    "MAX_DATA_BYTES",
    "EventTooLargeError",
    "LogGap",
    "LogSlice",
    "NewEvent",
    "Outbox",
    "Place",
    "SharedReads",
    "StoredEvent",
    "TopicEndedError",
    "TopicEntry",
    "TopicState",
    "Wakes",
    "expire_events",
    "expire_topic",
    "read_log",
    "read_place",
    "read_topic",
]
