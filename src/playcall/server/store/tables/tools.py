"""Tools: everybody's built-in ones and each user's own."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from playcall.models import JsonObject

from .base import ResourceRow

__all__ = ["ToolRow"]


class ToolRow(ResourceRow):
    """`owner_id` is NULL for a built-in tool. `secret_headers` leave the database only towards the tool's own `url`."""

    __tablename__ = "tools"
    __table_args__ = (
        UniqueConstraint("owner_id", "name"),
        # Unique constraints hold NULLs to be different: built-in names need an index of their own.
        Index(
            "uq_tools_builtin_name",
            "name",
            unique=True,
            sqlite_where=text("owner_id IS NULL"),
            postgresql_where=text("owner_id IS NULL"),
        ),
        Index("ix_tools_owner_order", "owner_id", "created_at", "id"),
    )

    owner_id: Mapped[str | None] = mapped_column(String(64), ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(16))
    description: Mapped[str]
    parameters: Mapped[JsonObject]
    defaults: Mapped[JsonObject]
    implementation: Mapped[str | None]
    url: Mapped[str | None]
    method: Mapped[str | None] = mapped_column(String(16))
    secret_headers: Mapped[JsonObject]
    timeout_seconds: Mapped[float | None]
