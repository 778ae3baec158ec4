"""A conversation that uses every frame of the contract, cut after each of its bytes, both ways: nothing is lost silently.

Between the session and the model of the server lies a wire that carries RFC 6455 frames as bytes, so that a cut falls
between two frames, into a header or into a payload. What had arrived whole by then was received; all else is lost, and
whatever was under way the other way with it. The wire is cut once; then the client connects again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

import pytest

from playcall.errors import PlaycallError, TopicForbiddenError
from playcall.models.cursor import Cursor
from playcall.models.frames import ClientFrame, Events, RareServerFrame
from playcall.realtime.codec import decode, encode
from playcall.realtime.effects import Answered, Connect, DeclareGap, Deliver, Disconnect, End, RefreshToken, Send
from playcall.realtime.items import Gap, Want
from playcall.realtime.session import Session
from playcall.realtime.states import ConnectionState

from .model_server import Frame, ModelConnection, ModelLog

Way: TypeAlias = Literal["up", "down"]

HEARTBEAT_SECONDS = 15.0
TOKEN_SECONDS = 20.0
EVENTS_A_FRAME = 2


# --- the wire ---------------------------------------------------------------------------------------------------------


def framed(payload: bytes, *, masked: bool) -> bytes:
    """A text frame (RFC 6455 section 5.2)."""
    size = len(payload)
    length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2)
    if not masked:
        return b"\x81" + length + payload
    return b"\x81" + bytes([length[0] | 0x80]) + length[1:] + MASK + _masked(payload)


MASK = b"\x01\x02\x03\x04"


def _masked(payload: bytes) -> bytes:
    key = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(len(payload))


def whole_frames(received: bytearray) -> Iterator[bytes]:
    """Takes the payloads of the frames that have arrived whole out of `received`."""
    while len(received) >= 2:
        at, size, masked = 2, received[1] & 0x7F, received[1] & 0x80
        if size == 126:
            if len(received) < 4:
                return
            at, size = 4, int.from_bytes(received[2:4])
        at += 4 if masked else 0
        if len(received) < at + size:
            return
        payload = bytes(received[at : at + size])
        del received[: at + size]
        yield _masked(payload) if masked else payload


# --- what a consumer is told ------------------------------------------------------------------------------------------


@dataclass
class Consumer:
    """Everything that one subscription was told, in order; `begins` is where the server said that it begins."""

    topic: str
    types: tuple[str, ...] | None
    begins: Cursor | None = None
    record: list[str | Gap] = field(default_factory=list)
    waiting: int = 0
    withdrawn: bool = False
    end: list[PlaycallError | None] = field(default_factory=list)

    def wants(self, entry: Frame) -> bool:
        return self.types is None or any(fnmatchcase(entry["type"], each) for each in self.types)


class World:
    """The client's session, the server's model, and the wire between them, which is cut after `cut_at` bytes of one way.

    `stays_down`: after the cut there is no network until `heal()`.
    """

    def __init__(self, way: Way = "up", cut_at: int | None = None, *, stays_down: bool = False) -> None:
        self.now = 0.0
        self.session = Session(random=lambda: 0.5)
        self.logs = {"tasks": ModelLog(), "runs": ModelLog(), "agents": ModelLog(), "run:1": ModelLog()}
        self.history: dict[tuple[str, str], list[Frame]] = {}
        self.consumers: dict[int, Consumer] = {}
        self.server: ModelConnection | None = None
        self.sent: dict[Way, list[tuple[str, int]]] = {"up": [], "down": []}
        """The op and the size of each frame that was put on the wire."""
        self._cut_way, self._cut_at, self._stays_down = way, cut_at, stays_down
        self._is_down = False
        self._arrived = 0
        self._dialling = False
        self._tokens = 0
        self._drop_wire()

    # --- the wire and both its ends -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everything that is said and answered now, until there is nothing more to say."""
        moves = True
        while moves:
            self._act()
            self._dial()
            moves = self._arrive("up", self._at_server)
            if self.server is not None:
                for frame in self.server.pump(EVENTS_A_FRAME):
                    self.say(frame)
            moves = self._arrive("down", self._at_client) or moves

    def say(self, frame: Frame) -> None:
        """The server's."""
        self._put("down", frame["op"], json.dumps(frame, separators=(",", ":")))

    def _put(self, way: Way, op: str, text: str) -> None:
        data = framed(text.encode(), masked=way == "up")
        self.sent[way].append((op, len(data)))
        self._under_way[way] += data

    def heal(self) -> None:
        self._is_down = False

    def _arrive(self, way: Way, take: Callable[[bytes], None]) -> bool:
        data, self._under_way[way] = self._under_way[way], bytearray()
        is_cut = way == self._cut_way and self._cut_at is not None and self._arrived + len(data) > self._cut_at
        if is_cut and self._cut_at is not None:
            data = data[: self._cut_at - self._arrived]
        if way == self._cut_way:
            self._arrived += len(data)
        received = self._received[way]
        received += data
        for payload in whole_frames(received):
            take(payload)
        if is_cut:
            self._cut_at = None
            self._is_down = self._stays_down
            self._drop_wire()
            self.session.lost(self.now, "cut")
        return bool(data) or is_cut

    def _at_server(self, payload: bytes) -> None:
        if self.server is not None:
            for answer in self.server.receive(json.loads(payload)):
                self.say(answer)

    def _at_client(self, payload: bytes) -> None:
        self.session.received(self.now, decode(payload))
        self._act()

    def _drop_wire(self) -> None:
        self.server = None
        self._under_way: dict[Way, bytearray] = {"up": bytearray(), "down": bytearray()}
        self._received: dict[Way, bytearray] = {"up": bytearray(), "down": bytearray()}

    def _dial(self) -> None:
        if self._is_down:
            return
        if self.session.state is ConnectionState.BACKOFF:
            self.now = max(self.now, self.session.next_timer)
            self.session.tick(self.now)
            self._act()
        if self._dialling:
            self._dialling = False
            self.server = ModelConnection(self.logs, heartbeat_seconds=HEARTBEAT_SECONDS, token_seconds=TOKEN_SECONDS)
            self.session.opened(self.now)
            self._act()

    def _act(self) -> None:
        """Does what the session asks for, as its driver would."""
        while effects := self.session.take_effects():
            for effect in effects:
                match effect:
                    case Connect():
                        self._dialling = True
                    case Disconnect():
                        self._drop_wire()
                    case Send(frame):
                        self._put("up", frame.op, encode(frame))
                    case RefreshToken():
                        self._tokens += 1
                        self.session.token(self.now, f"token {self._tokens}")
                    case Answered(key, cursor):
                        consumer = self.consumers[key]
                        consumer.begins = consumer.begins or cursor
                    case Deliver(key, events, _):
                        self.consumers[key].record += [each.id for each in events]
                        self.consumers[key].waiting += len(events)
                    case DeclareGap(key, gap):
                        self.consumers[key].record.append(gap)
                    case End(key, error):
                        self.consumers[key].end.append(error)
                    case _:
                        pass

    # --- what happens -------------------------------------------------------------------------------------------------

    def subscribe(self, topic: str, **want: Any) -> int:
        wanted = Want(topic, on_gap="yield", **want)
        key = self.session.subscribe(self.now, wanted)
        self.consumers[key] = Consumer(topic, wanted.types)
        if isinstance(wanted.start, Cursor):
            self.consumers[key].begins = wanted.start
        return key

    def append(self, topic: str, *types: str, terminal: bool = False) -> None:
        log = self.logs[topic]
        for each in types:
            entry = log.append(each, terminal=terminal)
            self.history.setdefault((topic, log.epoch), []).append(entry)

    def take(self, key: int, count: int = 1_000) -> None:
        consumer = self.consumers[key]
        count = min(count, consumer.waiting)
        consumer.waiting -= count
        self.session.taken(key, count)

    def withdraw(self, key: int) -> None:
        self.consumers[key].withdrawn = True
        self.session.unsubscribe(key)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.session.next_timer <= end:
            self.now = max(self.now, self.session.next_timer)
            self.session.tick(self.now)
            self.settle()
        self.now = end

    # --- the oracle ---------------------------------------------------------------------------------------------------

    def judge(self, consumer: Consumer) -> None:
        """What came, and the gaps that were told of, are the log: each entry once, in order; a gap hides none that is kept."""
        log = self.logs[consumer.topic]
        place = consumer.begins
        assert place is not None, "it was never answered"
        came: list[str] = []
        for item in consumer.record:
            if not isinstance(item, Gap):
                came.append(item)
                continue
            assert item.lost_after.epoch == place.epoch, "a gap begins in another epoch than the events before it"
            assert came == self._matching(consumer, place, item.lost_after.seq), "what came before the gap"
            assert item.resume.epoch != place.epoch or item.resume.seq < log.floor, "a gap tells of what is still kept"
            place, came = item.resume, []
        if consumer.withdrawn:
            assert came == self._matching(consumer, place, None)[: len(came)], "until it was withdrawn"
        else:
            assert place.epoch == log.epoch, "a new epoch, and no gap told of it"
            assert came == self._matching(consumer, place, None), "what came last"

    def _matching(self, consumer: Consumer, after: Cursor, to: int | None) -> list[str]:
        entries = self.history.get((consumer.topic, after.epoch), [])
        return [each["id"] for each in entries[after.seq : to] if consumer.wants(each)]


# --- the conversation -------------------------------------------------------------------------------------------------


def converse(world: World) -> None:
    """Every frame of the contract, in an order in which it makes sense; the same whenever the wire is cut."""
    world.append("tasks", "task.new")
    world.append("runs", "run.new", "run.new", "run.new")
    everything = world.subscribe("tasks", start="start", window=4)
    failures = world.subscribe("tasks", start="head", types=("*.failed",))
    later = world.subscribe("runs", start=Cursor("e1", 2), window=2)
    gone = world.subscribe("agents", start="head")
    to_its_end = world.subscribe("run:1", start="start")
    past_its_end = world.subscribe("run:1", start="start", types=("nothing",))
    forbidden = world.subscribe("run:nobody")
    world.settle()  # hello, welcome, subscribe, subscribed, error; the client's first ping

    world.append("tasks", "task.new", "task.failed", "task.done", "task.new", "task.failed")
    world.append("agents", "agent.new")
    world.append("run:1", "run.log")
    world.settle()  # events in several frames, until the credit is used up
    world.take(everything, 3)
    world.settle()  # credit

    world.withdraw(gone)
    world.append("agents", "agent.done")
    world.settle()  # unsubscribe, unsubscribed

    if world.server is not None:
        world.say(world.server.ping(1))
    world.settle()  # the server's ping, and the pong
    world.pass_time(HEARTBEAT_SECONDS)  # the client's ping; auth, authenticated

    world.append("runs", *["run.new"] * 4)
    world.settle()
    world.logs["runs"].expire(7)
    world.take(later)
    world.settle()  # a gap: expired before there was credit

    world.append("run:1", "run.log")
    world.append("run:1", "run.finished", terminal=True)
    world.settle()  # the terminal event; and ended, for the one that filters it out

    world.take(everything)
    world.take(failures)
    world.settle()
    world.logs["tasks"].begin_epoch("e2")
    world.append("tasks", "task.failed", "task.new")
    world.settle()  # a gap: another epoch

    if world.server is not None:
        world.say({"op": "goodbye", "reason": "draining", "reconnect_after_ms": 0, "spread_ms": 2_000})
    world.settle()
    world.pass_time(2.0)  # moves to another connection
    world.append("tasks", "task.failed")
    world.append("runs", "run.new")

    for _ in range(4):
        world.heal()
        for key in world.consumers:
            world.take(key)
        world.settle()

    told = world.consumers
    for key in (everything, failures, later, gone, to_its_end, past_its_end):
        if key != gone or told[gone].begins is not None:
            world.judge(told[key])
    assert [*map(type, told.pop(forbidden).end)] == [TopicForbiddenError]
    assert (told[to_its_end].end, told[past_its_end].end) == ([None], [None])
    assert not any(told[key].end for key in (everything, failures, later, gone))


@cache
def uncut() -> World:
    world = World()
    converse(world)
    return world


def cut_everywhere(way: Way, offsets: list[int], *, stays_down: bool = False) -> None:
    for offset in offsets:
        try:
            world = World(way, offset, stays_down=stays_down)
            converse(world)
            assert world._cut_at is None, "the wire was not cut"
        except Exception as error:
            raise AssertionError(f"cut after {offset} bytes {way}: {error}") from error


def ops(union: Any) -> set[str]:
    return {get_args(get_type_hints(model)["op"])[0] for model in union}


def test_the_conversation_uses_every_frame_of_the_contract() -> None:
    spoken = {way: {op for op, _ in frames} for way, frames in uncut().sent.items()}
    # `get_args`: an annotated union, so its members are one step further in.
    assert spoken["up"] == ops(get_args(get_args(ClientFrame)[0]))
    assert spoken["down"] == ops([Events, *get_args(get_args(RareServerFrame)[0])])


@pytest.mark.parametrize("way", ["up", "down"])
def test_cut_after_any_byte_it_goes_on_and_loses_and_repeats_nothing(way: Way) -> None:
    cut_everywhere(way, [*range(sum(size for _, size in uncut().sent[way]))])


@pytest.mark.parametrize("way", ["up", "down"])
def test_cut_in_any_frame_and_gone_for_long_it_is_told_of_all_that_it_missed(way: Way) -> None:
    """Before a frame, within its header, and one byte before its end; then no network until everything has happened."""
    offsets, begins = list[int](), 0
    for _, size in uncut().sent[way]:
        offsets += [begins, begins + 1, begins + size - 1]
        begins += size
    cut_everywhere(way, offsets, stays_down=True)
