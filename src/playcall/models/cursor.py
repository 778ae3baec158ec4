"""A place in a topic's log."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .ids import EventId

MAX_SEQ = 2**53
"""Up to here every JSON parser reads whole numbers exactly (RFC 8259 section 6)."""

_EPOCH = re.compile(r"[!-+\--9<-~]{1,100}")
_SEQ = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True, order=False)
class Cursor:
    """«I have everything up to and including `seq`» of the incarnation `epoch` (docs/realtime-protocol.md, «The log»).

    `event_id` is the event at `seq` where that is known: a log that has another one there is not the log that was read,
    whatever its epoch says. It is no part of the place, so cursors that differ in it alone are equal.
    """

    epoch: str
    seq: int
    event_id: EventId | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not _EPOCH.fullmatch(self.epoch):
            raise ValueError(f"a cursor's epoch is a word of ASCII without ':', got {self.epoch!r}")
        if not 0 <= self.seq <= MAX_SEQ:
            raise ValueError(f"a cursor's seq is between 0 and 2^53, got {self.seq}")

    def __str__(self) -> str:
        """`EPOCH:SEQ`, as `X-Event-Cursor` and the `from` parameter carry it."""
        return f"{self.epoch}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The inverse of `str()`.

        Raises:
            ValueError: `text` is not `EPOCH:SEQ`.
        """
        epoch, colon, seq = text.rpartition(":")
        if not colon or not _SEQ.fullmatch(seq):
            raise ValueError(f"a cursor is written EPOCH:SEQ, got {text!r}")
        return cls(epoch, int(seq))
