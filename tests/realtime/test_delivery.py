"""Received plus declared gaps equals the log: a state machine over the session and a model of log and server.

The wire between them delivers in order, late, or not at all (a cut loses what is under way); frames are repeated and
broken; the server restarts; retention, new epochs and backups that nobody noticed take events away; consumers are slow.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from playcall.errors import RealtimeProtocolError
from playcall.models.cursor import Cursor
from playcall.realtime.codec import decode, encode
from playcall.realtime.effects import (
    Answered,
    Connect,
    DeclareGap,
    Deliver,
    DeliverSnapshot,
    Disconnect,
    End,
    Send,
    TakeSnapshot,
)
from playcall.realtime.items import Gap, OnGap, Snapshot, Want
from playcall.realtime.session import Session
from playcall.realtime.states import ConnectionState

from .model_server import Frame, ModelConnection, ModelLog

TOPICS = ("tasks", "runs")
TYPES = ("task.failed", "task.done", "run.log")
WAYS_TO_BREAK = ("lose", "repeat", "late repeat", "backwards", "without one", "twice")
PATTERNS = (None, ("task.*",), ("run.log", "*.done"), ("nothing",))


@dataclass
class Consumer:
    """What one subscription was told, and what it must have been told."""

    topic: str
    types: tuple[str, ...] | None
    window: int
    cursor: Cursor | None = None
    id: str | None = None
    """Of the entry at the cursor, when it was reached."""
    waiting: int = 0
    given_up: bool = False
    snapshot_of: Gap | None = None
    """The gap that a state is being read for."""

    def wants(self, type: str) -> bool:
        return self.types is None or any(fnmatchcase(type, each) for each in self.types)


@dataclass
class History:
    """Every entry that a topic ever had, by place; what the oracle compares with."""

    entries: dict[tuple[str, int], Frame] = field(default_factory=dict)

    def id_at(self, cursor: Cursor) -> str | None:
        entry = self.entries.get((cursor.epoch, cursor.seq))
        return None if entry is None else entry["id"]

    def between(self, epoch: str, after: int, to: int) -> list[Frame]:
        return [self.entries[epoch, seq] for seq in range(after + 1, to + 1)]


class Delivery(RuleBasedStateMachine):
    consumers = Bundle("consumers")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = Session(random=lambda: 0.5)
        self.logs = {topic: ModelLog() for topic in TOPICS}
        self.history = {topic: History() for topic in TOPICS}
        self.epochs = 1
        self.server: ModelConnection | None = None
        self.to_client: deque[Frame] = deque()
        self.to_server: deque[Frame] = deque()
        self.dialling = False
        self.told: dict[int, Consumer] = {}

    # --- the wire -----------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Does what the session asks for, as its driver would."""
        while effects := self.session.take_effects():
            for effect in effects:
                match effect:
                    case Connect():
                        self.dialling = True
                    case Disconnect():
                        self.drop_wire()
                    case Send(frame):
                        self.to_server.append(json.loads(encode(frame)))
                    case Answered(key, cursor):
                        consumer = self.told[key]
                        assert consumer.cursor in (None, cursor), "an answer moved the cursor"
                        if consumer.cursor is None:
                            self.moved(consumer, cursor)
                        self.check_place(consumer)
                        if consumer.id is None:
                            self.moved(consumer, cursor)  # the answer says what is there
                    case Deliver(key, events, to):
                        self.delivered(self.told[key], [(each.seq, each.id) for each in events], to)
                    case DeclareGap(key, gap):
                        consumer = self.told[key]
                        assert consumer.cursor in (None, gap.lost_after), "the gap begins elsewhere"
                        self.moved(consumer, gap.resume)
                    case TakeSnapshot(key, gap):
                        consumer = self.told[key]
                        assert consumer.cursor in (None, gap.lost_after), "the gap begins elsewhere"
                        consumer.snapshot_of = gap
                    case DeliverSnapshot(key, snapshot):
                        self.moved(self.told[key], snapshot.cursor)
                        # The cursor of a state is its place and no more (`X-Event-Cursor`): a log that was put back since
                        # is told by its epoch alone.
                        self.told[key].id = None
                    case End(key, error):
                        # Allowed only after the wire broke its chain on three connections: that is told, not silent.
                        assert isinstance(error, RealtimeProtocolError), error
                        self.told[key].given_up = True
                    case _:
                        pass

    def delivered(self, consumer: Consumer, got: list[tuple[int, str]], to: Cursor) -> None:
        """The oracle: from the cursor to `to`, exactly the entries that match, each once and in order."""
        assert consumer.cursor is not None
        assert consumer.cursor.epoch == to.epoch
        self.check_place(consumer)
        rows = self.history[consumer.topic].between(to.epoch, consumer.cursor.seq, to.seq)
        assert got == [(row["seq"], row["id"]) for row in rows if consumer.wants(row["type"])]
        self.moved(consumer, to)
        consumer.waiting += len(got)
        assert consumer.waiting <= consumer.window, "more than the consumer's buffer takes"

    def moved(self, consumer: Consumer, to: Cursor) -> None:
        consumer.cursor, consumer.id = to, self.history[consumer.topic].id_at(to)

    def check_place(self, consumer: Consumer) -> None:
        """What follows a cursor follows the very entry that was there when it was reached; else there was a silent gap.

        Of an entry that is not kept any more nobody can tell.
        """
        assert consumer.cursor is not None
        kept = self.logs[consumer.topic].id_at(consumer.cursor.seq)
        if consumer.cursor.epoch == self.logs[consumer.topic].epoch and None not in (kept, consumer.id):
            assert consumer.id == kept, "the log is another one, and no gap was declared"

    def drop_wire(self) -> None:
        self.server = None
        self.to_client.clear()
        self.to_server.clear()
        self.dialling = False

    def ready_wire(self) -> None:
        """Lets a connection that is being made be made."""
        if self.session.state is ConnectionState.BACKOFF:
            self.now = max(self.now, self.session.next_timer)
            self.session.tick(self.now)
            self.act()
        if self.dialling:
            self.dialling = False
            self.server = ModelConnection(self.logs)
            self.session.opened(self.now)
            self.act()

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(
        target=consumers,
        topic=st.sampled_from(TOPICS),
        types=st.sampled_from(PATTERNS),
        start=st.sampled_from(["start", "head"]),
        on_gap=st.sampled_from(["yield", "yield", "snapshot"]),
        window=st.sampled_from([1, 4, 20, 20]),
    )
    def subscribe(self, topic: str, types: tuple[str, ...] | None, start: str, on_gap: OnGap, window: int) -> int:
        assert start in ("start", "head")
        want = Want(topic, types, "start" if start == "start" else "head", on_gap, window)
        key = self.session.subscribe(self.now, want)
        self.told[key] = Consumer(topic, types, window)
        self.act()
        self.greet()
        return key

    @rule(key=consumes(consumers))
    def unsubscribe(self, key: int) -> None:
        self.session.unsubscribe(key)
        del self.told[key]
        self.act()

    @rule(
        topic=st.sampled_from(TOPICS),
        types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=8),
        most=st.integers(1, 3),
        break_at=st.none() | st.integers(0, 5),
        how=st.sampled_from(WAYS_TO_BREAK),
        arrive=st.integers(0, 20),
    )
    def publish(self, topic: str, types: list[str], most: int, break_at: int | None, how: str, arrive: int) -> None:
        for each in types:
            entry = self.logs[topic].append(each)
            self.history[topic].entries[self.logs[topic].epoch, entry["seq"]] = entry
        self.serve(most)
        if break_at is not None and (under_way := self.events_under_way()):
            self.break_a_frame(under_way[break_at % len(under_way)], how)
        self.arrive(arrive)

    @rule(topic=st.sampled_from(TOPICS), keep=st.sampled_from([0, 3, 10, None]))
    def lose_the_past(self, topic: str, keep: int | None) -> None:
        """Retention; or, seldom, a new database."""
        if keep is not None:
            self.logs[topic].expire(self.logs[topic].head + 1 - keep)
        else:
            self.epochs += 1
            self.logs[topic].begin_epoch(f"e{self.epochs}")

    @rule(topic=st.sampled_from(TOPICS), lost=st.integers(1, 6), since=st.integers(0, 8))
    def restore(self, topic: str, lost: int, since: int) -> None:
        """The server restarts on a backup; it has gone on before anybody is back."""
        log = self.logs[topic]
        self.epochs += 1
        head = max(log.floor - 1, log.head - lost)
        log.restore(head, f"r{self.epochs}")
        entries = self.history[topic].entries
        for seq in [seq for epoch, seq in entries if epoch == log.epoch and seq > head]:
            del entries[log.epoch, seq]
        for _ in range(since):
            entry = log.append("task.done")
            entries[log.epoch, entry["seq"]] = entry
        self.cut(offline=False)

    @rule(key=consumers, later=st.booleans())
    def read_state(self, key: int, later: bool) -> None:
        """The state that a consumer waits for has been read, of the moment that the log has come to; or not yet."""
        consumer = self.told[key]
        gap = consumer.snapshot_of
        if gap is None:
            return
        if later:
            self.session.no_snapshot(self.now, key, RealtimeProtocolError("not now"), final=False)
        else:
            consumer.snapshot_of = None
            log = self.logs[consumer.topic]
            self.session.snapshot(key, Snapshot(gap, (), Cursor(log.epoch, log.head)))
        self.act()

    @rule(offline=st.sampled_from([False, False, True]))
    def cut(self, offline: bool) -> None:
        """What is under way is lost, in both directions; the next connection is there at once, or some time."""
        if self.server is not None:
            self.drop_wire()
            self.session.lost(self.now, "cut")
            self.act()
        if not offline:
            self.greet()

    @initialize()
    def greet(self) -> None:
        """Connects, and lets everything but events get through."""
        self.ready_wire()
        for _ in range(3):
            self.serve(5)
            self.arrive(len(self.to_client) if not self.events_under_way() else 0)

    @rule(most=st.integers(1, 5))
    def serve(self, most: int) -> None:
        """The server reads what was sent to it and sends what it can; nothing arrives yet."""
        while self.server is not None and self.to_server:
            self.to_client.extend(self.server.receive(self.to_server.popleft()))
        if self.server is not None:
            self.to_client.extend(self.server.pump(most))

    @rule(count=st.integers(1, 6))
    def arrive(self, count: int) -> None:
        for _ in range(count):
            if self.to_client:
                self.receive(self.to_client.popleft())

    def events_under_way(self) -> list[int]:
        return [at for at, frame in enumerate(self.to_client) if frame["op"] == "events"]

    def break_a_frame(self, at: int, how: str) -> None:
        """What no TCP does, but a broken server or proxy might; the server's own ping will tell of a loss."""
        frame = self.to_client[at]
        events = frame["events"]
        match how:
            case "lose":
                del self.to_client[at]
                self.ping()
            case "repeat":
                self.to_client.insert(at, frame)
            case "late repeat":
                self.to_client.append(frame)
            case "backwards" if len(events) > 1:
                self.to_client[at] = {**frame, "events": events[::-1]}
            case "without one" if len(events) > 1 and self.types_of(frame["sid"]) is None:
                self.to_client[at] = {**frame, "events": [*events[:1], *events[2:]]}
            case "twice" if events:
                self.to_client[at] = {**frame, "events": [events[0], *events]}
            case _:
                pass

    def types_of(self, sid: str) -> object:
        assert self.server is not None
        known = self.server.subscriptions.get(sid)
        return "unknown" if known is None else known.types

    @rule()
    def ping(self) -> None:
        if self.server is not None:
            self.to_client.append(self.server.ping(1))

    @rule(key=consumers, count=st.integers(1, 8))
    def consume(self, key: int, count: int) -> None:
        consumer = self.told[key]
        count = min(count, consumer.waiting)
        consumer.waiting -= count
        self.session.taken(key, count)
        self.act()

    def receive(self, frame: Frame) -> None:
        self.session.received(self.now, decode(json.dumps(frame)))
        self.act()

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def the_session_agrees_with_the_oracle(self) -> None:
        for subscription in self.session.desired.all:
            assert subscription.cursor == self.told[subscription.key].cursor

    def teardown(self) -> None:
        """However it went: left in peace, everybody gets to the head."""
        for _ in range(60):
            self.ready_wire()
            self.serve(5)
            self.arrive(1_000)
            for key, consumer in self.told.items():
                self.read_state(key, later=False)
                self.consume(key, consumer.waiting)
            if self.session.state is ConnectionState.READY and self.session.desired.next_timer <= self.now + 30:
                self.now = max(self.now, self.session.desired.next_timer)
                self.session.tick(self.now)
                self.act()
            if self.server is not None and not self.to_server and not self.to_client:
                self.ping()
        for consumer in self.told.values():
            if consumer.given_up:
                continue
            log = self.logs[consumer.topic]
            assert consumer.cursor == Cursor(log.epoch, log.head), "somebody did not get to the head"


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
