"""The driver, over a transport that is made of queues: what real sockets seldom do."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from playcall.deadline import _ends_at as deadline_variable
from playcall.deadline import deadline, nearest
from playcall.errors import (
    ClientClosedError,
    InvalidArgumentError,
    PlaycallError,
    RealtimeAuthError,
    RealtimeError,
    RealtimeProtocolError,
    RealtimeTimeoutError,
)
from playcall.http.auth import BearerToken, Credentials, TokenEndpoint
from playcall.http.authenticator import Authenticator
from playcall.models.cursor import Cursor
from playcall.models.event import AnyEvent
from playcall.models.frames import Events
from playcall.realtime.buffer import Batch, Buffer, Ended
from playcall.realtime.codec import decode
from playcall.realtime.connection import CLOSE_SECONDS, FRAMES_A_TURN, Connection
from playcall.realtime.errands import ReadState
from playcall.realtime.feed import Feed, Opening
from playcall.realtime.items import Gap, Snapshot, TopicState, Want
from playcall.realtime.session import Session
from playcall.realtime.states import ConnectionState, Identity
from playcall.realtime.transports.base import Closed, HeaderSource, LinkLostError, UpgradeRefusedError

from .model_server import ModelConnection, ModelLog
from .talk import event


class PipeLink:
    """A connection whose far end is a `ModelConnection`, asked whenever the client has sent something."""

    def __init__(self, transport: PipeTransport) -> None:
        self.model = ModelConnection(transport.logs, token_seconds=transport.token_seconds)
        self.inbox: asyncio.Queue[str | Closed | Exception] = asyncio.Queue()
        self.fail_sending = False
        self.topics: dict[str, str] = {}
        self.closed_with: tuple[int, str] | None = None

    async def receive(self) -> str | Closed:
        got = self.inbox.get_nowait() if not self.inbox.empty() else await self.inbox.get()
        if isinstance(got, Exception):
            raise got
        return got

    async def send(self, text: str) -> None:
        if self.fail_sending:
            raise LinkLostError("a frame could not be sent (scripted)")
        sent = json.loads(text)
        if sent["op"] == "subscribe":
            self.topics[sent["sid"]] = sent["topic"]
        for frame in [*self.model.receive(sent), *self.model.pump()]:
            self.inbox.put_nowait(json.dumps(frame))

    async def close(self, code: int, reason: str) -> None:
        self.closed_with = (code, reason)


class PipeTransport:
    name = "pipe"

    def __init__(self) -> None:
        self.logs = {"tasks": ModelLog()}
        self.token_seconds: float | None = None
        self.links: list[PipeLink] = []
        self.headers: list[Mapping[str, str]] = []
        self.errors: list[Exception] = []
        self.hang = False

    async def dial(self, headers: HeaderSource, *, max_frame_bytes: int) -> PipeLink:
        self.headers.append(await headers())
        if self.hang:
            await asyncio.Event().wait()
        if self.errors:
            raise self.errors.pop(0)
        self.links.append(PipeLink(self))
        return self.links[-1]

    async def identity(self, headers: Mapping[str, str]) -> Identity | None:
        return None


async def _no_endpoint(path: str, form: Mapping[str, str]) -> Any:
    raise AssertionError("no token endpoint is asked here")


class Tokens:
    """Gives what it is told to, one after another; an exception is raised."""

    def __init__(self, *given: str | Exception) -> None:
        self.given = list(given)

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
        token = self.given.pop(0) if len(self.given) > 1 else self.given[0]
        if isinstance(token, Exception):
            raise token
        return Credentials({"Authorization": f"Bearer {token}"}, token)


def connect(transport: PipeTransport, auth: Any = None) -> Connection:
    authenticator = None if auth is None else Authenticator(auth, _no_endpoint)
    session = Session(random=random.random, client="test")
    return Connection(session, transport, authenticator, on_change=lambda change: None)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_frame_that_cannot_be_sent_means_a_lost_connection() -> None:
    transport = PipeTransport()
    connection = connect(transport)
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    transport.links[0].fail_sending = True
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    assert len(transport.links) == 2
    assert transport.links[0].closed_with is not None
    assert "could not be sent" in (connection.picture().problem or "")
    await connection.close()


async def test_a_defect_inside_the_client_is_loud_and_the_connection_is_made_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = PipeTransport()
    transport.errors = [ZeroDivisionError("ours")]
    connection = connect(transport)
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    assert "failed inside the client" in caplog.text
    assert connection.picture().problem == "inside the client (ZeroDivisionError)"
    await connection.close()


async def test_a_defect_in_taking_frames_in_is_loud_and_the_connection_is_made_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = PipeTransport()
    connection = connect(transport)
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)

    def failing(self: Session, now: float, texts: Sequence[str]) -> Sequence[str]:
        monkeypatch.undo()
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(Session, "receive_all", failing)
    transport.links[0].inbox.put_nowait('{"op":"ping","n":1}')
    await settle()
    assert "failed inside the client" in caplog.text
    assert connection.picture().problem == "inside the client (ZeroDivisionError)"
    assert transport.links[0].closed_with is not None
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    assert len(transport.links) == 2
    await connection.close()


@pytest.mark.parametrize("end", ["closed", "lost"])
async def test_frames_that_came_with_the_end_of_the_connection_count(end: str) -> None:
    transport = PipeTransport()
    connection = connect(transport)
    buffer = Buffer(256)
    await connection.open(Want("tasks"), buffer, wait=True, ends_at=None)
    link = transport.links[0]
    for seq in (1, 2):
        frame = {"op": "events", "sid": "s1", "prev": seq - 1, "to": seq, "events": [event(seq)]}
        link.inbox.put_nowait(json.dumps(frame))
    link.inbox.put_nowait(Closed(1012) if end == "closed" else LinkLostError("gone (scripted)"))
    while len(transport.links) < 2:
        await asyncio.sleep(0)
    taken = buffer.take(lambda: None)
    assert isinstance(taken, Batch)
    assert [each.seq for each in taken.items] == [1, 2]  # in one hand-over
    await connection.close()


async def test_what_has_been_read_is_no_silence() -> None:
    transport = PipeTransport()
    connection = connect(transport)
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    session = connection._session
    session._heard_at -= 1_000  # the loop was held up
    assert connection._attempt is not None
    connection._attempt.inbox.append('{"op":"ping","n":1}')
    connection._tick()
    assert connection.state is ConnectionState.READY
    await connection.close()


async def test_a_connection_keeps_nothing_of_the_context_in_which_it_was_first_wanted() -> None:
    class Noting(PipeTransport):
        bounds: list[float | None] = []

        async def dial(self, headers: HeaderSource, *, max_frame_bytes: int) -> PipeLink:
            self.bounds.append(nearest(None))
            return await super().dial(headers, max_frame_bytes=max_frame_bytes)

    transport = Noting()
    transport.errors = [LinkLostError("gone (scripted)")]  # so the second attempt begins with a timer
    connection = connect(transport)
    with deadline(60):
        await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
        assert connection._timer is not None
        assert connection._timer._context.get(deadline_variable) is None  # type: ignore[attr-defined]
    assert transport.bounds == [None, None]
    await connection.close()


async def test_a_loop_that_ends_under_the_connection_tells_its_consumers() -> None:
    transport = PipeTransport()
    connection = connect(transport)
    buffer = Buffer(256)
    await connection.open(Want("tasks"), buffer, wait=True, ends_at=None)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # type: ignore[operator]
        task.cancel()
    await settle()
    ended = buffer.take(lambda: None)
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, ClientClosedError)
    assert connection.state is ConnectionState.CLOSED
    with pytest.raises(ClientClosedError):
        await connection.open(Want("tasks"), Buffer(1), wait=True, ends_at=None)


async def test_a_flood_of_frames_leaves_turns_for_others() -> None:
    transport = PipeTransport()
    connection = connect(transport)
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    link = transport.links[0]
    for _ in range(FRAMES_A_TURN * 10):
        link.inbox.put_nowait('{"op":"aurora"}')
    turns = 0
    while not link.inbox.empty():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 5
    await connection.close()


async def test_waiting_for_an_answer_ends_at_its_moment_and_names_no_problem_that_was_not() -> None:
    transport = PipeTransport()
    transport.hang = True
    connection = connect(transport)
    with pytest.raises(RealtimeTimeoutError) as raised:
        await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=time.monotonic() + 0.02)
    assert "problem" not in str(raised.value)
    await connection.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_refused_token_is_replaced_and_a_provider_that_fails_is_asked_again() -> None:
    transport = PipeTransport()
    transport.errors = [UpgradeRefusedError(401), UpgradeRefusedError(401)]
    connection = connect(transport, Tokens("old", OSError("secret text"), "new"))
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    assert [each["Authorization"] for each in transport.headers] == ["Bearer old", "Bearer old", "Bearer new"]
    assert "secret text" not in repr(connection.picture())
    await connection.close()


async def test_a_token_that_stays_the_same_is_fatal_when_it_is_refused() -> None:
    transport = PipeTransport()
    transport.errors = [UpgradeRefusedError(401)]
    connection = connect(transport, BearerToken("same"))
    with pytest.raises(RealtimeAuthError):
        await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    assert connection.auth_failed
    await connection.close()


async def test_a_token_that_cannot_be_renewed_in_band_leaves_the_connection_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = PipeTransport()
    transport.token_seconds = 0.2
    connection = connect(transport, Tokens("first", OSError("secret text")))
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    await asyncio.sleep(0.3)
    assert "the token was not renewed: OSError" in caplog.text
    assert "secret text" not in caplog.text
    assert connection.state is ConnectionState.READY
    await connection.close()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_shared_client_that_was_closed_meanwhile_means_closed_and_not_refused(status: int) -> None:
    class Closing(PipeTransport):
        async def identity(self, headers: Mapping[str, str]) -> Identity | None:
            raise ClientClosedError("the pool is closed")

    transport = Closing()
    transport.errors = [UpgradeRefusedError(status)]
    connection = connect(transport, Tokens("old", ClientClosedError("the pool is closed")))
    with pytest.raises(ClientClosedError):
        await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=time.monotonic() + 2)
    assert connection.state is ConnectionState.CLOSED
    await connection.close()


async def test_a_403_that_http_cannot_explain_is_tried_again() -> None:
    transport = PipeTransport()
    transport.errors = [UpgradeRefusedError(403)]
    connection = connect(transport)
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)
    assert len(transport.headers) == 2
    await connection.close()


async def test_large_frames_are_cut_into_batches_whose_last_has_the_frames_end() -> None:
    transport = PipeTransport()
    for _ in range(10):
        transport.logs["tasks"].append("wanted")
    transport.logs["tasks"].append("unwanted")
    connection = connect(transport)
    buffer = Buffer(12)
    key = await connection.open(Want("tasks", ("wanted",), "start", window=12), buffer, wait=True, ends_at=None)
    await settle()
    batches = []
    while isinstance(batch := buffer.take(lambda: None), Batch):
        batches.append((len(batch.items), batch.to.seq, batch.credit))
    assert batches == [(3, 3, 3), (3, 6, 3), (3, 9, 3), (1, 11, 1)]
    connection.taken(key, 10)
    connection.withdraw(key)
    connection.withdraw(key)
    assert connection.picture().subscriptions == ()
    await connection.close()
    await connection.close()


def test_a_run_of_empty_frames_is_one_move_of_the_cursor() -> None:
    buffer = Buffer(8)
    woken: list[int] = []
    assert buffer.take(lambda: woken.append(1)) is None
    for seq in range(1, 100):
        buffer.put_events([], Cursor("e", seq))
    assert woken == []
    buffer.end(None)
    assert woken == [1]
    buffer.end(ClientClosedError("too late"))
    batch = buffer.take(lambda: None)
    assert isinstance(batch, Batch)
    assert batch.to == Cursor("e", 99)
    assert buffer.take(lambda: None) == Ended(None)


async def test_a_frame_that_can_never_be_read_ends_its_subscription_and_spares_the_others() -> None:
    transport = PipeTransport()
    transport.logs["runs"] = ModelLog()
    connection = connect(transport)
    spared, ended = Buffer(256), Buffer(256)
    await connection.open(Want("tasks"), spared, wait=True, ends_at=None)
    await connection.open(Want("runs"), ended, wait=True, ends_at=None)
    for n in range(3):
        async with asyncio.timeout(5):
            while len(transport.links) <= n or connection.state is not ConnectionState.READY:
                await asyncio.sleep(0.01)
            await settle()
        link = transport.links[n]
        sid = next(sid for sid, topic in link.topics.items() if topic == "runs")
        link.inbox.put_nowait(f'{{"op":"events","sid":"{sid}","prev":0,"to":1,"events":' + "[" * 1000)
        await settle()
    gone = ended.take(lambda: None)
    assert isinstance(gone, Ended)
    assert isinstance(gone.error, RealtimeProtocolError)
    assert spared.take(lambda: None) is None
    await connection.close()


async def test_what_cannot_be_encoded_is_refused_and_never_registered() -> None:
    transport = PipeTransport()
    connection = connect(transport)
    for want in (Want("run:\udcff"), Want("tasks", ("task.\udcff",))):
        with pytest.raises(InvalidArgumentError):
            await connection.open(want, Buffer(1), wait=True, ends_at=None)
    assert connection.picture().subscriptions == ()
    assert connection.state is ConnectionState.IDLE
    await connection.close()


async def test_an_effect_that_raises_ends_its_own_subscription_and_skips_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Buffer):
        def put_events(self, events: Any, to: Cursor) -> None:
            raise ZeroDivisionError

    transport = PipeTransport()
    connection = connect(transport)
    broken, healthy = Broken(256), Buffer(256)
    await connection.open(Want("tasks"), broken, wait=True, ends_at=None)
    await connection.open(Want("tasks"), healthy, wait=True, ends_at=None)
    transport.logs["tasks"].append("task.created")
    link = transport.links[0]
    # Both in one turn: as effects of one flush they share their fate, were it not for each being done on its own.
    session = connection._session
    for frame in link.model.pump():
        session.received(connection.loop.time(), decode(json.dumps(frame)))
    connection.wake()
    ended = broken.take(lambda: None)
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, RealtimeError)
    assert isinstance(healthy.take(lambda: None), Batch)
    assert "an effect failed inside the client" in caplog.text
    assert (connection.state, connection.picture().attempts) == (ConnectionState.READY, 1)
    await connection.close()


async def test_a_timer_that_fails_is_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(PipeTransport())
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=None)

    def fail(now: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(connection._session, "tick", fail)
    assert connection._timer is not None
    connection._timer.cancel()
    with pytest.raises(ZeroDivisionError):
        connection._tick()
    assert connection._timer is not None
    assert not connection._timer.cancelled()
    await connection.close()


def test_what_comes_after_the_consumer_has_left_is_thrown_away() -> None:
    buffer = Buffer(8)
    buffer.drop()
    buffer.put_events([_event(1)], Cursor("e", 1))
    buffer.put_gap(Gap("tasks", "expired", Cursor("e", 1), Cursor("e", 5)))
    assert buffer.size == 0
    assert buffer.take(lambda: None) == Ended(None)


async def test_no_item_comes_after_a_close_that_falls_between_taking_a_batch_and_beginning_it() -> None:
    connection = connect(PipeTransport())

    class Opener:
        async def connection(self) -> Connection:
            return connection

    class ClosedMeanwhile(Feed[Any]):
        async def _take(self) -> Batch:
            batch = Batch([_event(1), _event(2)], Cursor("e", 2), 2)
            self._shut()  # as another thread does
            return batch

    feed = ClosedMeanwhile(Opener(), Opening(Want("tasks")))
    await feed.open()
    assert [item async for item in feed] == []
    await connection.close()


def _event(seq: int) -> AnyEvent:
    frame = decode(json.dumps({"op": "events", "sid": "s", "prev": seq - 1, "to": seq, "events": [event(seq)]}))
    assert isinstance(frame, Events)
    return frame.events[0]


async def test_a_token_that_was_offered_in_band_is_not_the_one_that_was_refused_meanwhile() -> None:
    """The old one expires while the newer one is on its way: that one is still good."""

    class Late(PipeLink):
        async def send(self, text: str) -> None:
            if json.loads(text)["op"] == "auth":
                self.inbox.put_nowait(Closed(4401, "the token has expired"))
            else:
                await super().send(text)

    class LateTransport(PipeTransport):
        async def dial(self, headers: HeaderSource, *, max_frame_bytes: int) -> PipeLink:
            await super().dial(headers, max_frame_bytes=max_frame_bytes)
            self.links[-1] = Late(self) if len(self.links) == 1 else self.links[-1]
            self.token_seconds = None
            return self.links[-1]

    transport = LateTransport()
    transport.token_seconds = 0.2
    connection = connect(transport, Tokens("T1", "T2"))
    await connection.open(Want("tasks"), Buffer(256), wait=True, ends_at=time.monotonic() + 5)
    async with asyncio.timeout(5):
        while len(transport.links) < 2 or connection.state is not ConnectionState.READY:
            assert connection.state is not ConnectionState.FAILED, connection.picture().problem
            await asyncio.sleep(0.005)
    assert [headers["Authorization"] for headers in transport.headers] == ["Bearer T1", "Bearer T2"]
    await connection.close()


async def test_what_an_earlier_connection_still_has_to_say_is_not_heard() -> None:
    """Frames of two connections never mix, whatever arrives late."""
    transport = PipeTransport()
    connection = connect(transport)
    buffer = Buffer(256)
    await connection.open(Want("tasks", start="start"), buffer, wait=True, ends_at=None)
    old = transport.links[0]
    old.inbox.put_nowait(Closed(1006))
    await settle()
    assert len(transport.links) == 2
    (sid,) = transport.links[1].topics
    late = {"op": "events", "sid": sid, "prev": 0, "to": 1, "events": [event(1)]}
    old.inbox.put_nowait(json.dumps(late))
    await settle()
    assert buffer.size == 0
    assert connection.picture().received == 0
    await connection.close()


# --- the state after a gap --------------------------------------------------------------------------------------------


async def after_a_gap(read_state: ReadState) -> tuple[Connection, Buffer]:
    """A subscription whose cursor is of another database, and what reads the state for it."""
    session = Session(random=random.random, client="test")
    connection = Connection(session, PipeTransport(), None, read_state=read_state, on_change=lambda change: None)
    buffer = Buffer(256)
    want = Want("tasks", start=Cursor("another", 3), on_gap="snapshot")
    await connection.open(want, buffer, wait=False, ends_at=None)
    return connection, buffer


async def taken(buffer: Buffer) -> Batch | Ended:
    while (got := buffer.take(lambda: None)) is None:
        await asyncio.sleep(0.001)
    return got


async def test_after_a_gap_the_state_is_read_until_it_can_be() -> None:
    asked: list[str] = []

    async def read_state(topic: str) -> tuple[TopicState, Cursor]:
        asked.append(topic)
        if len(asked) == 1:
            raise PlaycallError("not now")
        return (), Cursor("e1", 0)

    connection, buffer = await after_a_gap(read_state)
    got = await taken(buffer)
    assert isinstance(got, Batch)
    assert isinstance(got.items[0], Snapshot)
    assert (got.to, asked) == (Cursor("e1", 0), ["tasks", "tasks"])
    await connection.close()


async def test_a_defect_while_the_state_is_read_ends_the_subscription_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def read_state(topic: str) -> tuple[TopicState, Cursor]:
        raise ZeroDivisionError

    connection, buffer = await after_a_gap(read_state)
    got = await taken(buffer)
    assert isinstance(got, Ended)
    assert "ZeroDivisionError" in str(got.error)
    assert "a state could not be read" in caplog.text
    await connection.close()


async def test_closing_does_not_wait_for_a_state_that_is_being_read() -> None:
    begun = asyncio.Event()

    async def read_state(topic: str) -> tuple[TopicState, Cursor]:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    connection, buffer = await after_a_gap(read_state)
    await begun.wait()
    began_at = asyncio.get_running_loop().time()
    await connection.close()
    assert asyncio.get_running_loop().time() - began_at < CLOSE_SECONDS / 2
    assert isinstance(await taken(buffer), Ended)
