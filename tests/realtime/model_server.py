"""A model of the log and of the server's half of the contract: plain data, no I/O, small enough to be seen to be right.

    logs = {"tasks": ModelLog()}
    logs["tasks"].append("task.failed")
    server = ModelConnection(logs)
    answers = server.receive({"op": "subscribe", "id": 1, "sid": "s1", "topic": "tasks", "from": "start", "limit": 10})
    frames = server.pump()          # what can be sent now, within the credit

Frames are dictionaries, so that a test can bend them before they are sent. `ScriptedServer` puts this on a real socket;
the state machine of `test_delivery.py` feeds it to a session directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

Frame = dict[str, Any]


@dataclass
class ModelLog:
    """One topic: entries from `floor` to `head`, without holes, in one `epoch`; `life` tells ids of restored logs apart."""

    epoch: str = "e1"
    floor: int = 1
    entries: list[Frame] = field(default_factory=list)
    ended: bool = False
    life: str = ""

    @property
    def head(self) -> int:
        return self.floor - 1 + len(self.entries)

    def append(self, type: str = "custom.happened", *, terminal: bool = False, **data: Any) -> Frame:
        seq = self.head + 1
        entry = {
            "seq": seq,
            "id": f"{self.epoch}{self.life}-{seq}",
            "time": "2026-01-01T00:00:00Z",
            "type": type,
            "terminal": terminal,
            "data": data,
        }
        self.entries.append(entry)
        self.ended = self.ended or terminal
        return entry

    def expire(self, floor: int) -> None:
        """Retention: entries below `floor` are gone."""
        floor = min(max(floor, self.floor), self.head + 1)
        del self.entries[: floor - self.floor]
        self.floor = floor

    def restore(self, head: int, life: str) -> None:
        """A backup was put in place of the database, and nobody noticed: the same epoch, and what came later is gone."""
        del self.entries[max(0, head - self.floor + 1) :]
        self.life = life
        self.ended = False

    def begin_epoch(self, epoch: str) -> None:
        """A new database: nothing of before is there."""
        self.epoch, self.floor, self.entries, self.ended = epoch, 1, [], False

    def id_at(self, seq: int) -> str | None:
        """None where nothing is kept there."""
        return self.entries[seq - self.floor]["id"] if self.floor <= seq <= self.head else None

    def gap_after(self, epoch: str, seq: int, id: str | None = None) -> str | None:
        if epoch != self.epoch:
            return "epoch"
        if seq > self.head:
            return "ahead"
        if id is not None and self.id_at(seq) not in (None, id):
            return "epoch"
        return "expired" if seq < self.floor - 1 else None

    def after(self, seq: int) -> list[Frame]:
        return self.entries[seq - self.floor + 1 :]


@dataclass
class ModelSubscription:
    sid: str
    topic: str
    types: list[str] | None
    epoch: str
    seq: int
    limit: int
    sent: int = 0


class ModelConnection:
    """The server's half for one connection. A topic that is not in `logs` is forbidden."""

    def __init__(
        self, logs: dict[str, ModelLog], *, heartbeat_seconds: float = 15.0, token_seconds: float | None = None
    ) -> None:
        self.logs = logs
        self.heartbeat_seconds = heartbeat_seconds
        self.token_seconds = token_seconds
        self.subscriptions: dict[str, ModelSubscription] = {}
        self.used_sids: set[str] = set()

    def receive(self, frame: Frame) -> list[Frame]:
        """What the server answers at once; `pump` gives the rest."""
        return list(getattr(self, f"_on_{frame['op']}", lambda _: ())(frame))

    def _on_hello(self, frame: Frame) -> Iterator[Frame]:
        welcome: Frame = {
            "op": "welcome",
            "v": 1,
            "connection_id": "c1",
            "heartbeat_seconds": self.heartbeat_seconds,
            "max_frame_bytes": 1_048_576,
        }
        if self.token_seconds is not None:
            welcome["token_expires_in_seconds"] = self.token_seconds
        yield welcome

    def _on_subscribe(self, frame: Frame) -> Iterator[Frame]:
        sid, topic, start = frame["sid"], frame["topic"], frame["from"]
        assert sid not in self.used_sids, "a sid was used twice on one connection"
        self.used_sids.add(sid)
        assert frame["limit"] >= 1
        log = self.logs.get(topic)
        if log is None:
            yield {"op": "error", "id": frame["id"], "sid": sid, "code": "forbidden", "message": "no", "retry": False}
            return
        if start == "start":
            epoch, seq = log.epoch, log.floor - 1
        elif start == "head":
            epoch, seq = log.epoch, log.head
        else:
            epoch, seq = start["epoch"], start["seq"]
            reason = log.gap_after(epoch, seq, start.get("id"))
            if reason is not None:
                yield self._gap(sid, reason, epoch, seq, log)
                return
        self.subscriptions[sid] = ModelSubscription(sid, topic, frame.get("types"), epoch, seq, frame["limit"])
        answer = {"op": "subscribed", "id": frame["id"], "sid": sid, "epoch": epoch, "seq": seq, "head": log.head}
        yield answer if (at_id := log.id_at(seq)) is None else {**answer, "at_id": at_id}

    def _on_credit(self, frame: Frame) -> Iterator[Frame]:
        subscription = self.subscriptions.get(frame["sid"])
        if subscription is not None:
            assert frame["limit"] >= subscription.limit, "the limit fell"
            subscription.limit = frame["limit"]
        yield from ()

    def _on_unsubscribe(self, frame: Frame) -> Iterator[Frame]:
        self.subscriptions.pop(frame["sid"], None)
        yield {"op": "unsubscribed", "id": frame["id"], "sid": frame["sid"]}

    def _on_auth(self, frame: Frame) -> Iterator[Frame]:
        yield {"op": "authenticated", "id": frame["id"], "token_expires_in_seconds": self.token_seconds}

    def _on_ping(self, frame: Frame) -> Iterator[Frame]:
        yield {"op": "pong", "n": frame["n"]}

    def ping(self, n: int) -> Frame:
        return {"op": "ping", "n": n, "at": {each.sid: each.seq for each in self.subscriptions.values()}}

    def pump(self, most: int = 100) -> list[Frame]:
        """All that the credit allows now, at most `most` events in a frame."""
        frames: list[Frame] = []
        for subscription in list(self.subscriptions.values()):
            frames += self._pump_one(subscription, most)
        return frames

    def _pump_one(self, subscription: ModelSubscription, most: int) -> Iterator[Frame]:
        log = self.logs[subscription.topic]
        while True:
            reason = log.gap_after(subscription.epoch, subscription.seq)
            if reason is not None:
                del self.subscriptions[subscription.sid]
                yield self._gap(subscription.sid, reason, subscription.epoch, subscription.seq, log)
                return
            rows = log.after(subscription.seq)
            if not rows:
                if log.ended:
                    del self.subscriptions[subscription.sid]
                    yield {"op": "ended", "sid": subscription.sid, "reason": "finished", "retry": False}
                return
            to, matching = subscription.seq, list[Frame]()
            for row in rows:
                fits = subscription.types is None or any(fnmatchcase(row["type"], each) for each in subscription.types)
                if fits:
                    if len(matching) == most or subscription.sent + len(matching) == subscription.limit:
                        break
                    matching.append(row)
                to = row["seq"]
            if to == subscription.seq:
                return  # the credit is used up
            prev, subscription.seq = subscription.seq, to
            subscription.sent += len(matching)
            frame = {"op": "events", "sid": subscription.sid, "prev": prev, "to": to, "events": matching}
            frame["head"] = log.head
            if not matching or matching[-1]["seq"] != to:
                frame["at_id"] = log.id_at(to)
            yield frame

    @staticmethod
    def _gap(sid: str, reason: str, epoch: str, seq: int, log: ModelLog) -> Frame:
        return {
            "op": "gap",
            "sid": sid,
            "reason": reason,
            "lost_after": {"epoch": epoch, "seq": seq},
            "resume": {"epoch": log.epoch, "seq": log.floor - 1},
        }
