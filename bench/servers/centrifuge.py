"""Speaks enough of Centrifugo's JSON protocol to be subscribed to, and then publishes as fast as it is read.

A channel is `BATCH-EVENTS`: so many publications in all, so many to a frame, one a line, which is how the protocol batches.
The stream is recoverable: each publication has its `offset`. Channel compaction is granted, as the client asks for it.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Final

from bench.events import EPOCH, LOG_EVENTS, event_json
from bench.servers.sockets import Socket, framed, serve

WRITE_BYTES: Final = 65_536
BATCHES: Final = (1, 100)
_COMPACTION: Final = 1


@cache
def frames_of(batch: int) -> list[bytes]:
    """All frames of the longest stream. With compaction the channel has a number, which is always 1 here."""
    return [
        framed(
            "\n".join(
                f'{{"push":{{"id":1,"pub":{{"data":{event_json(seq)},"offset":{seq}}}}}}}'
                for seq in range(first, first + batch)
            ).encode()
        )
        for first in range(1, LOG_EVENTS + 1, batch)
    ]


class Far(Socket):
    def __init__(self) -> None:
        super().__init__()
        self._frames: list[bytes] = []
        self._next = self._end = 0

    def heard(self, text: str) -> None:
        for line in text.splitlines():
            command = json.loads(line)
            if not command:
                continue  # a pong
            if "connect" in command:
                self._reply(command["id"], "connect", {"client": "bench", "version": "6.0.0"})
            elif "unsubscribe" in command:
                self._next = self._end = 0
                self._reply(command["id"], "unsubscribe", {})
            elif "subscribe" in command:
                assert command["subscribe"]["flag"] & _COMPACTION
                batch, _, events = command["subscribe"]["channel"].partition("-")
                said = {"id": 1, "recoverable": True, "epoch": EPOCH, "offset": 0}
                self._reply(command["id"], "subscribe", said)
                self._frames = frames_of(int(batch))
                self._next, self._end = 0, int(events) // int(batch)
                self.free()

    def _reply(self, number: int, kind: str, said: dict[str, object]) -> None:
        self.write(framed(json.dumps({"id": number, kind: said}).encode()))

    def free(self) -> None:
        while not self.full and self._next < self._end:
            to = min(self._end, self._next + max(1, WRITE_BYTES // len(self._frames[0])))
            self.write(b"".join(self._frames[self._next : to]))
            self._next = to


if __name__ == "__main__":
    for batch in BATCHES:
        frames_of(batch)
    serve(Far)
