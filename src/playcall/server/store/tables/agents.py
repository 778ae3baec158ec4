"""Agents."""

from __future__ import annotations

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from .base import OwnedRow

__all__ = ["AgentRow"]


class AgentRow(OwnedRow):
    __tablename__ = "agents"
    __table_args__ = (
        UniqueConstraint("owner_id", "name"),
        Index("ix_agents_owner_order", "owner_id", "created_at", "id"),
    )

    name: Mapped[str] = mapped_column(String(200))
    type: Mapped[str] = mapped_column(String(200))
    description: Mapped[str]
    instructions: Mapped[str]
    model: Mapped[str | None]
    tools: Mapped[list[str]]
    state: Mapped[str] = mapped_column(String(16))
