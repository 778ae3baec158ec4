"""`BaseAPIClient` and `BlockingAPIClient`: what the verbs take, send, refuse and give."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from typing import Any

import pytest
from pydantic import BaseModel

from playcall import BaseAPIClient, BlockingAPIClient, ResourceService, RetryPolicy
from playcall.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    UnreadableAnswerError,
)
from playcall.faces import Blocking
from playcall.http.retry import RETRY_STATUSES
from playcall.testing import MockAnswer, MockFault, MockRequest, MockTransport
from tests.both_faces import FACES, api, items, value
from tests.misbehaving_server import MisbehavingServer, ok


class Item(BaseModel):
    id: int
    name: str = ""


def echo(request: MockRequest) -> MockAnswer:
    return MockAnswer(json={"id": 1, "name": request.method})


VERBS = pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])


@FACES
@VERBS
async def test_each_verb_sends_its_method_and_reads_into_a_type(blocking: bool, verb: str) -> None:
    async with api(blocking, echo) as client:
        assert await value(getattr(client, verb)("/items/1", into=Item)) == Item(id=1, name=verb.upper())
        assert await value(getattr(client, verb)("/items/1")) == {"id": 1, "name": verb.upper()}
        request = client.engine.transport.requests[0]
    assert (request.method, request.url) == (verb.upper(), "http://backend.test/base/items/1")


@FACES
async def test_a_query_holds_what_is_not_none(blocking: bool) -> None:
    async with api(blocking, echo) as client:
        params = {"a": "x y&z", "b": 3, "c": True, "d": None, "e": 1.5, "f": ""}
        await value(client.get("/x", params=params))
        await value(client.get("/x", params={"d": None}))
        first, second = client.engine.transport.requests
    assert first.query == {"a": "x y&z", "b": "3", "c": "true", "e": "1.5", "f": ""}
    assert second.url.endswith("/x")


@FACES
async def test_a_body_is_json_or_content_of_any_kind(blocking: bool) -> None:
    async with api(blocking, echo) as client:
        await value(client.post("/x", json=Item(id=3)))
        await value(client.post("/x", json=None))
        await value(client.post("/x", content="a: é", content_type="application/yaml"))
        await value(client.post("/x", content=b"\x00"))
        await value(client.post("/x"))
        sent = [(r.body, r.headers.get("Content-Type")) for r in client.engine.transport.requests]
    assert sent == [
        (b'{"id":3}', "application/json"),
        (b"null", "application/json"),
        ("a: é".encode(), "application/yaml"),
        (b"\x00", "application/octet-stream"),
        (b"", None),
    ]


@FACES
async def test_a_caller_s_header_wins_over_ours_whatever_its_case(blocking: bool) -> None:
    async with api(blocking, echo) as client:
        await value(client.get("/x", headers={"accept": "text/csv", "X-Tab": "a\tb"}))
        [request] = client.engine.transport.requests
    assert request.headers.getall("Accept") == ["text/csv"]  # type: ignore[attr-defined]
    assert request.headers["User-Agent"].startswith("playcall/")


@FACES
@pytest.mark.parametrize(
    "options",
    [
        {"json": float("nan")},
        {"json": {1, object}},
        {"json": {}, "content": b""},
        {"content": 3},
        {"content": ["a"]},
        {"headers": {"": "x"}},
        {"headers": {"a b": "x"}},
        {"headers": {"a:b": "x"}},
        {"headers": {"X": "a\r\nInjected: yes"}},
        {"headers": {"X": "\ud800"}},
        {"headers": {"X": 3}},
        {"headers": {3: "x"}},
        {"params": {"a": [[1, 2]]}},
        {"params": {"a": "\ud800"}},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 256},
        {"idempotency_key": "a\nb"},
        {"idempotency_key": "é"},
        {"deadline_seconds": 0},
        {"into": 3},
    ],
    ids=repr,
)
async def test_an_argument_that_makes_no_sense_is_refused_before_anything_is_sent(
    blocking: bool, options: dict[str, Any]
) -> None:
    async with api(blocking, echo) as client:
        with pytest.raises(InvalidArgumentError):
            await value(client.post("/x", **options))
        assert client.engine.transport.requests == []
        assert client.engine.limiter.in_flight == 0


@FACES
async def test_a_secret_in_a_refused_header_is_not_repeated(blocking: bool) -> None:
    async with api(blocking, echo) as client:
        with pytest.raises(InvalidArgumentError) as caught:
            await value(client.get("/x", headers={"Authorization": "hunter2\n"}))
        assert "hunter2" not in str(caught.value)


@FACES
async def test_a_misspelt_option_is_a_type_error_where_no_checker_looks(blocking: bool) -> None:
    async with api(blocking, echo) as client:
        with pytest.raises(TypeError, match="jsno"):
            await value(client.post("/x", jsno={}))
        with pytest.raises(TypeError, match="attempts"):
            client.with_options(attempts=3)
        assert client.engine.transport.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"url": "backend"},
        {"max_concurrency": 0},
        {"deadline_seconds": -1},
        {"auth": "pk_1"},
        {"health_path": "health"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [BaseAPIClient, BlockingAPIClient])
def test_a_client_that_makes_no_sense_is_refused(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, InvalidArgumentError)):
        kind(**{"url": "http://b", **options})


@FACES
async def test_a_repr_shows_the_address_and_no_more(blocking: bool) -> None:
    async with api(blocking, echo) as client:
        assert repr(client).endswith("APIClient('http://backend.test/base')")
        assert client.url == "http://backend.test/base"


@FACES
async def test_repeatable_lets_a_caller_who_knows_better_say_so(blocking: bool) -> None:
    replies = [MockFault.connection_lost(), MockAnswer(json=1)]
    async with api(blocking, lambda request: replies.pop(0), retry=RetryPolicy(initial_seconds=0)) as client:
        assert await value(client.post("/search", repeatable=True)) == 1


@FACES
async def test_lists_go_page_by_page_and_stop_where_they_should(blocking: bool) -> None:
    def handler(request: MockRequest) -> MockAnswer:
        first = int(request.query.get("cursor", "0"))
        limit = int(request.query["limit"])
        ids = list(range(first, min(first + limit, 250)))
        return MockAnswer(
            json={"items": [{"id": n} for n in ids], "next_cursor": str(first + limit) if first + limit < 250 else None}
        )

    async with api(blocking, handler) as client:
        service: Any = ResourceService(client, "/items", Item)
        requests = client.engine.transport.requests
        assert [item.id for item in await items(service.list(color="red"))] == list(range(250))
        assert [r.query["limit"] for r in requests] == ["100"] * 3
        assert all(r.query["color"] == "red" for r in requests)
        requests.clear()
        assert len(await items(service.list(page_size=30, max_items=70))) == 70
        assert [r.query["limit"] for r in requests] == ["30", "30", "10"]
        requests.clear()
        assert await items(service.list(max_items=0)) == []
        assert requests == []
        for wrong in ({"page_size": 0}, {"max_items": -1}):
            with pytest.raises(InvalidArgumentError):
                await items(service.list(**wrong))


@FACES
@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"]], ids=str)
async def test_a_list_whose_pages_go_in_circles_is_an_error_and_no_endless_loop(
    blocking: bool, cursors: list[str]
) -> None:
    left = list(cursors)

    def handler(request: MockRequest) -> MockAnswer:
        return MockAnswer(json={"items": [{"id": 1}], "next_cursor": left.pop(0)})

    async with api(blocking, handler) as client:
        service: Any = ResourceService(client, "/items", Item)
        with pytest.raises(UnreadableAnswerError, match="never end"):
            await items(service.list())


@FACES
async def test_a_foreign_resource_has_the_five_verbs(blocking: bool) -> None:
    async with api(blocking, echo) as client:
        service: Any = ResourceService(client, "/items", Item)
        assert (await value(service.get("7"))).name == "GET"
        assert (await value(service.create({"name": "n"}))).name == "POST"
        assert (await value(service.update("7", {"name": "n"}, if_match=3))).name == "PATCH"
        assert await value(service.delete("7")) is None
        requests = client.engine.transport.requests
    assert [r.path for r in requests] == ["/base/items/7", "/base/items", "/base/items/7", "/base/items/7"]


@pytest.mark.parametrize("wrong", ["items", ".evil.example", "//evil", "/items?x", "/a/../b", ""])
async def test_the_path_of_a_resource_stays_within_the_base_url(wrong: str) -> None:
    async with BaseAPIClient("http://b", transport=MockTransport(echo)) as client:
        with pytest.raises(InvalidArgumentError):
            ResourceService(client, wrong, Item)
        braces = ResourceService(client, "/{x}", Item)
        await braces.get("1")
        assert client.engine.transport.requests[0].path == "/%7Bx%7D/1"  # type: ignore[attr-defined]


def test_a_resource_shows_the_face_of_its_client() -> None:
    with BlockingAPIClient("http://b", transport=MockTransport(echo)) as client:
        service: ResourceService[Item, Blocking] = ResourceService(client, "/items", Item)
        assert service.get("1").name == "GET"


# --- readiness --------------------------------------------------------------------------------------------------------


@FACES
async def test_waiting_until_the_backend_is_ready(blocking: bool) -> None:
    replies = [MockFault.not_sent(), MockAnswer(503), MockAnswer(404), MockAnswer(json={"status": "ok"})]
    async with api(blocking, lambda request: replies.pop(0), health_path="/ready") as client:
        assert (await value(client.status.wait_until_ready(5))).state == "online"
        assert {r.path for r in client.engine.transport.requests} == {"/base/ready"}
    assert replies == []


@FACES
async def test_a_backend_that_is_not_ready_in_time_is_a_deadline_that_says_why(blocking: bool) -> None:
    async with api(blocking, lambda request: MockFault.not_sent()) as client:
        with pytest.raises(DeadlineExceededError, match=r"not ready within 0\.1 s: .*no connection"):
            await value(client.status.wait_until_ready(0.1))


@FACES
async def test_a_backend_that_hangs_does_not_stretch_the_wait(blocking: bool) -> None:
    async def hang(request: MockRequest) -> MockAnswer:
        await asyncio.sleep(3600)
        return MockAnswer()

    async with api(blocking, hang) as client:
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceededError, match="not ready"):
            await value(client.status.wait_until_ready(0.2))
        assert asyncio.get_running_loop().time() - began < 1


# --- ends -------------------------------------------------------------------------------------------------------------


@FACES
async def test_a_client_that_is_dropped_without_close_warns_once_and_closes_its_connections(blocking: bool) -> None:
    async with MisbehavingServer(lambda r: ok(1)) as server:
        kind: Any = BlockingAPIClient if blocking else BaseAPIClient
        client = kind(server.url)
        clone = client.with_options(deadline_seconds=3)
        if blocking:
            await asyncio.to_thread(client.get, "/x")
        else:
            await client.get("/x")
        assert server.open_now == 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
            assert caught == []  # the clone lives on
            del clone
            gc.collect()
        assert [(w.category, "was not closed" in str(w.message)) for w in caught] == [(ResourceWarning, True)]
        await server.wait_until_nobody_is_connected()


@FACES
async def test_a_client_that_never_spoke_needs_no_close(blocking: bool) -> None:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind("http://b")
        gc.collect()


# --- one line a request -----------------------------------------------------------------------------------------------


@FACES
async def test_a_request_leaves_one_line_with_its_template_and_a_retry_another(
    blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    replies = [MockFault.connection_lost(), MockAnswer(json={"id": 1}), MockAnswer(404), MockAnswer(500)]
    once = RetryPolicy(attempts=1)
    with caplog.at_level(logging.DEBUG, "playcall"):
        async with api(blocking, lambda request: replies.pop(0), retry=RetryPolicy(initial_seconds=0)) as client:
            service: Any = ResourceService(client, "/items", Item)
            await value(service.get("secret-id"))
            with pytest.raises(NotFoundError):
                await value(service.get("secret-id"))
            with pytest.raises(Exception, match="500"):
                await value(client.get("/x", retry=once))
    lines = [(r.levelname, r.event, getattr(r, "path", ""), getattr(r, "outcome", "")) for r in caplog.records]  # type: ignore[attr-defined]
    requests = [line for line in lines if line[1] != "status"]
    assert requests == [
        ("INFO", "retry", "/items/{id}", ""),
        ("INFO", "request", "/items/{id}", "200"),
        ("INFO", "request", "/items/{id}", "404"),
        ("WARNING", "request", "/x", "500"),
    ]
    done = next(r for r in caplog.records if getattr(r, "outcome", "") == "200")
    assert done.attempts == 2  # type: ignore[attr-defined]
    assert done.request_id  # type: ignore[attr-defined]
    assert "secret-id" not in caplog.text


def test_the_statuses_that_are_retried_are_the_contract_s() -> None:
    assert {408, 425, 429, 500, 502, 503, 504} == RETRY_STATUSES
