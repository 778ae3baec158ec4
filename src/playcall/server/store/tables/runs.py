"""Runs, their steps, and the files they made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from playcall.models import JsonObject

from .base import Base, Json, OwnedRow

__all__ = ["ArtifactRow", "RunRow", "RunStepRow"]


class RunRow(OwnedRow):
    """`playbook` is the playbook as it was when the run began: later changes of it do not reach a run.

    `segment` names the workflow that may write here, and is checked under this row's lock by whatever writes for the
    run. `at_step` is the last step that has ended; the run goes on from it. `faults` counts segments that broke off
    for a reason of the server's own.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("owner_id", "idempotency_key"),
        Index("ix_runs_owner_order", "owner_id", "created_at", "id"),
        Index("ix_runs_status", "status"),
        Index("ix_runs_playbook", "playbook_id"),
    )

    playbook_id: Mapped[str] = mapped_column(String(64))
    playbook_name: Mapped[str] = mapped_column(String(200))
    playbook_version: Mapped[int]
    playbook: Mapped[JsonObject]
    status: Mapped[str] = mapped_column(String(16))
    wish: Mapped[str | None] = mapped_column(String(16))
    inputs: Mapped[JsonObject]
    # An output is whatever JSON holds.
    output: Mapped[Any] = mapped_column(Json, nullable=True)
    error: Mapped[JsonObject | None]
    segment: Mapped[int] = mapped_column(default=1)
    at_step: Mapped[str | None] = mapped_column(String(64))
    faults: Mapped[int] = mapped_column(default=0)
    steps_total: Mapped[int]
    steps_finished: Mapped[int] = mapped_column(default=0)
    retry_of: Mapped[str | None] = mapped_column(String(64))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_hash: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None] = mapped_column(index=True)


class RunStepRow(Base):
    """One step of a run; `position` is its place in the playbook.

    `goes_to` is for a step that failed and whose playbook says where the run goes on: a step, or the end.
    """

    __tablename__ = "run_steps"

    run_id: Mapped[str] = mapped_column(String(64), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int]
    type: Mapped[str] = mapped_column(String(32))
    description: Mapped[str]
    status: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=0)
    # An output is whatever JSON holds.
    output: Mapped[Any] = mapped_column(Json, nullable=True)
    error: Mapped[JsonObject | None]
    goes_to: Mapped[str | None] = mapped_column(String(64))
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ArtifactRow(Base):
    """A file in the run's workspace, as it was when its step ended, or when it was uploaded: then no step made it."""

    __tablename__ = "artifacts"

    run_id: Mapped[str] = mapped_column(String(64), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(500), primary_key=True)
    media_type: Mapped[str] = mapped_column(String(200))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    step_id: Mapped[str | None] = mapped_column(String(64))
