"""Tasks: a run's operations, users' own, and direct calls of tools."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from playcall.models import JsonObject

from .base import Json, OwnedRow

__all__ = ["TaskRow"]


class TaskRow(OwnedRow):
    """`attempt` and `place` say which operation of its step a run's task is; they are 0 for every other task.

    `effect` names within the step what a run's task is to bring about: it is the same for every try of the same.
    `segment` is for a task without a run what it is for a run: the workflow that may write here.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("run_id", "step_id", "attempt", "place"),
        Index("ix_tasks_owner_order", "owner_id", "created_at", "id"),
        Index("ix_tasks_agent_order", "agent_id", "created_at", "id"),
    )

    agent_id: Mapped[str | None] = mapped_column(String(64))
    agent: Mapped[str | None] = mapped_column(String(200))
    operation: Mapped[str] = mapped_column(String(200))
    parameters: Mapped[JsonObject]
    description: Mapped[str]
    status: Mapped[str] = mapped_column(String(16))
    wish: Mapped[str | None] = mapped_column(String(16))
    # An output is whatever JSON holds.
    output: Mapped[Any] = mapped_column(Json, nullable=True)
    error: Mapped[JsonObject | None]
    run_id: Mapped[str | None] = mapped_column(String(64), ForeignKey("runs.id", ondelete="CASCADE"))
    step_id: Mapped[str | None] = mapped_column(String(64))
    attempt: Mapped[int] = mapped_column(default=0)
    place: Mapped[int] = mapped_column(default=0)
    effect: Mapped[str | None] = mapped_column(String(64))
    segment: Mapped[int] = mapped_column(default=1)
    faults: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    timeout_seconds: Mapped[float | None]
