"""Speaks enough of docs/realtime-protocol.md to be subscribed to, and then sends events as fast as they are read.

A topic is `run:BATCH-EVENTS`: a log of so many events, so many to a frame; or `run:paced-HERTZ`: one event a frame, so many
frames a second, with `done` the moment of sending (`time.monotonic()`). What does not depend on the subscription is encoded
before the first client comes. Credit is kept to; a client that wants none of it grants itself enough at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Final

from bench.events import EPOCH, LOG_EVENTS, event_json, progress_json
from bench.servers.sockets import Socket, framed, serve

WRITE_BYTES: Final = 65_536
BATCHES: Final = (1, 100)


@cache
def frames_of(batch: int) -> list[bytes]:
    """All frames of the longest log, each from behind its `sid`."""
    return [
        f'","prev":{first - 1},"to":{first + batch - 1},"head":{LOG_EVENTS},"events":['.encode()
        + ",".join(map(event_json, range(first, first + batch))).encode()
        + b"]}"
        for first in range(1, LOG_EVENTS + 1, batch)
    ]


class Far(Socket):
    def __init__(self) -> None:
        super().__init__()
        self._logs: dict[str, Log] = {}
        self._does: dict[str, Callable[[dict[str, object]], None]] = {
            "hello": self._hello,
            "ping": lambda frame: self._say(op="pong", n=frame["n"]),
            "subscribe": self._subscribe,
            "credit": self._credit,
            "unsubscribe": self._unsubscribe,
        }

    def heard(self, text: str) -> None:
        frame = json.loads(text)
        if (do := self._does.get(frame["op"])) is not None:
            do(frame)

    def free(self) -> None:
        for log in self._logs.values():
            log.send()

    def gone(self) -> None:
        for log in self._logs.values():
            log.end()

    def _say(self, **frame: object) -> None:
        self.write(framed(json.dumps(frame).encode()))

    def _hello(self, frame: dict[str, object]) -> None:
        # Silence is no failure here: between its turns a client's loop does not run.
        self._say(op="welcome", v=1, connection_id="bench", heartbeat_seconds=86_400, max_frame_bytes=1_048_576)

    def _subscribe(self, frame: dict[str, object]) -> None:
        sid, topic, limit = str(frame["sid"]), str(frame["topic"]), frame["limit"]
        assert isinstance(limit, int)
        kind, _, number = topic.removeprefix("run:").partition("-")
        log = (
            Paced(self, sid, limit, int(number)) if kind == "paced" else Flood(self, sid, limit, int(kind), int(number))
        )
        self._logs[sid] = log
        self._say(op="subscribed", id=frame["id"], sid=sid, epoch=EPOCH, seq=0, head=log.head)
        log.send()

    def _credit(self, frame: dict[str, object]) -> None:
        limit = frame["limit"]
        assert isinstance(limit, int)
        if (log := self._logs.get(str(frame["sid"]))) is not None:
            log.limit = limit
            log.send()

    def _unsubscribe(self, frame: dict[str, object]) -> None:
        if (log := self._logs.pop(str(frame["sid"]), None)) is not None:
            log.end()
        self._say(op="unsubscribed", id=frame["id"], sid=frame["sid"])


class Log:
    head = 0

    def __init__(self, far: Far, sid: str, limit: int) -> None:
        self.far = far
        self.begin = b'{"op":"events","sid":"' + sid.encode()
        self.limit = limit

    def send(self) -> None:
        """What is there, and may be sent."""

    def end(self) -> None:
        """Nobody wants it any more."""


class Flood(Log):
    def __init__(self, far: Far, sid: str, limit: int, batch: int, events: int) -> None:
        super().__init__(far, sid, limit)
        self._batch = batch
        self._frames = frames_of(batch)
        self._end = events // batch
        self._next = 0
        self.head = events

    def send(self) -> None:
        begin, frames = self.begin, self._frames
        while not self.far.full:
            at = self._next
            a_write = max(1, WRITE_BYTES // len(frames[0]))
            to = min(self._end, self.limit // self._batch, at + a_write)
            if to <= at:
                return
            self._next = to
            self.far.write(b"".join([framed(begin + rest) for rest in frames[at:to]]))


class Paced(Log):
    def __init__(self, far: Far, sid: str, limit: int, hertz: int) -> None:
        super().__init__(far, sid, limit)
        self._every = 1 / hertz
        self._sent = 0
        self._began = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._every, self._tick)

    def _tick(self) -> None:
        due = int((time.monotonic() - self._began) / self._every)
        for seq in range(self._sent + 1, min(due, self.limit) + 1):
            event = progress_json(seq, time.monotonic())
            rest = f'","prev":{seq - 1},"to":{seq},"head":{seq},"events":[{event}]}}'
            self.far.write(framed(self.begin + rest.encode()))
            self._sent = seq
        wait = self._began + (due + 1) * self._every - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, wait), self._tick)

    def end(self) -> None:
        self._timer.cancel()


if __name__ == "__main__":
    for batch in BATCHES:
        frames_of(batch)
    serve(Far)
