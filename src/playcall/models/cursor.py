"""A place in a topic's log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=False)
class Cursor:
    """«I have everything up to and including `seq`» of the incarnation `epoch` (docs/realtime.md, «The log»)."""

    epoch: str
    seq: int

    def __post_init__(self) -> None:
        if not self.epoch or any(c in self.epoch for c in ":,; \t\r\n"):
            raise ValueError(f"a cursor's epoch is a word without ':', got {self.epoch!r}")
        if self.seq < 0:
            raise ValueError(f"a cursor's seq is 0 or more, got {self.seq}")

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
        if not colon or not seq.isascii() or not seq.isdigit():
            raise ValueError(f"a cursor is written EPOCH:SEQ, got {text!r}")
        return cls(epoch, int(seq))
