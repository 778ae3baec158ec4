"""Where the next page of a list is: four ways that backends have, as data. Nothing here asks for anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ..errors import ConfigurationError
from ..http.members import member

__all__ = [
    "NextCursor",
    "OffsetLimit",
    "PageNumber",
    "PageSeen",
    "Paging",
    "Position",
    "PostedFilter",
    "Unpaged",
    "end_is_told",
]

Position: TypeAlias = Mapping[str, str | int | None]
"""What is sent, beside the filters, to say which page is meant: `{"page": 2, "size": 50}`."""


@dataclass(frozen=True, slots=True)
class PageSeen:
    """A page that has come.

    `position` is what it was asked for by, `count` how many items it has, `so_far` how many all pages have, this one
    included. `members` are the named members beside the items, where it has them; `headers` the answer's.
    """

    position: Position
    count: int
    so_far: int
    # Any: JSON of the backend's own; each strategy looks at what it finds.
    members: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class Paging(Protocol):
    """A way of paging; frozen dataclasses do, since one serves all lists of a resource at once."""

    @property
    def items(self) -> str | None:
        """The member of a page that holds its items; None where the answer is the bare array."""
        ...

    @property
    def members(self) -> Sequence[str]:
        """The members beside it that `next` looks at."""
        ...

    def first(self, size: int) -> Position:
        """The first page, of at most `size` items."""
        ...

    def next(self, page: PageSeen, size: int) -> Position | None:
        """The page after this one, of at most `size` items (fewer than before, where few are wanted); None at the end.

        Raises:
            ValueError: the page does not say where the next one is, and it should. The text goes into the error.
        """
        ...


@dataclass(frozen=True, slots=True)
class NextCursor:
    """Each page names the next: `?limit=100&cursor=…`, `{"items": […], "next_cursor": …}`. The default.

    The only way that neither repeats nor misses an item where others come and go meanwhile, if the backend's cursors
    stand for a place in an immutable order (a keyset).
    """

    items: str | None = "items"
    next_cursor: str = "next_cursor"
    cursor: str = "cursor"
    limit: str = "limit"

    @property
    def members(self) -> Sequence[str]:
        return (_root(self.next_cursor), "total")

    def first(self, size: int) -> Position:
        return {self.limit: size, self.cursor: None}

    def next(self, page: PageSeen, size: int) -> Position | None:
        cursor = member(page.members, self.next_cursor)
        if cursor is None or cursor == "":
            total = _count(page, "total")
            if _root(self.next_cursor) not in page.members and total is not None and total > page.so_far:
                raise ValueError(
                    f"{total} items in all, and no {self.next_cursor!r}: is the list paged in another way?"
                )
            return None
        if isinstance(cursor, bool) or not isinstance(cursor, str | int):
            raise ValueError(f"{self.next_cursor!r} is no text and no number")
        return {self.limit: size, self.cursor: cursor}


@dataclass(frozen=True, slots=True)
class PageNumber:
    """Pages are counted: `?page=2&size=100`, `{"items": […], "total": …, "pages": …}`.

    The end is told by `pages` or `total`, whichever is there; without them it is a page with fewer items than were asked
    for (or than the page itself says, in a member named as `size`). `until_empty` asks on until a page has no items: for
    a backend that tells neither, and gives fewer items than it is asked for without a word.
    """

    page: str = "page"
    size: str = "size"
    items: str | None = "items"
    total: str = "total"
    pages: str = "pages"
    first_page: int = 1
    until_empty: bool = False

    @property
    def members(self) -> Sequence[str]:
        return tuple({_root(name): None for name in (self.total, self.pages, self.size)})

    def first(self, size: int) -> Position:
        return {self.page: self.first_page, self.size: size}

    def next(self, page: PageSeen, size: int) -> Position | None:
        number, asked = page.position[self.page], page.position[self.size]
        assert isinstance(number, int)  # noqa: S101 - `first` has made it
        # The size stays as it was: with another one, the same number is another page.
        following = {self.page: number + 1, self.size: asked}
        pages = _count(page, self.pages)
        if page.count == 0 or (pages is not None and number - self.first_page + 1 >= pages):
            return None
        if pages is not None:
            return following
        size_told = _count(page, self.size)
        return following if _goes_on(page, self.total, size_told or asked, self.until_empty) else None


@dataclass(frozen=True, slots=True)
class OffsetLimit:
    """Items are counted: `?offset=200&limit=100`, `{"items": […], "total": …}`; for `skip`, `OffsetLimit(offset="skip")`.

    The end is told by `total`; without it, as with `PageNumber`.
    """

    offset: str = "offset"
    limit: str = "limit"
    items: str | None = "items"
    total: str = "total"
    until_empty: bool = False

    @property
    def members(self) -> Sequence[str]:
        return tuple({_root(name): None for name in (self.total, self.limit)})

    def first(self, size: int) -> Position:
        return {self.offset: 0, self.limit: size}

    def next(self, page: PageSeen, size: int) -> Position | None:
        asked = _count(page, self.limit) or page.position[self.limit]
        if page.count == 0 or not _goes_on(page, self.total, asked, self.until_empty):
            return None
        return {self.offset: page.so_far, self.limit: size}


@dataclass(frozen=True, slots=True)
class Unpaged:
    """The whole list in one answer: a bare array, or an object whose member `items` is the list."""

    items: str | None = None

    @property
    def members(self) -> Sequence[str]:
        return ()

    def first(self, size: int) -> Position:
        return {}

    def next(self, page: PageSeen, size: int) -> Position | None:
        return None


@dataclass(frozen=True, slots=True)
class PostedFilter:
    """The list is asked for by a POST to `path` below the collection, with filters and position in its JSON body.

    It reads, whatever its method, so it is repeated as a GET is. `filters` names the member of the body that holds the
    filters, `position` the one that holds the position; None: they are members of the body itself.
    """

    paging: Paging = field(default_factory=PageNumber)
    path: str = "/search"
    filters: str | None = None
    position: str | None = None

    def __post_init__(self) -> None:
        """Raises: ConfigurationError: `paging` is a POST itself."""
        if isinstance(self.paging, PostedFilter):
            raise ConfigurationError("PostedFilter takes a way of paging, not another PostedFilter")

    def body(self, filters: Mapping[str, object], position: Position) -> dict[str, object]:
        """What is sent; a None is left out, as it is of a query."""
        given = {name: value for name, value in filters.items() if value is not None}
        place = {name: value for name, value in position.items() if value is not None}
        return {
            **(given if self.filters is None else {self.filters: given}),
            **(place if self.position is None else {self.position: place}),
        }


def end_is_told(way: Paging, members: Mapping[str, Any]) -> bool:
    """Whether a page says how many items or pages there are, where `way` looks for it. Any: JSON."""
    names = (getattr(way, "total", None), getattr(way, "pages", None))
    return any(name is not None and _whole(member(members, name)) is not None for name in names)


def _root(name: str) -> str:
    return name.partition(".")[0]


def _count(page: PageSeen, name: str) -> int | None:
    return _whole(member(page.members, name))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _goes_on(page: PageSeen, total: str, size: str | int | None, until_empty: bool) -> bool:
    """Whether there is more after a page that has items."""
    if (told := _count(page, total)) is not None:
        return page.so_far < told
    return until_empty or not isinstance(size, int) or page.count >= size
