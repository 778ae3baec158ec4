"""Users and their credentials. No secret is stored as it is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base

__all__ = ["ApiKeyRow", "SignInFailureRow", "TokenFamilyRow", "UserRow"]


class UserRow(Base):
    """`password_hash` is argon2's own text, or None for a user who has API keys only.

    No credential of a user who is disabled is good, from `disabled_at` on.
    """

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    username: Mapped[str] = mapped_column(String(200), unique=True)
    password_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None] = mapped_column(default=None)


class ApiKeyRow(Base):
    """`secret_hash` is SHA-256: the secret has 256 random bits, so there is nothing for a slow hash to protect."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    scope: Mapped[str] = mapped_column(String(16))
    hint: Mapped[str] = mapped_column(String(16))
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class TokenFamilyRow(Base):
    """What follows one sign-in with a password: a chain of refresh tokens, of which the last used one is known.

    The tokens themselves are signed and numbered, so that none needs a row. `current_hash` is SHA-256 of the one with the
    number `generation`: later numbers have not been used yet, earlier ones are over.
    """

    __tablename__ = "token_families"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), ForeignKey("users.id"), index=True)
    scope: Mapped[str] = mapped_column(String(16))
    generation: Mapped[int]
    current_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class SignInFailureRow(Base):
    """Failed sign-ins for a name, or from an address, since the last success or a long pause.

    `key` is a keyed hash: people type passwords where a name belongs.
    """

    __tablename__ = "sign_in_failures"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(index=True)
