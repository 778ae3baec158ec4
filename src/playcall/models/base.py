"""What every wire model shares."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, Field

E = TypeVar("E", bound=StrEnum)

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object whose fields the contract leaves open."""

Open: TypeAlias = Annotated[E | str, Field(union_mode="left_to_right")]
"""An open enumeration: a value this client does not know stays a plain string (the contract, «Growing»)."""


class WireModel(BaseModel, frozen=True, extra="ignore", defer_build=True):
    """Immutable; a field that this version does not know is ignored, so that old clients read new answers."""


class RequestModel(BaseModel, frozen=True, extra="forbid", defer_build=True):
    """What a caller sends: a field that nobody knows is an error, so that a typing slip is not lost in silence.

    Whoever *reads* one in an answer validates with `extra="ignore"`, which wins over the model's own setting.
    """


class Resource(WireModel, frozen=True):
    """What every stored resource carries.

    `version` starts at 1 and grows with each change; it is the resource's `ETag`.
    """

    version: int
    created_at: datetime
    updated_at: datetime
