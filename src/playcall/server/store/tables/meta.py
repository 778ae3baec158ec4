"""What the database says of itself."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base

__all__ = ["EPOCH", "FOLDER", "MARK", "SIGNING_KEY", "MetaRow"]

EPOCH = "epoch"
"""This incarnation of all logs: a new or restored database gets a new one."""
MARK = "mark"
"""How far this incarnation has come, to tell a restored database (`playcall.server.running.incarnation`)."""
FOLDER = "folder"
"""The data folder that belongs with this database says the same (`playcall.server.running.data_folder`); PostgreSQL only."""
SIGNING_KEY = "signing_key"
"""Signs access tokens; whoever can read the database could make tokens anyhow, as it holds the users."""


class MetaRow(Base):
    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str]
