"""Answers already given, by idempotency key; kept for a while (`playcall.server.upkeep.retention`)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from playcall.models import JsonObject

from .base import Base

__all__ = ["IdempotencyRow"]


class IdempotencyRow(Base):
    """Written in the transaction of the change that it answers for, so that neither is there without the other.

    `status`, `headers` and `body` are NULL only inside that transaction.
    """

    __tablename__ = "idempotency_keys"

    caller_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    method: Mapped[str] = mapped_column(String(8), primary_key=True)
    path: Mapped[str] = mapped_column(String(500), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    headers: Mapped[JsonObject | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(index=True)
