"""Lists by keyset: the place in a list is the last item's (created_at, id), which never changes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from fastapi import Depends, Query
from sqlalchemy import Select, and_, or_
from sqlalchemy.ext.asyncio import AsyncSession

from playcall.models import FieldProblem

from .problems import invalid
from .store.tables.base import ResourceRow

__all__ = ["OrderedPageDep", "PageRequest", "PageRequestDep", "read_page"]

RowT = TypeVar("RowT", bound=ResourceRow)

_Limit = Annotated[int, Query(ge=1, le=1_000, description="Items on a page, at most.")]
_Cursor = Annotated[
    str | None,
    Query(max_length=1_000, description="`next_cursor` of the page before, with the same filters."),
]
_Order = Annotated[
    Literal["oldest", "newest"],
    Query(description="What comes first. A `cursor` goes with the order that it was made in."),
]


@dataclass(frozen=True, slots=True)
class PageRequest:
    limit: int
    cursor: str | None
    newest_first: bool = False

    @property
    def is_first(self) -> bool:
        """Only the first page carries the collection's event cursor: a later snapshot would skip what lies between."""
        return self.cursor is None


def _page_request(limit: _Limit = 100, cursor: _Cursor = None) -> PageRequest:
    return PageRequest(limit, cursor)


def _ordered_page(limit: _Limit = 100, cursor: _Cursor = None, order: _Order = "oldest") -> PageRequest:
    return PageRequest(limit, cursor, newest_first=order == "newest")


PageRequestDep = Annotated[PageRequest, Depends(_page_request)]
OrderedPageDep = Annotated[PageRequest, Depends(_ordered_page)]
"""Of a list that may be read from either end."""


async def read_page(
    session: AsyncSession,
    statement: Select[RowT],
    row: type[RowT],
    request: PageRequest,
    *,
    filters: Mapping[str, object],
) -> tuple[Sequence[RowT], str | None]:
    """One page of `statement` and the cursor of the next, None on the last.

    Args:
        filters: What the statement was made from; a cursor goes with its filters only. Ownership is the statement's
            own, so a forged cursor shows its maker nothing new.

    Raises:
        ApiError: 422: the cursor is not one of ours, or was made with other filters.
    """
    newest_first = request.newest_first
    bound_to = _fingerprint({**filters, "order": "newest"} if newest_first else filters)
    if request.cursor is not None:
        at, last_id = _decode(request.cursor, bound_to)
        beyond = (row.created_at < at, row.id < last_id) if newest_first else (row.created_at > at, row.id > last_id)
        statement = statement.where(or_(beyond[0], and_(row.created_at == at, beyond[1])))
    order = (row.created_at.desc(), row.id.desc()) if newest_first else (row.created_at, row.id)
    found = (await session.execute(statement.order_by(*order).limit(request.limit + 1))).scalars().all()
    items = found[: request.limit]
    if len(found) <= request.limit:
        return items, None
    return items, _encode(items[-1], bound_to)


def _fingerprint(filters: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(filters, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _encode(last: ResourceRow, bound_to: str) -> str:
    text = json.dumps([last.created_at.isoformat(), last.id, bound_to], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, bound_to: str) -> tuple[datetime, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, last_id, made_with = json.loads(text)
        at = datetime.fromisoformat(created_at)
        if at.tzinfo is None or not isinstance(last_id, str) or not (last_id.isascii() and last_id.isprintable()):
            raise ValueError("not a place in a list")
        # Here, because a time at the end of the calendar may have none in UTC.
        at = at.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise _refused("this is not a cursor that a list gave") from None
    if made_with != bound_to:
        raise _refused("this cursor was made with other filters; begin the list anew")
    return at, last_id


def _refused(message: str) -> Exception:
    return invalid(message, [FieldProblem(loc=["query", "cursor"], msg=message, type="invalid_cursor")])
