"""Ways of paging: the positions as data, then every one of them through a client, whatever the backend does to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from playcall import Envelope, NextCursor, OffsetLimit, PageNumber, PostedFilter, ResourceService, RetryPolicy, Unpaged
from playcall.errors import ConfigurationError, InvalidArgumentError, NotFoundError, UnreadableAnswerError
from playcall.services.page_positions import PageSeen, Paging, Position
from playcall.testing import MockAnswer, MockFault, MockRequest
from tests.both_faces import FACES, api, items, value


class Item(BaseModel):
    id: int


class ItemNotFoundError(NotFoundError):
    """A caller's own."""


def seen(position: Position, count: int, so_far: int | None = None, **members: Any) -> PageSeen:
    return PageSeen(position, count, count if so_far is None else so_far, members)


# --- positions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "first"),
    [
        (NextCursor(), {"limit": 10, "cursor": None}),
        (NextCursor(cursor="after", limit="first"), {"first": 10, "after": None}),
        (PageNumber(), {"page": 1, "size": 10}),
        (PageNumber(page="p", size="per_page", first_page=0), {"p": 0, "per_page": 10}),
        (OffsetLimit(), {"offset": 0, "limit": 10}),
        (OffsetLimit(offset="skip"), {"skip": 0, "limit": 10}),
        (Unpaged(), {}),
    ],
    ids=str,
)
def test_where_a_list_begins(way: Paging, first: Position) -> None:
    assert way.first(10) == first


FULL = {"page": 3, "size": 10}
AT = {"offset": 20, "limit": 10}


@pytest.mark.parametrize(
    ("way", "page", "following"),
    [
        (NextCursor(), seen({}, 10, next_cursor="c"), {"limit": 5, "cursor": "c"}),
        (NextCursor(), seen({}, 10, next_cursor=7), {"limit": 5, "cursor": 7}),
        (NextCursor(), seen({}, 10, next_cursor=None, total=99), None),
        (NextCursor(), seen({}, 10, next_cursor=""), None),
        (NextCursor(), seen({}, 10), None),
        (NextCursor(), seen({}, 10, total=10), None),
        (NextCursor(next_cursor="meta.next"), seen({}, 10, meta={"next": "c"}), {"limit": 5, "cursor": "c"}),
        (PageNumber(), seen(FULL, 10), {"page": 4, "size": 10}),  # never another size: it would be another page
        (PageNumber(), seen(FULL, 9), None),
        (PageNumber(), seen(FULL, 9, size=9), {"page": 4, "size": 10}),  # the backend gives nine, and says so
        (PageNumber(), seen(FULL, 9, 29, total=29), None),
        (PageNumber(), seen(FULL, 9, 29, total=31), {"page": 4, "size": 10}),
        (PageNumber(), seen(FULL, 10, 30, total=30), None),
        (PageNumber(), seen(FULL, 10, pages=3), None),
        (PageNumber(), seen(FULL, 1, pages=4), {"page": 4, "size": 10}),
        (PageNumber(), seen(FULL, 0, pages=9, total=99), None),
        (PageNumber(first_page=0), seen(FULL, 10, pages=4), None),
        (PageNumber(first_page=0), seen(FULL, 10, pages=5), {"page": 4, "size": 10}),
        (PageNumber(until_empty=True), seen(FULL, 1), {"page": 4, "size": 10}),
        (PageNumber(until_empty=True), seen(FULL, 0), None),
        (PageNumber(total="meta.count"), seen(FULL, 10, 30, meta={"count": 30}), None),
        (PageNumber(), seen(FULL, 10, total="many", pages=None), {"page": 4, "size": 10}),
        (OffsetLimit(), seen(AT, 10, 30), {"offset": 30, "limit": 5}),
        (OffsetLimit(), seen(AT, 9, 29), None),
        (OffsetLimit(), seen(AT, 9, 29, total=40), {"offset": 29, "limit": 5}),
        (OffsetLimit(), seen(AT, 9, 29, total=29), None),
        (OffsetLimit(), seen(AT, 9, 29, limit=9), {"offset": 29, "limit": 5}),
        (OffsetLimit(), seen(AT, 0, 20, total=40), None),
        (OffsetLimit(until_empty=True), seen(AT, 1, 21), {"offset": 21, "limit": 5}),
        (Unpaged(), seen({}, 10), None),
    ],
    ids=str,
)
def test_where_a_list_goes_on_and_where_it_ends(way: Paging, page: PageSeen, following: Position | None) -> None:
    assert way.next(page, 5) == following
    assert hash(way) == hash(type(way)(**{name: getattr(way, name) for name in way.__dataclass_fields__}))  # type: ignore[attr-defined]


@pytest.mark.parametrize("members", [{"next_cursor": {}}, {"next_cursor": True}, {"total": 11}], ids=str)
def test_a_page_that_should_say_where_the_next_one_is_and_does_not_is_an_error(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="next_cursor"):
        NextCursor().next(seen({}, 10, **members), 10)


@pytest.mark.parametrize(
    ("how", "body"),
    [
        (PostedFilter(), {"color": "red", "tags": ["a"], "page": 1, "size": 10}),
        (PostedFilter(OffsetLimit()), {"color": "red", "tags": ["a"], "offset": 0, "limit": 10}),
        (PostedFilter(NextCursor()), {"color": "red", "tags": ["a"], "limit": 10}),
        (PostedFilter(filters="filter"), {"filter": {"color": "red", "tags": ["a"]}, "page": 1, "size": 10}),
        (PostedFilter(position="at"), {"color": "red", "tags": ["a"], "at": {"page": 1, "size": 10}}),
    ],
    ids=str,
)
def test_a_posted_filter_has_the_filters_and_the_position_in_its_body(how: PostedFilter, body: object) -> None:
    assert how.body({"color": "red", "tags": ["a"], "none": None}, how.paging.first(10)) == body


def test_a_posted_filter_is_no_way_to_page_another() -> None:
    with pytest.raises(ConfigurationError):
        PostedFilter(PostedFilter())  # type: ignore[arg-type]


# --- lists ------------------------------------------------------------------------------------------------------------


def served(total: int, request: MockRequest, cap: int = 1000) -> tuple[list[dict[str, int]], dict[str, Any]]:
    """The items that a backend of `total` gives for the request, never more than `cap`, and what it knows of it."""
    given: Mapping[str, Any] = request.query if request.method == "GET" else request.json()
    size = min(int(given.get("size") or given.get("limit") or total or 1), cap)
    at = int(given.get("offset") or given.get("cursor") or (int(given.get("page", 1)) - 1) * size)
    following = str(at + size) if at + size < total else None
    page = [{"id": n} for n in range(at, min(at + size, total))]
    return page, {"total": total, "pages": -(-total // size), "next_cursor": following, "size": size, "limit": size}


WAYS: list[tuple[Paging | PostedFilter, tuple[str, ...]]] = [
    (NextCursor(), ("next_cursor",)),
    (PageNumber(), ("total", "pages")),
    (PageNumber(), ("total",)),
    (PageNumber(), ("size",)),
    (PageNumber(), ()),
    (PageNumber(until_empty=True), ()),
    (OffsetLimit(), ("total",)),
    (OffsetLimit(), ()),
    (PostedFilter(), ("total",)),
    (PostedFilter(OffsetLimit()), ()),
    (PostedFilter(NextCursor()), ("next_cursor",)),
    (Unpaged("items"), ()),
]


@FACES
@pytest.mark.parametrize(("way", "told"), WAYS, ids=str)
@pytest.mark.parametrize("total", [0, 1, 9, 10, 11, 30])
async def test_each_way_gives_every_item_once_and_no_more_than_are_wanted(
    blocking: bool, way: Any, told: tuple[str, ...], total: int
) -> None:
    def backend(request: MockRequest) -> MockAnswer:
        page, facts = served(total, request)
        return MockAnswer(json={"items": page, **{name: facts[name] for name in told}})

    async with api(blocking, backend) as client:
        service: Any = ResourceService(client, "/items", Item, paging=way, page_size=10)
        assert [item.id for item in await items(service.list())] == list(range(total))
        for wanted in (0, 1, 10, 15, 40):
            client.engine.transport.requests.clear()
            got = await items(service.list(max_items=wanted))
            assert [item.id for item in got] == list(range(min(wanted, total)))
            assert len(client.engine.transport.requests) <= -(-wanted // 10) + 1
        client.engine.transport.requests.clear()
        assert len(await items(service.list(page_size=4))) == total
        if total == 30 and not isinstance(way, Unpaged):
            assert len(client.engine.transport.requests) >= 8


@FACES
@pytest.mark.parametrize(
    ("way", "envelope", "body"),
    [
        (OffsetLimit(items=None), None, lambda page, facts: page),
        (PageNumber(items=None), None, lambda page, facts: page),
        (PageNumber(items=None), Envelope(), lambda page, facts: {"success": True, "data": page}),
        (PageNumber(items=None), Envelope(), lambda page, facts: {"success": True, "data": page, "total": 25}),
        (
            PageNumber(items=None, total="meta.total"),
            Envelope(),
            lambda page, facts: {"success": True, "data": page, "meta": {"total": 25}},
        ),
        (PageNumber(), Envelope(), lambda page, facts: {"success": True, "data": {"items": page, "total": 25}}),
        (
            PageNumber(),
            Envelope(success=None, data="result"),
            lambda page, facts: {"result": {"items": page, "total": 25}},
        ),
        (PageNumber(items="results", total="count"), None, lambda page, facts: {"results": page, "count": 25}),
        (Unpaged(), None, lambda page, facts: [{"id": n} for n in range(25)]),
        (Unpaged(), Envelope(), lambda page, facts: {"success": True, "data": [{"id": n} for n in range(25)]}),
    ],
    ids=lambda given: "" if callable(given) else str(given),
)
async def test_a_page_may_be_a_bare_array_or_in_an_envelope(
    blocking: bool, way: Any, envelope: Envelope | None, body: Callable[[Any, Any], Any]
) -> None:
    def backend(request: MockRequest) -> MockAnswer:
        return MockAnswer(json=body(*served(25, request)))

    async with api(blocking, backend, envelope=envelope) as client:
        service: Any = ResourceService(client, "/items/", Item, paging=way, page_size=10)
        assert [item.id for item in await items(service.list())] == list(range(25))
        assert [item.id for item in await items(service.list(max_items=12))] == list(range(12))
        if "total" in str(body(*served(25, client.engine.transport.requests[0]))):
            client.engine.transport.requests.clear()
            await items(service.list(page_size=5))
            assert len(client.engine.transport.requests) == 5  # it is known that no sixth is there


@FACES
@pytest.mark.parametrize("way", [PageNumber(until_empty=True), OffsetLimit(until_empty=True)], ids=str)
async def test_a_backend_that_gives_less_than_asked_without_a_word_is_asked_until_it_has_no_more(
    blocking: bool, way: Any
) -> None:
    async with api(blocking, lambda request: MockAnswer(json={"items": served(25, request, cap=7)[0]})) as client:
        service: Any = ResourceService(client, "/items", Item, paging=way)
        assert [item.id for item in await items(service.list())] == list(range(25))


@FACES
@pytest.mark.parametrize("way", [PageNumber(), OffsetLimit()], ids=str)
@pytest.mark.parametrize("told", [("size", "limit"), ("total",)], ids=str)
async def test_a_backend_that_gives_less_and_tells_it_is_understood(
    blocking: bool, way: Any, told: tuple[str, ...]
) -> None:
    def backend(request: MockRequest) -> MockAnswer:
        page, facts = served(25, request, cap=7)
        return MockAnswer(json={"items": page, **{name: facts[name] for name in told}})

    async with api(blocking, backend) as client:
        service: Any = ResourceService(client, "/items", Item, paging=way)
        assert [item.id for item in await items(service.list())] == list(range(25))


@FACES
@pytest.mark.parametrize(
    "way", [PageNumber(), OffsetLimit(), PageNumber(items=None), PostedFilter(), PageNumber(until_empty=True)], ids=str
)
@pytest.mark.parametrize("total", [None, 99])
async def test_a_backend_that_knows_nothing_of_pages_is_found_out(blocking: bool, way: Any, total: int | None) -> None:
    page = [{"id": n} for n in range(10)]
    bare = isinstance(way, PageNumber) and way.items is None

    async with api(
        blocking, lambda request: MockAnswer(json=page if bare else {"items": page, "total": total})
    ) as client:
        service: Any = ResourceService(client, "/items", Item, paging=way, page_size=10)
        with pytest.raises(UnreadableAnswerError, match=r"gave the same items for .* never end"):
            await items(service.list())
        assert len(client.engine.transport.requests) == 2


@FACES
@pytest.mark.parametrize("way", [PageNumber(), OffsetLimit(), PostedFilter()], ids=str)
@pytest.mark.parametrize("told", [("total",), ("pages", "total")], ids=str)
async def test_a_list_of_equal_items_is_no_circle_where_its_end_is_told(
    blocking: bool, way: Any, told: tuple[str, ...]
) -> None:
    def backend(request: MockRequest) -> MockAnswer:
        page, facts = served(4, request)
        return MockAnswer(json={"items": [7 for _ in page], **{name: facts[name] for name in told}})

    async with api(blocking, backend) as client:
        service: Any = ResourceService(client, "/items", int, paging=way, page_size=2)
        assert await items(service.list()) == [7, 7, 7, 7]
        assert len(client.engine.transport.requests) == 2


@FACES
async def test_a_list_that_is_paged_otherwise_is_not_taken_for_its_first_page(blocking: bool) -> None:
    page = {"items": [{"id": 1}], "page": 1, "total": 3}
    async with api(blocking, lambda request: MockAnswer(json=page)) as client:
        service: Any = ResourceService(client, "/items", Item)
        with pytest.raises(UnreadableAnswerError, match="3 items in all, and no 'next_cursor': is the list paged in"):
            await items(service.list())


@FACES
@pytest.mark.parametrize("answer", [{"itms": []}, [], {"items": {}}, {"items": [{"id": "x"}]}, None], ids=str)
async def test_a_page_that_is_none_is_unreadable(blocking: bool, answer: Any) -> None:
    async with api(blocking, lambda request: MockAnswer(json=answer)) as client:
        service: Any = ResourceService(client, "/items", Item, paging=PageNumber())
        with pytest.raises(UnreadableAnswerError, match=r"does not fit Page\[Item\]"):
            await items(service.list())


@FACES
async def test_a_posted_filter_is_a_read_and_so_repeated(blocking: bool) -> None:
    replies = [MockFault.connection_lost(), MockAnswer(503), MockAnswer(json={"items": [{"id": 1}], "total": 1})]
    quick = RetryPolicy(initial_seconds=0)
    async with api(blocking, lambda request: replies.pop(0), retry=quick) as client:
        service: Any = ResourceService(client, "/items/", Item, paging=PostedFilter(path="/search/"))
        assert await items(service.list(tags=["a", "b"], price={"max": 3}, none=None)) == [Item(id=1)]
        requests = client.engine.transport.requests
    assert len(requests) == 3
    assert {(r.method, r.path, r.url) for r in requests} == {
        ("POST", "/base/items/search/", "http://backend.test/base/items/search/")
    }
    assert requests[0].json() == {"tags": ["a", "b"], "price": {"max": 3}, "page": 1, "size": 100}
    assert "Idempotency-Key" not in requests[0].headers


@FACES
async def test_a_filter_that_a_query_cannot_hold_is_refused_before_anything_is_sent(blocking: bool) -> None:
    async with api(blocking, lambda request: MockAnswer(json=[])) as client:
        service: Any = ResourceService(client, "/items", Item)
        for wrong in ({"a": 1}, [["a"]], b"a"):
            with pytest.raises(InvalidArgumentError, match="tags"):
                await items(service.list(tags=wrong))
        assert client.engine.transport.requests == []


@dataclass(frozen=True, slots=True)
class LinkHeader:
    """A way of a user's own: `Link: </items?after=3>; rel="next"` (RFC 8288)."""

    items: str | None = None
    members: Sequence[str] = ()

    def first(self, size: int) -> Position:
        return {"first": size}

    def next(self, page: PageSeen, size: int) -> Position | None:
        link = page.headers.get("Link", "")
        if "broken" in link:
            raise ValueError("its Link leads nowhere")
        return {"first": size, "after": link.split("after=")[1].split(">")[0]} if "after=" in link else None


@FACES
async def test_a_way_of_one_s_own_serves_as_well(blocking: bool) -> None:
    def backend(request: MockRequest) -> MockAnswer:
        at = int(request.query.get("after", "0"))
        link = {} if at == 4 else {"Link": "broken" if "broken" in request.query else f"</items?after={at + 2}>"}
        return MockAnswer(json=[{"id": at}, {"id": at + 1}], headers=link)

    async with api(blocking, backend) as client:
        service: Any = ResourceService(client, "/items", Item, paging=LinkHeader())
        assert [item.id for item in await items(service.list())] == list(range(6))
        with pytest.raises(UnreadableAnswerError, match=r"does not say where its next page is: its Link leads nowhere"):
            await items(service.list(broken=True))


@given(
    st.integers(0, 60),
    st.integers(1, 13),
    st.none() | st.integers(0, 70),
    st.sampled_from([way for way in WAYS if not isinstance(way[0], PostedFilter | Unpaged)]),
)
def test_positions_lead_through_any_list_once(
    total: int, size: int, wanted: int | None, given: tuple[Paging, tuple[str, ...]]
) -> None:
    """As the loop does it, without a client."""
    way, told = given
    got: list[int] = []
    position: Position | None = way.first(size if wanted is None else max(1, min(size, wanted)))
    while position is not None and (wanted is None or len(got) < wanted):
        query = {name: str(value) for name, value in position.items() if value is not None}
        page, facts = served(total, MockRequest("GET", "", "", query, {}, b""))
        got += [each["id"] for each in page]
        left = size if wanted is None else max(1, min(size, wanted - len(got)))
        position = way.next(PageSeen(position, len(page), len(got), {n: facts[n] for n in told}), left)
    assert got[:wanted] == list(range(total))[:wanted]


# --- paths, ids, errors -----------------------------------------------------------------------------------------------


@FACES
@pytest.mark.parametrize(
    ("collection", "item_path", "item", "verb"),
    [
        ("/items", None, "/items/7", "/items/7/lend"),
        ("/items/", None, "/items/7", "/items/7/lend"),
        ("/items/", "/items/{id}/", "/items/7/", "/items/7/lend/"),
        ("/items", "/item/{id}", "/item/7", "/item/7/lend"),
        ("/a%20b", None, "/a%20b/7", "/a%20b/7/lend"),
        ("/", None, "/7", "/7/lend"),
    ],
)
async def test_paths_are_sent_as_the_backend_has_them(
    blocking: bool, collection: str, item_path: str | None, item: str, verb: str
) -> None:
    async with api(blocking, lambda request: MockAnswer(json={"id": 7}), "http://h") as client:
        service: Any = ResourceService(client, collection, Item, item_path=item_path, paging=Unpaged())
        for number in (7, "7"):
            assert await value(service.get(number)) == Item(id=7)
        await value(service.create({"id": 7}))
        await value(service.update(7, Item(id=7)))
        await value(service.replace(7, Item(id=7)))
        await value(service.delete(7))
        assert service._item(7, "/lend").text == verb
        sent = [(r.method, r.path) for r in client.engine.transport.requests]
    at_the_item = [(method, item) for method in ("PATCH", "PUT", "DELETE")]
    assert sent == [("GET", item), ("GET", item), ("POST", collection), *at_the_item]


@pytest.mark.parametrize("wrong", ["/items", "/{id}/{id}", "items/{id}", "/items/{id}?x", "/../{id}", "//x/{id}"])
async def test_the_path_of_an_item_has_one_place_for_its_id(wrong: str) -> None:
    async with api(False, lambda request: MockAnswer()) as client:
        with pytest.raises(InvalidArgumentError):
            ResourceService(client, "/items", Item, item_path=wrong)


@FACES
@pytest.mark.parametrize("wrong", [True, 1.5, None, "", "..", b"x"], ids=repr)
async def test_an_id_is_a_text_or_a_whole_number(blocking: bool, wrong: Any) -> None:
    async with api(blocking, lambda request: MockAnswer()) as client:
        service: Any = ResourceService(client, "/items", Item)
        with pytest.raises(InvalidArgumentError):
            await value(service.get(wrong))
        assert client.engine.transport.requests == []


@FACES
async def test_an_id_may_be_a_uuid_and_a_filter_may_repeat_its_name(blocking: bool) -> None:
    number = UUID("0c5a2f6e-6f0b-4c8e-9c9e-0a4b4d6a1f00")
    async with api(blocking, lambda request: MockAnswer(json=[] if request.query else {"id": 7}), "http://h") as client:
        service: Any = ResourceService(client, "/items", Item, paging=OffsetLimit(items=None))
        assert await value(service.get(number)) == Item(id=7)
        await value(service.update(number, {"id": 7}))
        await value(service.delete(number))
        assert await items(service.list(tags=["a", "b"], none=None)) == []
        sent = client.engine.transport.requests
        assert {r.path for r in sent[:3]} == {f"/items/{number}"}
        assert sent[3].url == "http://h/items?tags=a&tags=b&offset=0&limit=100"


@FACES
async def test_a_resource_s_errors_are_its_own_and_no_other_s(blocking: bool) -> None:
    async with api(blocking, lambda request: MockAnswer(404, json={"detail": "no"})) as client:
        mine: Any = ResourceService(client, "/items", Item, errors={404: ItemNotFoundError})
        other: Any = ResourceService(client, "/others", Item)
        with pytest.raises(ItemNotFoundError, match="GET /items/7 answered 404: no"):
            await value(mine.get(7))
        with pytest.raises(ItemNotFoundError):
            await items(mine.list())
        with pytest.raises(NotFoundError) as caught:
            await value(other.get(7))
        assert type(caught.value) is NotFoundError


@FACES
@pytest.mark.parametrize("way", [PageNumber(), PageNumber(items=None), Unpaged(), PostedFilter()], ids=str)
async def test_a_list_that_its_envelope_takes_back_is_an_error_of_the_resource_s_own(blocking: bool, way: Any) -> None:
    failed = {"success": False, "code": "NO_ITEMS", "message": "no"}
    async with api(blocking, lambda request: MockAnswer(json=failed), envelope=Envelope()) as client:
        service: Any = ResourceService(client, "/items", Item, paging=way, errors={"NO_ITEMS": ItemNotFoundError})
        with pytest.raises(ItemNotFoundError):
            await items(service.list())


@FACES
async def test_an_item_known_by_its_version_is_asked_for_by_it(blocking: bool) -> None:
    class Versioned(BaseModel):
        id: int
        version: int

    known = Versioned(id=7, version=3)
    async with api(blocking, lambda request: MockAnswer(304)) as client:
        service: Any = ResourceService(client, "/items", Versioned)
        for number in (7, "7"):
            assert await value(service.get(number, known=known)) is known
        with pytest.raises(InvalidArgumentError, match="known="):
            await value(service.get(8, known=known))
        assert {r.headers["If-None-Match"] for r in client.engine.transport.requests} == {'"3"'}


def test_what_a_posted_filter_sends_is_json() -> None:
    assert json.dumps(PostedFilter().body({"a": [1, {"b": None}]}, {"page": 1})) == '{"a": [1, {"b": null}], "page": 1}'


@FACES
async def test_a_posted_search_is_a_read_it_is_repeated_without_a_key_and_never_may_have_happened(
    blocking: bool,
) -> None:
    replies: list[Any] = [MockFault.connection_lost(), MockAnswer(200, body="{")]
    async with api(
        blocking, lambda r: replies.pop(0), idempotency_keys=True, retry=RetryPolicy(initial_seconds=0)
    ) as client:
        service: Any = ResourceService(client, "/items", dict[str, int], paging=PostedFilter())
        with pytest.raises(UnreadableAnswerError) as caught:
            await items(service.list())
        sent = client.engine.transport.requests
    assert [r.method for r in sent] == ["POST", "POST"]
    assert "Idempotency-Key" not in sent[0].headers
    assert not caught.value.may_have_happened
