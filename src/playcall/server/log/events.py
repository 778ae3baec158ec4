"""An event on its way into the log."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from pydantic_core import from_json

from playcall.models import JsonObject
from playcall.models.struct import WireStruct
from playcall.server.clock import utc_now
from playcall.server.ids import new_id
from playcall.server.nesting import is_deeper

__all__ = ["MAX_DATA_BYTES", "MAX_DATA_LEVELS", "Ending", "NewEvent", "TopicEntry"]

MAX_DATA_BYTES = 65_536
"""Of `data` as JSON in UTF-8: one event always fits a frame. Larger values become artifacts, referred to."""

MAX_DATA_LEVELS = 128
"""Of objects and lists in each other: bodies have up to 64, events wrap them, frames wrap events, and some clients' parsers
stop at 200. One event that cannot be read would stop its topic for good.
"""

Ending: TypeAlias = Literal["finished", "deleted"]


@dataclass(frozen=True, slots=True)
class TopicEntry:
    """A topic that the event belongs to; with `ends` it is that topic's terminal event, and the reason why."""

    name: str
    ends: Ending | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """What happened, to whom it belongs, and in which of the owner's topics it stands; one `id` in all of them.

    `data` is a payload of `playcall.models.event`, or its JSON object.
    """

    owner_id: str
    type: str
    data: WireStruct | JsonObject
    topics: tuple[TopicEntry, ...]
    id: str = field(default_factory=lambda: new_id("evt"))
    time: datetime = field(default_factory=utc_now)

    def data_json(self) -> str:
        """`data` as the log keeps it.

        Raises:
            ValueError: It holds something that JSON cannot say, such as NaN, or is nested too deep for a frame.
        """
        if isinstance(self.data, WireStruct):
            text = self.data.model_dump_json()
        else:
            text = json.dumps(self.data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # Few texts have that many brackets at all.
        if text.count("[") + text.count("{") > MAX_DATA_LEVELS and is_deeper(from_json(text), MAX_DATA_LEVELS):
            raise ValueError(f"the data of {self.type} is nested more than {MAX_DATA_LEVELS} levels deep")
        return text
