"""The long-poll link against a server that does not keep the contract, or that is not ours at all."""

from __future__ import annotations

import pytest

from playcall.realtime.codec import UnreadableFrameError
from playcall.realtime.transports import polling
from playcall.realtime.transports.base import LinkLostError, UpgradeRefusedError
from tests.misbehaving_server import (
    Act,
    MisbehavingServer,
    Request,
    answer,
    close,
    half,
    head,
    ok,
    raw,
    redirect,
    repeated,
    reset,
    silence,
)

from .scripted_answers import PROOF, SECRET, asked, events, page, refusal, scripted
from .talk import Headers, talking


@pytest.mark.parametrize(
    ("act", "status", "retry_after"),
    [
        (refusal(503, {"Retry-After": "7"}, detail="draining"), 503, 7.0),
        (refusal(429, {"Retry-After-Ms": "250"}, detail="draining"), 429, 0.25),
        (refusal(500, detail="draining"), 500, None),
        (refusal(401, detail="draining"), 401, None),
        (refusal(404, detail="draining"), 404, None),
    ],
)
async def test_a_refusal_ends_the_link_with_its_status_and_the_time_to_wait(
    act: Act, status: int, retry_after: float | None
) -> None:
    async with scripted(act) as (talk, _, _):
        await talk.subscribe("tasks")
        with pytest.raises(UpgradeRefusedError) as refused:
            await talk.receive()
    error = refused.value
    assert (error.status, error.retry_after_seconds, error.detail) == (status, retry_after, "draining")


async def test_a_redirect_is_not_followed_and_takes_no_credentials_away() -> None:
    async with MisbehavingServer(lambda request: ok({})) as elsewhere:
        async with scripted(redirect(f"{elsewhere.url}/api/v1/events")) as (talk, _, _):
            await talk.subscribe("tasks")
            with pytest.raises(UpgradeRefusedError) as refused:
                await talk.receive()
        assert refused.value.status == 307
        assert elsewhere.requests == []


async def test_a_403_in_other_words_than_the_contracts_is_not_the_topics() -> None:
    async with scripted(answer(403, b"<h1>Blocked</h1>")) as (talk, _, _):
        await talk.subscribe("tasks")
        with pytest.raises(UpgradeRefusedError) as refused:
            await talk.receive()
    assert (refused.value.status, refused.value.detail, refused.value.code) == (403, "", "")


@pytest.mark.parametrize("status", [414, 422, 431])
async def test_a_question_that_can_never_be_answered_ends_its_subscription_alone(status: int) -> None:
    async with scripted(answer(status, b"no"), page(seq=4)) as (talk, _, _):
        await talk.subscribe("tasks", id=3)
        refused = await talk.receive()
        assert (refused["op"], refused["id"], refused["code"]) == ("error", 3, "invalid_subscription")
        assert str(status) in refused["message"]
        await talk.subscribe("tasks", sid="s2", id=4)
        assert (await talk.receive())["op"] == "subscribed"


@pytest.mark.parametrize(
    "act",
    [
        close(),
        reset(),
        half(),
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"epo'),
        raw(b"SSH-2.0-OpenSSH\r\n"),
    ],
    ids=["closed", "reset", "half a body", "half a chunk", "not HTTP"],
)
async def test_a_lost_answer_ends_the_link_and_is_not_asked_for_again(act: Act) -> None:
    async with scripted(act) as (talk, _, script):
        await talk.subscribe("tasks")
        with pytest.raises(LinkLostError) as lost:
            await talk.receive()
        assert (lost.value.reached, lost.value.permanent) == (True, False)
        assert len(script.questions) == 1
    assert SECRET not in str(lost.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"[]",
        b'{"epoch":"e1","seq":0,"head":0}',
        b'{"epoch":"e1","seq":"x","head":0,"frames":[]}',
        b'{"epoch":"e1","seq":0,"head":0,"frames":[7]}',
        b'{"epoch":"\xff","seq":0,"head":0,"frames":[]}',
        b'{"epoch":"e1","seq":0,"head":0,"frames":[' + b"[" * 5_000,
        b'{"epoch":"e1","seq":0,"head":0,"frames":[{"op":"events","prev":0,"events":[]}]}',
        b'{"epoch":"e1","seq":0,"head":0,"frames":[{"op":"events","prev":0,"to":1,"events":{}}]}',
    ],
)
async def test_an_answer_that_cannot_be_read_names_its_subscription(body: bytes) -> None:
    async with scripted(answer(200, body)) as (talk, _, _):
        await talk.subscribe("tasks")
        with pytest.raises(UnreadableFrameError) as unreadable:
            await talk.until("nothing of what can be told before")
    assert unreadable.value.sid == "s1"


@pytest.mark.parametrize(
    "first",
    [head(200, {"Content-Type": "application/json"}), head(200, {"Content-Length": str(10**9)})],
    ids=["endless", "of a gigabyte"],
)
async def test_a_body_without_end_is_read_up_to_the_bound_and_left(first: bytes) -> None:
    async with scripted(repeated(b" " * 65_536, first=first, pause_seconds=0)) as (talk, server, _):
        await talk.subscribe("tasks")
        with pytest.raises(UnreadableFrameError, match="larger than") as unreadable:
            await talk.receive()
        assert unreadable.value.sid == "s1"
        await server.wait_until_at_most(1)  # the connection it came on is closed, not kept


async def test_the_largest_answer_of_the_contract_is_read() -> None:
    data = {"text": "x" * 60_000}
    frames = []
    for at in range(0, 25, 5):
        frame = events(at, at + 5)
        for event in frame["events"]:
            event["data"] = data
        frames.append(frame)
    async with scripted(page(*frames, head=25), silence()) as (talk, _, _):
        await talk.subscribe("tasks")
        await talk.receive()
        assert [event["seq"] for event in await talk.events(25)] == list(range(1, 26))


@pytest.mark.parametrize(
    "act", [silence(), silence(head(200, {"Content-Length": "100"}) + b'{"epoch"')], ids=["nothing", "half a body"]
)
async def test_a_request_that_is_not_answered_in_time_ends_the_link(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "GRACE_SECONDS", 0.05)
    async with scripted(page(), act, wait_seconds=0.05) as (talk, server, _):
        await talk.subscribe("tasks")
        assert (await talk.receive())["op"] == "subscribed"
        with pytest.raises(LinkLostError, match="not answered in time") as lost:
            await talk.receive()
        assert not lost.value.reached
        await server.wait_until_at_most(1)


async def test_one_request_that_fails_ends_the_link_for_all_and_only_once() -> None:
    acts = [page(), silence(), page(), silence(), reset()]
    async with scripted(*acts, wait_seconds=25) as (talk, server, script):
        await talk.subscribe("tasks", sid="s1", id=1)
        await talk.receive()
        await talk.subscribe("runs", sid="s2", id=2)
        await talk.receive()
        await asked(script, 4)
        await talk.subscribe("agents", sid="s3", id=3)
        with pytest.raises(LinkLostError):
            await talk.receive()
        await server.wait_until_at_most(1)  # those that waited are broken off, before anybody closes


async def test_unsubscribing_breaks_off_the_request_that_waits() -> None:
    async with scripted(page(), silence(), wait_seconds=25) as (talk, server, script):
        await talk.subscribe("tasks")
        await talk.receive()
        await asked(script, 2)
        await talk.send("unsubscribe", id=2, sid="s1")
        assert (await talk.receive())["op"] == "unsubscribed"
        await server.wait_until_nobody_is_connected()


async def test_what_came_before_the_end_is_told_before_it() -> None:
    async with scripted(page(events(0, 2)), reset()) as (talk, _, _):
        await talk.subscribe("tasks")
        assert [(await talk.receive())["op"] for _ in range(2)] == ["subscribed", "events"]
        with pytest.raises(LinkLostError):
            await talk.receive()


@pytest.mark.parametrize(
    ("act", "expected"),
    [(reset(), LinkLostError), (refusal(503), UpgradeRefusedError), (answer(200, b" " * 3_000_000), ValueError)],
)
async def test_a_ping_that_fails_ends_the_link(act: Act, expected: type[Exception]) -> None:
    def script(request: Request) -> Act:
        return page() if request.target == PROOF else act

    async with MisbehavingServer(script) as server, talking(server.url, Headers()) as talk:
        await talk.send("ping", n=1)
        with pytest.raises(expected):
            await talk.receive()
