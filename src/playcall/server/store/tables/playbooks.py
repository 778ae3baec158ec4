"""Playbooks as their authors wrote them, and what lists search them by."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from playcall.models import JsonObject

from .base import Base, OwnedRow

__all__ = ["PlaybookLabelRow", "PlaybookRow"]


class PlaybookRow(OwnedRow):
    """The JSON columns hold what the author sent, defaults left out: `Playbook` reads them."""

    __tablename__ = "playbooks"
    __table_args__ = (
        UniqueConstraint("owner_id", "name"),
        Index("ix_playbooks_owner_order", "owner_id", "created_at", "id"),
    )

    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str]
    tags: Mapped[list[str]]
    inputs: Mapped[JsonObject]
    agents: Mapped[list[str]]
    steps: Mapped[list[Any]]


class PlaybookLabelRow(Base):
    """One tag or agent name of a playbook: a filter that both databases can index, which JSON columns are not."""

    __tablename__ = "playbook_labels"
    __table_args__ = (Index("ix_playbook_labels_kind_value", "kind", "value"),)

    playbook_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("playbooks.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    value: Mapped[str] = mapped_column(String(200), primary_key=True)
