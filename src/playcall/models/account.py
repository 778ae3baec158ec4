"""Who is calling: users, tokens, API keys."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from .base import Open, RequestModel, WireModel
from .ids import ApiKeyId, UserId
from .names import Name


class Scope(StrEnum):
    FULL = "full"
    READ = "read"


class TokenPair(WireModel, frozen=True):
    """The answer of `POST /auth/token` (RFC 6749 section 5.1)."""

    access_token: str = Field(repr=False)
    token_type: str = "bearer"  # noqa: S105 - the type's name, not a token
    expires_in: int
    refresh_token: str | None = Field(default=None, repr=False)


class Me(WireModel, frozen=True):
    """Who the credentials belong to."""

    id: UserId
    username: str
    scope: Open[Scope]
    credential: Literal["api_key", "token"] | str


MAX_KEY_SECONDS = 10 * 365 * 86_400
"""Ten years; None is longer."""


class ApiKeySpec(RequestModel, frozen=True):
    name: Name
    scope: Scope = Scope.FULL
    expires_in_seconds: Annotated[int, Field(ge=1, le=MAX_KEY_SECONDS)] | None = None


class ApiKey(WireModel, frozen=True):
    """An API key without its secret; `hint` is the secret's first characters."""

    id: ApiKeyId
    name: str
    scope: Open[Scope]
    hint: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class NewApiKey(ApiKey, frozen=True):
    """The only answer that ever carries the secret."""

    secret: str = Field(repr=False)


class Health(WireModel, frozen=True):
    """`GET /health` says that the process lives, `GET /ready` that it can work.

    `checks` names what was looked at, each `ok` or what is wrong with it. `api` is the version of the contract.
    """

    status: str
    version: str
    api: str | None = None
    uptime_seconds: float | None = None
    checks: dict[str, str] = {}
