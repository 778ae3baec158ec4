"""Hooks around each attempt: what they see, what they may add, and that they break nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from playcall import ApiKey, RetryPolicy
from playcall.errors import ConfigurationError, DeadlineExceededError, ServiceUnavailableError
from playcall.http.hooks import AttemptStart
from playcall.testing import MockAnswer, MockFault, MockRequest
from playcall.timeline import Attempt
from tests.both_faces import FACES, api, playcall, value

QUICK = RetryPolicy(attempts=3, initial_seconds=0)


class Watching:
    """A hook that keeps what it saw."""

    def __init__(self) -> None:
        self.starts: list[AttemptStart] = []
        self.ends: list[Attempt] = []

    def __call__(self, start: AttemptStart) -> Callable[[Attempt], None]:
        self.starts.append(start)
        start.headers["X-Trace"] = f"t{start.number}"
        return self.ends.append


@FACES
async def test_each_attempt_is_seen_from_its_start_to_its_end(blocking: bool) -> None:
    replies: list[Any] = [MockFault.connection_lost(), MockAnswer(503), MockAnswer(json={"id": 1})]
    seen = Watching()
    async with api(blocking, lambda r: replies.pop(0), retry=QUICK, idempotency_keys=True, hooks=[seen]) as client:
        await value(client.post("/x", json={}))
        sent = client.engine.transport.requests
    assert [(s.method, s.path, s.template, s.host, s.port) for s in seen.starts] == [
        ("POST", "/x", "/x", "backend.test", 80)
    ] * 3
    assert [s.number for s in seen.starts] == [1, 2, 3]
    assert [r.headers["X-Trace"] for r in sent] == ["t1", "t2", "t3"]
    assert [r.headers["X-Request-ID"] for r in sent] == [s.request_id for s in seen.starts]
    assert {s.idempotency_key for s in seen.starts} == {sent[0].headers["Idempotency-Key"]}
    assert [(a.status, a.sent) for a in seen.ends] == [(None, True), (503, True), (200, True)]
    assert [a.decision.split()[0] for a in seen.ends] == ["retry", "retry", "done"]


@FACES
async def test_a_hook_sees_no_credentials_and_the_route_not_the_id(blocking: bool) -> None:
    seen = Watching()
    async with playcall(
        blocking, lambda r: MockAnswer(404, json={"detail": "none"}), auth=ApiKey("s3cr3t"), hooks=[seen]
    ) as client:
        with pytest.raises(Exception, match="404"):
            await value(client.runs.get("run_1"))
    assert seen.starts[0].template == "/runs/{id}"
    assert "s3cr3t" not in repr(seen.starts)


@FACES
async def test_hooks_run_in_order_and_end_in_the_opposite_one(blocking: bool) -> None:
    said: list[str] = []

    def named(name: str) -> Callable[[AttemptStart], Callable[[Attempt], None]]:
        def hook(start: AttemptStart) -> Callable[[Attempt], None]:
            said.append(f"{name} begins")
            return lambda attempt: said.append(f"{name} ends")

        return hook

    async with api(blocking, lambda r: MockAnswer(json=1), hooks=[named("a")]) as client:
        await value(client.with_options(hooks=[named("b"), named("c")]).get("/x"))
        assert said == ["b begins", "c begins", "c ends", "b ends"]
        said.clear()
        await value(client.get("/x"))
        assert said == ["a begins", "a ends"]


@FACES
async def test_a_hook_that_raises_or_writes_nonsense_stops_nothing(
    blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(start: AttemptStart) -> None:
        start.headers["X-Half"] = "done"
        raise RuntimeError("a hook's own")

    def nonsense(start: AttemptStart) -> None:
        start.headers["X-Bad"] = "a\r\nX-Injected: yes"

    def late(start: AttemptStart) -> Callable[[Attempt], None]:
        def ended(attempt: Attempt) -> None:
            raise RuntimeError("too late")

        return ended

    seen = Watching()
    with caplog.at_level(logging.ERROR, "playcall.http"):
        async with api(blocking, lambda r: MockAnswer(json=1), hooks=[seen, raises, nonsense, late]) as client:
            assert await value(client.get("/x")) == 1
            headers = client.engine.transport.requests[0].headers
    assert headers["X-Trace"] == "t1"
    assert "X-Half" not in headers
    assert "X-Bad" not in headers
    assert len([r for r in caplog.records if getattr(r, "event", "") == "hook"]) == 3


@FACES
async def test_a_hook_s_headers_stay_at_home(blocking: bool) -> None:
    def moved(request: MockRequest) -> MockAnswer:
        if request.url.startswith("http://other.test"):
            return MockAnswer(json=1)
        return MockAnswer(302, headers={"Location": "http://other.test/y"})

    seen = Watching()
    async with api(blocking, moved, hooks=[seen]) as client:
        assert await value(client.get("/x")) == 1
        first, second = client.engine.transport.requests
    assert first.headers["X-Trace"] == "t1"
    assert "X-Trace" not in second.headers
    assert [s.host for s in seen.starts] == ["backend.test", "other.test"]


@FACES
async def test_an_attempt_that_its_deadline_cut_off_has_ended_too(blocking: bool) -> None:
    async def never(request: MockRequest) -> MockAnswer:
        await asyncio.sleep(3600)
        raise AssertionError

    seen = Watching()
    async with api(blocking, never, hooks=[seen]) as client:
        with pytest.raises(DeadlineExceededError):
            await value(client.get("/x", deadline_seconds=0.05))
    assert [a.decision for a in seen.ends] == ["give up: the deadline has come"]


async def test_an_attempt_whose_caller_was_cancelled_has_ended_too() -> None:
    asked = asyncio.Event()

    async def never(request: MockRequest) -> MockAnswer:
        asked.set()
        await asyncio.sleep(3600)
        raise AssertionError

    seen = Watching()
    async with api(False, never, hooks=[seen]) as client:
        call = asyncio.create_task(client.get("/x"))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert [(a.outcome, a.decision) for a in seen.ends] == [
        ("unfinished, waiting for the answer", "stopped: the caller was cancelled")
    ]


@FACES
async def test_a_call_that_failed_tells_its_hooks_why(blocking: bool) -> None:
    seen = Watching()
    async with api(blocking, lambda r: MockAnswer(503), retry=QUICK, hooks=[seen]) as client:
        with pytest.raises(ServiceUnavailableError) as caught:
            await value(client.get("/x"))
    assert list(caught.value.attempts) == seen.ends


@FACES
async def test_a_hook_is_a_function(blocking: bool) -> None:
    async with api(blocking, lambda r: MockAnswer(json=1)) as client:
        with pytest.raises(ConfigurationError, match="hooks="):
            client.with_options(hooks=["x"])
