"""Changing a stored resource: fields in, version up, names unique."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import flag_modified

from playcall.models import FieldProblem, RequestModel
from playcall.server.clock import utc_now
from playcall.server.problems import ApiError, invalid
from playcall.server.store.tables import ResourceRow

__all__ = ["apply_changes", "flush_named", "sent_fields"]


def sent_fields(patch: RequestModel, *, nullable: Collection[str] = ()) -> dict[str, Any]:
    """The fields that the caller sent, as columns take them. `Any` because each column has a type of its own.

    Raises:
        ApiError: 422: null was sent for a field that cannot be without a value.
    """
    fields = patch.model_dump(exclude_unset=True)
    errors = [
        FieldProblem(loc=["body", name], msg="null is no value for this field; leave it out to keep it", type="null")
        for name, value in fields.items()
        if value is None and name not in nullable
    ]
    if errors:
        raise invalid(errors[0].msg, errors)
    return fields


def apply_changes(row: ResourceRow, changes: Mapping[str, object]) -> bool:
    """Whether anything is different now; only then do version and time move."""
    different = {name: value for name, value in changes.items() if not _is_same(getattr(row, name), value)}
    if not different:
        return False
    for name, value in different.items():
        setattr(row, name, value)
        # SQLAlchemy compares as Python does, and would leave {"a": true} unwritten over {"a": 1}.
        flag_modified(row, name)
    row.version += 1
    row.updated_at = utc_now()
    return True


def _is_same(stored: object, value: object) -> bool:
    """As JSON has it: Python takes 1, 1.0 and true for equal, also deep within objects."""
    if isinstance(stored, dict | list):
        return json.dumps(stored, sort_keys=True) == json.dumps(value, sort_keys=True)
    return stored == value


async def flush_named(session: AsyncSession, noun: str, name: str) -> None:
    """Write now, so that a name that is taken is found here.

    Raises:
        ApiError: 409 `name_taken`.
    """
    try:
        await session.flush()
    except IntegrityError:
        raise name_taken(noun, name) from None


def name_taken(noun: str, name: str) -> ApiError:
    article = "an" if noun[0] in "aeiou" else "a"
    return ApiError(409, "name_taken", f"you have {article} {noun} named {name} already", name=name)
