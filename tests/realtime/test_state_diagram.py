"""The state diagrams that docs/realtime.md shows have exactly the transitions that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playcall.realtime.effects import Moved, SubscriptionMoved

from .talk import Talk

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


def moves(picture: str) -> set[tuple[str, str]]:
    """What its arrows stand for: each says so, and one that leaves a frame stands for many."""
    said = re.findall(r'data-moves="([^"]+)"', (PICTURES / f"{picture}.svg").read_text())
    return {(old, new) for arrow in said for old, new in (move.split() for move in arrow.split(", "))}


CONNECTION = moves("connection-states")
SUBSCRIPTION = moves("subscription-states")

WANTED = "subscribe"
WAYS = {
    "connecting": [WANTED],
    "authenticating": [WANTED, "opened"],
    "ready": [WANTED, "welcome"],
    "backoff": [WANTED, "refused"],
    "failed": [WANTED, "blocked"],
    "idle": [],
}
"""What leads to each state."""
FACTS = (
    "subscribe",
    "opened",
    "welcome",
    "refused",
    "blocked",
    "fatal",
    "lost",
    "moved",
    "unwanted",
    "paused",
    "close",
)


def do(talk: Talk, fact: str) -> None:
    session = talk.session
    match fact:
        case "subscribe":
            talk.subscribe()
        case "opened" if session.state == "connecting":
            session.opened(talk.now)
        case "welcome" if session.state == "connecting":
            talk.welcome()
        case "welcome" if session.state == "authenticating":
            talk.frame(
                {"op": "welcome", "v": 1, "connection_id": "c", "heartbeat_seconds": 15, "max_frame_bytes": 1_048_576}
            )
        case "refused":
            session.refused(talk.now, 503)
        case "blocked":
            session.refused(talk.now, 404)
        case "fatal" if session.state == "backoff":
            session.renewed(talk.now, "same")
        case "fatal":
            session.closed(talk.now, 4403)
        case "lost":
            for standing in session.standings:
                session.unsubscribe(standing.key)
            session.lost(talk.now, "cut")
        case "moved" if session.state == "ready":
            talk.frame({"op": "goodbye", "reason": "draining"})
            talk.pass_time(1)
        case "unwanted":
            for standing in session.standings:
                session.unsubscribe(standing.key)
        case "paused":
            talk.end_pause()
        case "close":
            session.close()
            session.finished()
        case _:
            pass


@pytest.fixture(scope="module")
def seen() -> set[tuple[str, str]]:
    edges: set[tuple[str, str]] = set()
    for way in WAYS.values():
        for fact in FACTS:
            talk = Talk()
            for step in [*way, fact]:
                do(talk, step)
            edges |= {(str(each.change.old), str(each.change.new)) for each in talk.all(Moved)}
    return edges


def test_the_connection_moves_as_it_is_drawn(seen: set[tuple[str, str]]) -> None:
    assert seen == CONNECTION


def test_a_subscription_moves_as_it_is_drawn() -> None:
    edges: set[tuple[str, str]] = set()
    for head, fact in (
        (0, "lost"),
        (5, "lost"),
        (5, "caught up"),
        (0, "unwanted"),
        (5, "unwanted"),
        (None, "unwanted"),
    ):
        talk = Talk()
        key = talk.subscribe(start="start")
        talk.welcome()
        if head is not None:
            talk.subscribed(talk.sid, seq=0, head=head)
        if fact == "lost":
            talk.session.lost(talk.now, "cut")
        elif fact == "unwanted":
            talk.session.unsubscribe(key)
        else:
            talk.events(talk.sid, 0, 5)
        edges |= {(str(each.change.old), str(each.change.new)) for each in talk.all(SubscriptionMoved)}
    assert edges == SUBSCRIPTION
