"""A session and a hand that plays its driver: a clock that only tests move, and what the session asked for."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from playcall.realtime.codec import decode, encode
from playcall.realtime.effects import Connect, Deliver, Effect, End, Send
from playcall.realtime.items import Want
from playcall.realtime.session import Session
from playcall.realtime.states import ConnectionState

from .model_server import Frame

E = TypeVar("E", bound=Effect)


class Talk:
    """`effects` holds everything that was asked for since the last `forget()`."""

    def __init__(self, random: float = 0.5, *, fallback: bool = False) -> None:
        self.now = 1_000.0
        self.session = Session(random=lambda: random, client="test", fallback=fallback)
        self.effects: list[Effect] = []

    def collect(self) -> None:
        self.effects += self.session.take_effects()

    def forget(self) -> None:
        self.collect()
        self.effects.clear()

    def all(self, kind: type[E]) -> list[E]:
        self.collect()
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def sent(self, op: str) -> list[Frame]:
        frames = [json.loads(encode(effect.frame)) for effect in self.all(Send)]
        return [frame for frame in frames if frame["op"] == op]

    def subscribe(self, topic: str = "tasks", **want: Any) -> int:
        return self.session.subscribe(self.now, Want(topic, **want))

    def frame(self, frame: Frame | str) -> None:
        self.session.received(self.now, decode(frame if isinstance(frame, str) else json.dumps(frame)))

    def frames(self, *frames: Frame | str) -> list[str]:
        """Frames that came at once; what kinds they were."""
        texts = [frame if isinstance(frame, str) else json.dumps(frame) for frame in frames]
        return [*self.session.receive_all(self.now, texts)]

    def welcome(self, **fields: Any) -> None:
        self.session.opened(self.now)
        frame = {"op": "welcome", "v": 1, "connection_id": "c", "heartbeat_seconds": 15, "max_frame_bytes": 1_048_576}
        self.frame({**frame, **fields})

    def subscribed(self, sid: str, *, seq: int = 0, head: int | None = None, epoch: str = "e1") -> None:
        head = seq if head is None else head
        self.frame({"op": "subscribed", "id": 1, "sid": sid, "epoch": epoch, "seq": seq, "head": head})

    def events(self, sid: str, prev: int, to: int, seqs: list[int] | None = None, *, terminal: bool = False) -> None:
        self.frame(events(sid, prev, to, seqs, terminal=terminal))

    def live(self, *, seq: int = 0, head: int | None = None, **want: Any) -> tuple[int, str]:
        """A subscription that was answered; its key and sid. What led there is forgotten."""
        key = self.subscribe(**want)
        if self.session.state is not ConnectionState.READY:
            self.welcome()
        sid = self.sid
        self.subscribed(sid, seq=seq, head=head)
        self.forget()
        return key, sid

    @property
    def sid(self) -> str:
        """Of the last subscribe."""
        return self.sid_of()

    def sid_of(self, topic: str | None = None) -> str:
        """Of the last subscribe to `topic`."""
        return [frame["sid"] for frame in self.sent("subscribe") if topic in (None, frame["topic"])][-1]

    @property
    def delivered(self) -> list[int]:
        return [each.seq for effect in self.all(Deliver) for each in effect.events]

    @property
    def ends(self) -> list[End]:
        return self.all(End)

    @property
    def connects(self) -> int:
        return len(self.all(Connect))

    def pass_time(self, seconds: float) -> None:
        """Time goes by; every timer is kept."""
        end = self.now + seconds
        while self.session.next_timer <= end:
            self.now = max(self.now, self.session.next_timer)
            self.session.tick(self.now)
        self.now = end

    def end_pause(self) -> None:
        """Time goes by until the pause before the next attempt is over."""
        if self.session.state is ConnectionState.BACKOFF:
            self.now = self.session.next_timer
            self.session.tick(self.now)


def events(
    sid: str, prev: int, to: int, seqs: list[int] | None = None, *, terminal: bool = False, **more: Any
) -> Frame:
    seqs = list(range(prev + 1, to + 1)) if seqs is None else seqs
    said = [event(seq, terminal=terminal and seq == seqs[-1]) for seq in seqs]
    return {"op": "events", "sid": sid, "prev": prev, "to": to, "events": said, **more}


def event(seq: int, type: str = "custom.happened", *, terminal: bool = False) -> Frame:
    return {
        "seq": seq,
        "id": f"e1-{seq}",
        "time": "2026-01-01T00:00:00Z",
        "type": type,
        "terminal": terminal,
        "data": {},
    }
