"""Lists that are given in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias, TypeVar

from typing_extensions import TypeForm

from ..errors import InvalidArgumentError, UnreadableAnswerError
from ..faces import Awaiting
from ..http.paths import Path, as_path
from ..models.page import Page
from .api_client import APIClient

__all__ = ["DEFAULT_PAGE_SIZE", "Filter", "pages"]

T = TypeVar("T")
Filter: TypeAlias = str | int | float | bool | None

DEFAULT_PAGE_SIZE = 100


async def pages(
    api: APIClient[Awaiting],
    where: str | Path,
    item: TypeForm[T],
    page_size: int | None,
    max_items: int | None,
    filters: Mapping[str, Filter],
) -> AsyncIterator[T]:
    """Every item of a list, page by page, by its `next_cursor`; the client's deadline holds for each page.

    Raises:
        InvalidArgumentError: `page_size` is not positive, or `max_items` is negative.
        UnreadableAnswerError: a page is no page, or the pages go in circles.
    """
    if page_size is not None and page_size < 1:
        raise InvalidArgumentError(f"page_size must be at least 1, got {page_size}")
    if max_items is not None and max_items < 0:
        raise InvalidArgumentError(f"max_items must be 0 or more, got {max_items}")
    size = page_size or DEFAULT_PAGE_SIZE
    left = max_items
    cursor: str | None = None
    seen: set[str] = set()
    # Any: Page[...] of a type that is known at run time only.
    page_type: Any = Page[item]  # type: ignore[valid-type]  # pyright: ignore[reportInvalidTypeForm]
    while left is None or left > 0:
        limit = size if left is None else min(size, left)
        params = {**filters, "limit": limit, "cursor": cursor}
        answer = await api.answer("GET", where, params=params)
        page: Page[T] = api.engine.read(answer, page_type)
        for each in page.items[:left]:
            yield each
        if left is not None:
            left -= len(page.items)
        if page.next_cursor is None:
            return
        if page.next_cursor in seen:
            raise UnreadableAnswerError(
                f"GET {as_path(where).text} named a page twice as the next: the list would never end",
                timeline=answer.timeline,
                field="next_cursor",
            )
        cursor = page.next_cursor
        seen.add(cursor)
