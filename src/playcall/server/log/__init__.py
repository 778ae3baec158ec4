"""The event log: what to append, appending, reading, and waking those who wait (docs/realtime.md, «The log»)."""

from .append import EventTooLargeError, Outbox, TopicEndedError
from .events import MAX_DATA_BYTES, NewEvent, TopicEntry
from .read import LogGap, LogSlice, StoredEvent, TopicState, read_log, read_topic
from .wake import Wakes

__all__ = [
    "MAX_DATA_BYTES",
    "EventTooLargeError",
    "LogGap",
    "LogSlice",
    "NewEvent",
    "Outbox",
    "StoredEvent",
    "TopicEndedError",
    "TopicEntry",
    "TopicState",
    "Wakes",
    "read_log",
    "read_topic",
]
