"""Which processes are at work on the database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base

__all__ = ["ProcessRow"]


class ProcessRow(Base):
    """There from a process's launch to its orderly end, or until the others take it for dead.

    `beats` is moved by the process itself, and tells others that it is alive; no clock is compared. `place` says to
    people which one it is.
    """

    __tablename__ = "processes"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    place: Mapped[str] = mapped_column(String(300))
    started_at: Mapped[datetime]
    beats: Mapped[int] = mapped_column(BigInteger)
