"""Lists that are given in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from typing_extensions import TypeForm

from ..answer import Answer
from ..checks import check_whole_number
from ..errors import UnreadableAnswerError
from ..faces import Awaiting
from ..http.answers import adapter, unreadable
from ..http.envelope import object_with
from ..http.paths import Path, as_path
from .api_client import APIClient
from .page_positions import NextCursor, PageSeen, Paging, Position, PostedFilter, end_is_told

__all__ = ["DEFAULT_PAGE_SIZE", "AnyFilter", "Filter", "order_of", "pages"]

T = TypeVar("T")
Filter: TypeAlias = str | int | float | bool | None
AnyFilter: TypeAlias = Filter | Sequence[object] | Mapping[str, object]
"""What a POSTed filter may be as well. In a query a list of `Filter` repeats its name, and all else is refused."""

DEFAULT_PAGE_SIZE = 100
_BY_CURSOR: Final = NextCursor()


def order_of(newest_first: bool) -> str | None:
    """What our backend's lists are asked for; what they do anyway is not said."""
    return "newest" if newest_first else None


async def pages(
    api: APIClient[Awaiting],
    where: str | Path,
    item: TypeForm[T],
    page_size: int | None,
    max_items: int | None,
    filters: Mapping[str, Any],
    paging: Paging | PostedFilter = _BY_CURSOR,
) -> AsyncIterator[T]:
    """Every item of a list, page by page; the client's deadline holds for each page.

    Args:
        filters: Sent beside each page's position. Any: what a query, or a JSON body, can hold.

    Raises:
        InvalidArgumentError: `page_size` is not positive, `max_items` is negative, or a filter cannot be sent.
        UnreadableAnswerError: a page is no page, or the pages go in circles.
    """
    if page_size is not None:
        check_whole_number(page_size, "page_size", least=1)
    if max_items is not None:
        check_whole_number(max_items, "max_items", least=0)
    if max_items == 0:
        return
    size = page_size or DEFAULT_PAGE_SIZE
    way = paging.paging if isinstance(paging, PostedFilter) else paging
    position = way.first(size if max_items is None else min(size, max_items))
    asked: set[tuple[object, ...]] = set()
    before: list[T] = []
    so_far = 0
    while True:
        answer = await _ask(api, where, filters, paging, position)
        items, members = _read(api, answer, item, way)
        # Where we do the counting, a backend that knows nothing of it gives its first page for ever.
        if items and items == before and not isinstance(way, NextCursor) and not _may_repeat(way, items, members):
            raise _endless(answer, f"gave the same items for {dict(position)} as for the page before")
        for each in items if max_items is None else items[: max_items - so_far]:
            yield each
        so_far += len(items)
        if max_items is not None and so_far >= max_items:
            return
        left = size if max_items is None else min(size, max_items - so_far)
        try:
            following = way.next(PageSeen(position, len(items), so_far, members, answer.headers), left)
        except ValueError as error:
            raise unreadable(answer, f"but does not say where its next page is: {error}") from None
        if following is None:
            return
        place = tuple(following.values())
        if place in asked:
            raise _endless(answer, "named a page twice as the next", next(iter(way.members), None))
        asked.add(place)
        before, position = items, following


def _may_repeat(way: Paging, items: Sequence[object], members: Mapping[str, Any]) -> bool:
    """Whether a page may be as the one before: all of its items are alike, and the list is told to end."""
    return all(each == items[0] for each in items) and end_is_told(way, members)


async def _ask(
    api: APIClient[Awaiting],
    where: str | Path,
    filters: Mapping[str, Any],
    paging: Paging | PostedFilter,
    position: Position,
) -> Answer:
    if not isinstance(paging, PostedFilter):
        return await api.answer("GET", where, params={**filters, **position})
    below = as_path(where)
    target = Path(below.text.rstrip("/") + paging.path, below.template.rstrip("/") + paging.path)
    return await api.answer("POST", target, json=paging.body(filters, position), reads=True)


def _read(
    api: APIClient[Awaiting], answer: Answer, item: TypeForm[T], way: Paging
) -> tuple[list[T], Mapping[str, Any]]:
    """The items and the members beside them, in one pass."""
    adapter(item)  # refuses what is no type
    # Any, here and below: types that are known at run time only.
    items_type: Any = list[item]  # type: ignore[valid-type]  # pyright: ignore[reportInvalidTypeForm]
    envelope = api.engine.envelope
    members: Mapping[str, Any]
    if way.items is not None:
        name = f"Page[{getattr(item, '__name__', item)}]"
        members = api.read(answer, object_with(name, ((way.items, items_type),), tuple(way.members)))
        return members[way.items], members
    if envelope is not None:  # an enveloped array has what tells its place beside it
        return envelope.opened(answer, items_type, tuple(way.members), api.settings.errors)
    return api.read(answer, items_type), {}


def _endless(answer: Answer, said: str, field: str | None = None) -> UnreadableAnswerError:
    story = answer.timeline
    return UnreadableAnswerError(
        f"{story.method} {story.path} {said}: the list would never end",
        timeline=story,
        field=field,
        status=answer.status,
        request_id=answer.request_id,
    )
