"""The front door: settings from arguments and the environment, clones, and what both clients hold."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from playcall import AsyncPlaycall, Playcall, RetryPolicy
from playcall.errors import ClientClosedError, ConfigurationError
from playcall.realtime.states import ConnectionState
from playcall.testing import MockAnswer, MockRequest, MockTransport
from tests.both_faces import FACES, playcall, value

KINDS = pytest.mark.parametrize("kind", [Playcall, AsyncPlaycall])


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLAYCALL_URL", "PLAYCALL_API_KEY", "PLAYCALL_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def ready(request: MockRequest) -> MockAnswer:
    return MockAnswer(json={"status": "ok"})


@KINDS
def test_the_url_is_the_argument_s_then_the_environment_s_then_this_machine_s(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kind().url == "http://127.0.0.1:8000"
    monkeypatch.setenv("PLAYCALL_URL", "https://there/")
    assert kind().url == "https://there"
    assert kind("http://here").url == "http://here"
    monkeypatch.setenv("PLAYCALL_URL", "nonsense")
    with pytest.raises(ConfigurationError):
        kind()


@FACES
async def test_credentials_come_from_the_environment_where_none_are_given(
    blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [("PLAYCALL_API_KEY", "X-API-Key", "k"), ("PLAYCALL_TOKEN", "Authorization", "Bearer k")]
    for name, header, expected in cases:
        with monkeypatch.context() as patch:
            patch.setenv(name, "k")
            async with playcall(blocking, ready) as client:
                await value(client.status.wait_until_ready(5))
                [request] = client._api.engine.transport.requests
        assert request.path == "/api/v1/ready"
        assert request.headers[header] == expected


@KINDS
def test_two_kinds_of_credentials_in_the_environment_are_refused(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYCALL_API_KEY", "k")
    monkeypatch.setenv("PLAYCALL_TOKEN", "t")
    with pytest.raises(ConfigurationError, match="both set"):
        kind()


@FACES
async def test_a_clone_shares_everything_but_its_options(blocking: bool) -> None:
    async with playcall(blocking, lambda request: MockAnswer(503)) as client:
        services = [client.playbooks, client.runs, client.agents, client.tasks, client.tools, client.account]
        clone = client.with_options(retry=RetryPolicy(attempts=1), deadline_seconds=7)
        with pytest.raises(Exception, match="503") as caught:
            await value(clone.account.me())
        error: Any = caught.value
        assert (len(error.attempts), error.timeline.deadline_seconds) == (1, pytest.approx(7, abs=0.1))
        assert clone.events is client.events
        assert client.status.current.last_error == clone.status.current.last_error == error.message
        assert [client.playbooks, client.runs, client.agents] == services[:3]
        assert clone.playbooks is not client.playbooks


@FACES
async def test_after_close_every_call_is_an_error(blocking: bool) -> None:
    async with playcall(blocking, ready) as client:
        assert client.events is not None
        await value(client.close())
        await value(client.close())
        assert client.status.current.state == "closed"
        with pytest.raises(ClientClosedError):
            await value(client.account.me())


def test_with_and_async_with_close() -> None:
    import asyncio

    transport = MockTransport(ready)
    with Playcall("http://b", transport=transport) as client:
        assert repr(client) == "Playcall('http://b')"
    assert transport.closed

    async def use() -> None:
        other = MockTransport(ready)
        async with AsyncPlaycall("http://b", transport=other) as client:
            assert repr(client) == "AsyncPlaycall('http://b')"
        assert other.closed

    asyncio.run(use())


def test_nothing_is_printed_where_no_logging_is_set_up(capfd: pytest.CaptureFixture[str]) -> None:
    transport = MockTransport(lambda request: MockAnswer(404))
    with Playcall("http://b", transport=transport) as client, pytest.raises(Exception, match="404"):
        client.account.me()
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("playcall.http").handlers == []


def test_a_way_for_events_that_there_is_not_is_refused_before_events_are_looked_at() -> None:
    with pytest.raises(ConfigurationError, match="'websocket', 'long_poll', got 'pigeon'"):
        Playcall(realtime="pigeon")  # type: ignore[arg-type]


@FACES
async def test_clones_share_events_whoever_looks_first(blocking: bool) -> None:
    async with playcall(blocking, ready) as client:
        events = client.with_options(deadline_seconds=5).events
        assert client.events is events
        assert client.with_options(deadline_seconds=6).events is events


@FACES
async def test_events_that_are_looked_at_first_after_close_are_closed(blocking: bool) -> None:
    async with playcall(blocking, ready) as client:
        pass
    assert client.events.state is ConnectionState.CLOSED
    with pytest.raises(ClientClosedError):
        client.events.subscribe("tasks")
