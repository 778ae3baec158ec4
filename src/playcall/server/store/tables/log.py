"""The event log (docs/realtime-protocol.md, «The log»): one log for each owner and topic."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base

__all__ = ["EventRow", "TopicRow"]


class TopicRow(Base):
    """`head` is the last seq given, `floor` the first still kept; `ended` says why nothing more will be appended."""

    __tablename__ = "topics"
    __table_args__ = (UniqueConstraint("owner_id", "name"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    owner_id: Mapped[str] = mapped_column(String(64), ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    head: Mapped[int] = mapped_column(BigInteger)
    floor: Mapped[int] = mapped_column(BigInteger)
    ended: Mapped[str | None] = mapped_column(String(16))


class EventRow(Base):
    """One event at its place in one topic; the same `id` stands in each topic that the event belongs to.

    `data` is JSON text, written once and sent as it is: reading the log parses nothing.
    """

    __tablename__ = "events"

    topic_id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), ForeignKey("topics.id", ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[str] = mapped_column(String(64))
    time: Mapped[datetime]
    type: Mapped[str] = mapped_column(String(100))
    terminal: Mapped[bool]
    data: Mapped[str] = mapped_column(Text)
