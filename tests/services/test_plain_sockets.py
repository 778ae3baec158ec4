"""Both faces of the WebSocket client on real sockets of servers that know nothing of our contract."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from playcall import BaseAPIClient, FormLogin, PlainEvent, PlainGap, PlainSockets
from playcall.errors import (
    ConfigurationError,
    EventsMissedError,
    InvalidArgumentError,
    RealtimeAuthError,
    RealtimeConnectError,
    RealtimeError,
    RealtimeTimeoutError,
    TopicForbiddenError,
)
from playcall.http.auth import ApiKey, BearerToken
from playcall.models.cursor import Cursor
from playcall.realtime.cursors import MemoryCursors
from playcall.realtime.states import ConnectionState, SubscriptionState
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.services.websocket_client import WebSocketClient

from .plain_server import PlainServer
from .websocket_faces import MakeFace, replay, take, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "other_peoples_sockets"


class Order(BaseModel):
    item: str


PROTOCOL = PlainSockets(
    path="/feed",
    auth=lambda token: {"do": "login", "token": token},
    is_accepted=lambda message: message["type"] == "hello",
    is_refused=lambda message: message["type"] == "go away",
    subscribe=lambda topic: {"do": "subscribe", "topic": topic},
    unsubscribe=lambda topic: {"do": "unsubscribe", "topic": topic},
    subscribed=lambda message: message["name"] if message["type"] == "subscribed" else None,
    forbidden=lambda message: message["name"] if message["type"] == "refused" else None,
    models={"order.*": Order},
    ignore=["pong"],
)


@pytest.fixture
def server() -> Iterator[PlainServer]:
    with PlainServer() as running:
        yield running


@pytest.fixture
def face(make: MakeFace) -> Any:
    return connect(make)


def connect(make: MakeFace, url: str | None = None, *, session: PlainSockets = PROTOCOL, **options: Any) -> Any:
    return make(url, **{"session": session, "auth": BearerToken("t1"), "deadline_seconds": 10, **options})


def ids(items: list[Any]) -> list[str | None]:
    return ["gap" if isinstance(item, PlainGap) else item.id for item in items]


# --- events -----------------------------------------------------------------------------------------------------------


async def test_events_arrive_typed_and_as_they_happen(face: Any, server: PlainServer) -> None:
    before = datetime.now(UTC)
    async with face.subscribe("orders") as feed:
        server.publish("orders", item="tea")
        server.publish("orders", "order.placed", item=5)
        server.publish("orders", "stock.changed", item="milk")
        first, unreadable, other = await take(feed, 3)
        assert isinstance(first, PlainEvent)
        assert (first.type, first.topic, first.id, first.data) == ("order.placed", "orders", "1", Order(item="tea"))
        assert before <= first.received_at <= datetime.now(UTC)
        assert (unreadable.data, unreadable.unreadable) == ({"item": 5}, "item: Input should be a valid string")
        assert (other.data, other.unreadable) == ({"item": "milk"}, None)
        assert (feed.cursor, feed.processed, feed.lag) == (None, None, None)
        picture = face.client.picture
        assert (picture.received, picture.unreadable, picture.transport) == (3, 1, "websocket")
        assert [each.state for each in picture.subscriptions] == [SubscriptionState.LIVE]
    assert server.heard[:2] == [{"do": "login", "token": "t1"}, {"do": "subscribe", "topic": "orders"}]
    assert not {"Authorization", "Sec-WebSocket-Protocol"} & set(server.upgrades[0])
    await until(lambda: server.said("unsubscribe"))


async def test_consumers_of_one_topic_share_a_subscription_and_patterns_choose_for_each(
    face: Any, server: PlainServer
) -> None:
    seen: list[Any] = []
    async with face.subscribe("orders") as everything, face.subscribe("orders", types=["*.paid"]) as paid:
        registration = await face.on("order.placed", seen.append, topic="orders")
        server.publish("orders", item="tea")
        server.publish("orders", "order.paid", item="tea")
        assert ids(await take(everything, 2)) == ["1", "2"]
        assert ids(await take(paid, 1)) == ["2"]
        await until(lambda: seen)
        assert ids(seen) == ["1"]
        assert seen[0].data == Order(item="tea")
        assert len(server.said("subscribe")) == 1
    server.publish("orders", item="milk")
    await until(lambda: len(seen) == 2)
    assert server.said("unsubscribe") == []
    registration.remove()
    await until(lambda: server.said("unsubscribe"))
    assert (registration.handled, registration.lag) == (2, None)


async def test_what_is_sent_twice_is_given_once(face: Any, server: PlainServer) -> None:
    async with face.subscribe("orders") as feed:
        for id_ in ("a", "b", "a", "c"):
            server.publish("orders", id=id_, item="tea")
        assert ids(await take(feed, 3)) == ["a", "b", "c"]
        assert face.client.picture.repeated == 1


async def test_garbage_and_binary_messages_harm_nobody_and_binary_json_is_json(face: Any, server: PlainServer) -> None:
    async with face.subscribe("orders") as feed:
        for garbage in ("", "{", b"\x00\xff\xfe", '{"type": "order.placed"}', "[]"):
            server.raw(garbage)
        server.raw(json.dumps({"type": "order.placed", "topic": "orders", "id": 7, "data": {"item": "tea"}}).encode())
        [event] = await take(feed, 1)
        assert (event.id, event.data) == ("7", Order(item="tea"))
        picture = face.client.picture
        assert (picture.unreadable, picture.passed_over, picture.reconnects) == (4, 1, 0)


async def test_what_cannot_be_read_is_said_once_in_the_log(
    face: Any, server: PlainServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "playcall.realtime"):
        async with face.subscribe("orders"):
            for _ in range(3):
                server.raw("s3cret")
            await until(lambda: face.client.picture.unreadable == 3)
    assert [each.getMessage() for each in caplog.records] == [
        "a message came that is no JSON; more on this connection are only counted"
    ]


async def test_a_topicless_server_of_few_words_needs_few_words(make: MakeFace, server: PlainServer) -> None:
    server.tokens.clear()
    face = make(f"ws://127.0.0.1:{server.port}/feed", session=PlainSockets(topic_of=None))
    seen: list[Any] = []
    registration = await face.on("order.*", seen.append)
    await until(lambda: server.connected)
    server.raw('{"type": "order.placed", "data": 1}')
    await until(lambda: seen)
    assert (seen[0].topic, seen[0].id, seen[0].data) == ("*", None, 1)
    registration.remove()


# --- what breaks ------------------------------------------------------------------------------------------------------


async def test_a_server_that_stops_and_comes_back_is_found_again_and_what_was_missed_is_a_gap(
    face: Any, server: PlainServer
) -> None:
    async with face.subscribe("orders", on_gap="yield") as feed, face.subscribe("orders") as marked:
        server.publish("orders", item="tea")
        server.stop()
        await until(lambda: face.client.state is ConnectionState.BACKOFF)
        server.publish("orders", item="lost")
        server.start()
        face.client.wake()
        items = await take(feed, 2)
        server.publish("orders", item="milk")
        items += await take(feed, 1)
        assert ids(items) == ["1", "gap", "3"]
        gap = items[1]
        assert (gap.topic, gap.reason, gap.dropped) == ("orders", "disconnected", 0)
        assert items[0].received_at <= gap.began_at <= items[2].received_at
        assert [each.after_gap for each in await take(marked, 2)] == [None, gap]
        picture = face.client.picture
        assert (picture.gaps, picture.reconnects, len(picture.outages)) == (2, 1, 1)
    assert len(server.said("subscribe")) == 2


async def test_whatever_is_lost_has_a_gap_where_it_would_have_stood(face: Any, server: PlainServer) -> None:
    """A line that is cut three times while event follows event, twice until somebody is there again."""
    over = threading.Event()

    def publish() -> None:
        for n in range(1, 151):
            server.publish("orders", item="tea")
            if n % 50 == 0:
                server.cut()
                while n < 150 and not server.connected:
                    time.sleep(0.001)
        while not over.is_set():  # something has to be the last that arrives
            server.publish("orders", "order.last", item="tea")
            time.sleep(0.01)

    async with face.subscribe("orders", on_gap="yield") as feed:
        publishing = asyncio.create_task(asyncio.to_thread(publish))
        items: list[Any] = []
        try:
            async with asyncio.timeout(30):
                while not items or isinstance(items[-1], PlainGap) or items[-1].type != "order.last":
                    items.append(await anext(feed))
        finally:
            over.set()
            await publishing
    numbers = [0 if isinstance(item, PlainGap) else int(item.id) for item in items]
    assert numbers[0] == 1
    last, gap = 0, False
    for number in numbers:
        if number:
            assert number == last + 1 or (number > last and gap), numbers
            last, gap = number, False
        else:
            gap = True
    assert numbers.count(0) >= 2


async def test_raised_a_gap_ends_the_feed_after_what_came_before_it(face: Any, server: PlainServer) -> None:
    async with face.subscribe("orders", on_gap="raise") as feed:
        server.publish("orders", item="tea")
        await until(lambda: face.client.picture.received)
        server.cut()
        assert ids(await take(feed, 1)) == ["1"]
        with pytest.raises(EventsMissedError, match="events of 'orders' may be missing") as caught:
            await take(feed, 1)
        assert caught.value.gap.reason == "disconnected"


async def test_a_handler_goes_on_after_a_gap_which_is_logged_counted_and_told_to_who_asks(
    face: Any, server: PlainServer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    gaps: list[Any] = []
    aware = await face.on("*", seen.append, topic="orders", on_gap=gaps.append)
    unaware = await face.on("*", seen.append, topic="orders")
    with caplog.at_level(logging.WARNING, "playcall.realtime"):
        server.cut()
        await until(lambda: gaps)
    server.publish("orders", item="tea")
    await until(lambda: len(seen) == 2)
    assert [each.after_gap for each in seen] == [gaps[0]] * 2
    assert (aware.gaps, unaware.gaps) == (1, 1)
    told = [each for each in caplog.records if getattr(each, "event", "") == "realtime.gap"]
    assert [each.getMessage() for each in told] == [str(gaps[0])] * 2


async def test_a_handler_that_raises_has_its_event_set_aside(face: Any, server: PlainServer) -> None:
    def handler(event: PlainEvent) -> None:
        if not healed:
            raise ValueError(event.id)

    healed = False
    registration = await face.on("order.*", handler, topic="orders")
    server.publish("orders", item="tea")
    await until(lambda: registration.set_aside)
    healed = True
    assert registration.set_aside[0].event.data == Order(item="tea")
    assert await replay(registration) == 1


async def test_a_slow_consumer_loses_by_itself_and_is_told_how_many(face: Any, server: PlainServer) -> None:
    async with (
        face.subscribe("orders", on_gap="yield", window=4) as slow,
        face.subscribe("orders", window=200) as quick,
    ):
        for _ in range(50):
            server.publish("orders", item="tea")
        assert ids(await take(quick, 50)) == [str(n) for n in range(1, 51)]
        assert slow.buffered == 4
        items = await take(slow, 5)
        assert ids(items) == ["1", "2", "3", "4", "gap"]
        assert (items[4].reason, items[4].dropped) == ("overflow", 46)
        server.publish("orders", item="milk")
        [after] = await take(slow, 1)
        assert (after.id, after.after_gap) == ("51", items[4])
        assert face.client.picture.reconnects == 0


async def test_unless_told_a_burst_of_a_thousand_finds_room(face: Any, server: PlainServer) -> None:
    async with face.subscribe("orders", on_gap="raise") as feed:
        for _ in range(1_000):
            server.publish("orders", item="tea")
        await until(lambda: face.client.picture.received == 1_000)
        assert feed.buffered == 1_000
        server.publish("orders", item="too much")
        server.raw('{"type": "of no topic"}')
        await until(lambda: face.client.picture.passed_over)
        assert len(await take(feed, 1_000)) == 1_000
        with pytest.raises(EventsMissedError, match="were dropped, 1 of them"):
            await take(feed, 1)


@pytest.mark.parametrize("by", ["a ping of the WebSocket's", "silence"])
async def test_a_half_open_connection_is_noticed_and_replaced(make: MakeFace, server: PlainServer, by: str) -> None:
    session = replace(PROTOCOL, heartbeat_seconds=0.2)
    if by == "silence":
        session = replace(PROTOCOL, heartbeat_seconds=None, ping={"do": "ping"}, ping_seconds=0.1, silence_seconds=0.4)
    face = connect(make, session=session)
    async with face.subscribe("orders", on_gap="yield") as feed:
        server.freeze()
        [gap] = await take(feed, 1, seconds=10)
        assert gap.reason == "disconnected"
        server.publish("orders", item="tea")
        assert ids(await take(feed, 1)) == ["1"]
        assert ("ping" if by != "silence" else "nothing was heard") in str(face.client.picture.outages)


async def test_pings_keep_a_quiet_connection_alive(make: MakeFace, server: PlainServer) -> None:
    session = replace(PROTOCOL, ping={"do": "ping"}, ping_seconds=0.05, silence_seconds=0.6)
    face = connect(make, session=session)
    async with face.subscribe("orders"):
        await until(lambda: len(server.said("ping")) >= 20, seconds=10)
        assert len(server.upgrades) == 1
        assert face.client.picture.passed_over == 0


async def test_a_message_that_is_too_large_breaks_the_connection_and_says_why(
    make: MakeFace, server: PlainServer
) -> None:
    face = connect(make, session=replace(PROTOCOL, max_message_bytes=2_000_000))
    async with face.subscribe("orders", on_gap="yield") as feed:
        server.publish("orders", item="x" * 1_500_000)
        assert ids(await take(feed, 1)) == ["1"]
        server.publish("orders", item="x" * 2_500_000)
        assert ids(await take(feed, 1)) == ["gap"]
        assert "larger than max_message_bytes" in str(face.client.picture.outages)


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refuse_by", [None, 1008, 4401, 4403])
async def test_refused_credentials_are_renewed_once(make: MakeFace, server: PlainServer, refuse_by: int | None) -> None:
    given: list[str] = []

    def provider() -> str:
        given.append(f"t{2 - len(given)}")
        return given[-1]

    server.refuse_by = refuse_by
    face = connect(make, auth=BearerToken(provider))
    async with face.subscribe("orders") as feed:
        server.publish("orders", item="tea")
        assert ids(await take(feed, 1)) == ["1"]
    assert [each["token"] for each in server.said("login")] == ["t2", "t1"]


@pytest.mark.parametrize("refuse_by", [None, 1008])
async def test_refused_for_good_is_an_error_without_the_token(
    make: MakeFace, server: PlainServer, refuse_by: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuse_by = refuse_by
    face = connect(make, auth=BearerToken("s3cret"))
    with caplog.at_level(logging.DEBUG), pytest.raises(RealtimeAuthError, match="refused the credentials") as caught:
        await face.subscribe("orders").open()
    assert "s3cret" not in str(caught.value) + caplog.text
    assert face.client.state is ConnectionState.FAILED


async def test_a_token_revoked_meanwhile_is_replaced_and_the_time_between_is_a_gap(
    make: MakeFace, server: PlainServer
) -> None:
    current = "t1"
    face = connect(make, auth=BearerToken(lambda: current))
    async with face.subscribe("orders", on_gap="yield") as feed:
        current = "t2"
        server.tokens = {"t2"}
        server.close_all(4401)
        assert ids(await take(feed, 1)) == ["gap"]
        assert face.client.picture.reconnects == 1


@pytest.mark.parametrize("auth", [BearerToken("t1"), ApiKey("t1")])
async def test_the_token_goes_where_the_protocol_says(make: MakeFace, server: PlainServer, auth: Any) -> None:
    silent = PlainSockets(path="/feed")
    for session in (silent, replace(silent, token_parameter="token"), replace(silent, auth=PROTOCOL.auth)):
        face = connect(make, session=session, auth=auth)
        async with face.subscribe("orders"):
            await until(lambda: server.connected)
        await face.close()
        await until(lambda: not server.connected)
    header = "Authorization" if isinstance(auth, BearerToken) else "X-API-Key"
    assert [header in each for each in server.upgrades] == [True, False, False]
    assert server.queries == [{}, {"token": "t1"}, {}]
    assert server.heard == [{"do": "login", "token": "t1"}]


async def test_the_credentials_may_be_those_of_an_http_client(server: PlainServer) -> None:
    async with (
        BaseAPIClient(server.url, auth=BearerToken("t1")) as api,
        WebSocketClient(server.url, session=PROTOCOL, api=api) as client,
        client.subscribe("orders") as feed,
    ):
        server.publish("orders", item="tea")
        assert ids(await take(feed, 1)) == ["1"]


async def test_a_login_of_the_servers_own_gives_the_token(make: MakeFace, server: PlainServer) -> None:
    server.tokens = {"from-the-login"}
    async with connect(make, auth=FormLogin("ann", "correct horse")).subscribe("orders"):
        assert server.said("login") == [{"do": "login", "token": "from-the-login"}]


async def test_subprotocols_are_offered(make: MakeFace, server: PlainServer) -> None:
    server.protocols = ("v2",)
    face = connect(make, session=replace(PROTOCOL, subprotocols=["v3", "v2"]))
    async with face.subscribe("orders"):
        assert server.upgrades[0]["Sec-WebSocket-Protocol"] == "v3,v2"


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_a_topic_that_the_server_refuses_is_an_error_of_that_topic_alone(face: Any, server: PlainServer) -> None:
    async with face.subscribe("orders") as feed:
        with pytest.raises(TopicForbiddenError, match="'secret'"):
            await face.subscribe("secret").open()
        server.publish("orders", item="tea")
        assert ids(await take(feed, 1)) == ["1"]


async def test_no_answer_by_the_deadline_withdraws(face: Any, server: PlainServer) -> None:
    server.answers = False
    with pytest.raises(RealtimeTimeoutError, match="was not answered in time"):
        await face.subscribe("orders", deadline_seconds=0.3).open()
    assert face.client.picture.subscriptions == ()
    await until(lambda: server.said("unsubscribe"))
    async with face.subscribe("orders", wait=False) as feed:
        await until(lambda: len(server.said("subscribe")) == 2)
        server.publish("orders", item="tea")
        assert ids(await take(feed, 1)) == ["1"]


@pytest.mark.parametrize(
    ("door", "error"), [(401, RealtimeAuthError), (403, RealtimeAuthError), (404, RealtimeConnectError)]
)
async def test_a_door_that_stays_shut_fails_fast(
    make: MakeFace, server: PlainServer, door: int, error: type[RealtimeError]
) -> None:
    server.door = door
    with pytest.raises(error, match=str(door)):
        await connect(make).subscribe("orders").open()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"start": "start"}, "needs a server that keeps its events"),
        ({"start": Cursor("e", 1)}, "needs a server that keeps its events"),
        ({"cursors": MemoryCursors()}, "cannot resume"),
        ({"cursor_name": "mine"}, "cannot resume"),
        ({"on_gap": "snapshot"}, 'use "yield", and read yours'),
        ({"on_gap": "ignore"}, 'on_gap is "mark", "yield" or "raise"'),
        ({"window": 0}, "window is a number of events"),
        ({"types": "order.*"}, r"write types=\['order"),
    ],
)
async def test_what_makes_no_sense_without_a_log_is_refused(face: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why):
        face.subscribe("orders", **options)
    if "on_gap" not in options and "types" not in options:
        with pytest.raises(InvalidArgumentError, match=why):
            await face.on("order.*", print, topic="orders", **options)


async def test_topics_are_the_servers_and_are_to_be_said(face: Any) -> None:
    for topic in ("", None, 3, "\udcff"):
        with pytest.raises(InvalidArgumentError, match="a topic is a name that the server knows"):
            face.subscribe(topic)
    with pytest.raises(InvalidArgumentError, match="say topic="):
        await face.on("task.*", print)
    with pytest.raises(InvalidArgumentError, match="history"):
        face.client.history("orders")


@pytest.mark.parametrize("kind", [WebSocketClient, BlockingWebSocketClient])
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"session": PlainSockets}, "got the class PlainSockets"),
        ({"session": "plain"}, "got 'plain'"),
        ({"session": PlainSockets(), "via": "long_poll"}, "there is the WebSocket only"),
        ({"session": PlainSockets(), "user_agent": "me/1"}, "nobody hears it"),
        ({"session": PROTOCOL}, r"give auth=BearerToken\(…\)"),
        ({"session": PlainSockets(token_parameter="t")}, r"give auth=BearerToken\(…\)"),
    ],
)
def test_a_client_that_makes_no_sense_is_refused(kind: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        kind("http://127.0.0.1:9", **options)


def test_the_other_face_of_a_client_has_its_session_already() -> None:
    with pytest.raises(ConfigurationError, match="session"):
        BlockingWebSocketClient(awaiting=WebSocketClient("http://127.0.0.1:9"), session=PlainSockets())  # type: ignore[misc]


# --- the example ------------------------------------------------------------------------------------------------------


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # A test that waits for a line must not wait for ever.
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _order(url: str, item: str) -> int:
    """How many were told."""
    body = json.dumps({"item": item, "cents": 150}).encode()
    request = urllib.request.Request(f"{url}/orders", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["listeners"]


def test_the_example_goes_on_when_its_server_is_killed_and_comes_back() -> None:
    shop, counter = str(EXAMPLE / "shop.py"), str(EXAMPLE / "counter.py")
    with _process(shop) as first:
        url = _line(first)
        with _process(counter, url, "counter-7") as client:
            assert _line(client) == "open"
            assert _order(url, "tea") == 1
            assert _line(client) == "order.placed: tea at 1.50"
            first.kill()
            first.wait()
            with _process(shop, url.rpartition(":")[2]) as second:
                assert _line(second) == url
                _order(url, "perhaps")
                assert _line(client).startswith(
                    "gap: events of 'orders' may be missing, because there was no connection"
                )
                _order(url, "milk")
                lines = [_line(client)]
                if "perhaps" in lines[0]:  # the shop tells its last orders to whoever comes
                    lines.append(_line(client))
                assert lines[-1] == "order.placed: milk at 1.50"


def test_the_example_says_who_was_refused() -> None:
    with (
        _process(str(EXAMPLE / "shop.py")) as shop,
        _process(str(EXAMPLE / "counter.py"), _line(shop), "nobody") as client,
    ):
        _, errors = client.communicate(timeout=60)
        assert errors.splitlines()[-1].startswith(
            "playcall.errors.RealtimeAuthError: the backend refused the credentials"
        )


def test_the_program_that_the_documentation_shows_is_the_one_that_is_tested() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "your-own-backend.md").read_text()
    [shown] = re.findall(r"```python\n# counter\.py\n(.*?)```", page, re.DOTALL)
    _, _, code = (EXAMPLE / "counter.py").read_text().partition('"""\n\n')
    assert ast.dump(ast.parse(shown)) == ast.dump(ast.parse(code))


def test_the_shop_shares_nothing_with_playcall_and_the_counter_is_short() -> None:
    nodes = list(ast.walk(ast.parse((EXAMPLE / "shop.py").read_text())))
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name for name in imported if name.startswith("playcall")}
    module = ast.parse((EXAMPLE / "counter.py").read_text())
    module.body = module.body[1:]  # its docstring
    assert len([line for line in ast.unparse(module).splitlines() if line.strip()]) <= 36
