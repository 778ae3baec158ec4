"""The mock that users test with: what it shows of a request, and every way that it can fail."""

from __future__ import annotations

from typing import Any

import pytest

from playcall import BaseAPIClient, Playcall, RetryPolicy, testing
from playcall.errors import ConnectFailedError, ConnectionLostError, InvalidArgumentError
from playcall.testing import MockAnswer, MockFault, MockRequest, MockTransport
from tests.both_faces import FACES, api, value

ONCE = RetryPolicy(attempts=1)


@FACES
async def test_a_request_is_shown_as_it_would_have_been_sent(blocking: bool) -> None:
    async with api(blocking, lambda request: MockAnswer(json=request.json())) as client:
        assert await value(client.post("/a/b%20c", json={"x": 1}, params={"q": "é", "e": ""})) == {"x": 1}
        [request] = client.engine.transport.requests
    assert (request.method, request.path) == ("POST", "/base/a/b%20c")
    assert request.query == {"q": "é", "e": ""}
    assert request.headers["content-type"] == "application/json"
    assert request.url == "http://backend.test/base/a/b%20c?q=%C3%A9&e="


@FACES
@pytest.mark.parametrize("raised", [True, False], ids=["raised", "returned"])
@pytest.mark.parametrize(
    ("fault", "error", "maybe"),
    [
        (MockFault.not_sent(), ConnectFailedError, False),
        (MockFault.connection_lost(), ConnectionLostError, True),
        (MockFault.timed_out(), ConnectionLostError, True),
    ],
    ids=["not sent", "lost", "timed out"],
)
async def test_a_fault_is_raised_or_returned(
    blocking: bool, raised: bool, fault: MockFault, error: type[Any], maybe: bool
) -> None:
    def handler(request: MockRequest) -> MockFault:
        if raised:
            raise fault
        return fault

    async with api(blocking, handler, retry=ONCE) as client:
        with pytest.raises(error, match="mocked") as caught:
            await value(client.post("/x"))
        assert caught.value.may_have_happened is maybe


@FACES
async def test_an_exception_of_the_handler_s_own_passes_through(blocking: bool) -> None:
    def handler(request: MockRequest) -> MockAnswer:
        raise KeyError("a bug in the test")

    async with api(blocking, handler) as client:
        with pytest.raises(KeyError, match="a bug in the test"):
            await value(client.get("/x"))


@FACES
async def test_an_async_handler_may_take_its_time(blocking: bool) -> None:
    async def handler(request: MockRequest) -> MockAnswer:
        return MockAnswer(body="text", headers={"X": "y"})

    async with api(blocking, handler) as client:
        answer = await value(client.answer("GET", "/x"))
        assert (answer.body, answer.headers["x"]) == (b"text", "y")


async def test_a_body_can_break_off() -> None:
    transport = MockTransport(lambda request: MockAnswer(body=b"abcdef", breaks_after=3))
    async with BaseAPIClient("http://b", transport=transport, retry=ONCE) as client:
        with pytest.raises(ConnectionLostError, match="broke off"):
            await client.get("/x")


def test_a_body_that_is_not_json_is_refused_and_a_repr_is_short() -> None:
    with pytest.raises(InvalidArgumentError):
        MockAnswer(json=object())
    assert repr(MockAnswer(404, body="x" * 1000)) == "MockAnswer(404, 1000 bytes)"


def test_it_serves_the_whole_client() -> None:
    transport = MockTransport(lambda request: MockAnswer(json={"items": [], "next_cursor": None}))
    with Playcall(transport=transport) as client:
        assert list(client.playbooks.list()) == []
    assert transport.closed


def test_names_are_loaded_when_they_are_used() -> None:
    assert set(dir(testing)) >= {"MockTransport", "LiveBackend", "FaultProxy", "DeliveryOracle"}
    with pytest.raises(AttributeError, match="nothing_like_it"):
        testing.nothing_like_it  # noqa: B018
