"""What is looked at each second is kept for a while; changes of state are noted while nobody looks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

from playcall import ApiKey, Playcall
from playcall.dashboard import changes as changes_module
from playcall.dashboard.changes import Changes
from playcall.dashboard.following import Following
from playcall.dashboard.status_samples import KEPT, Sample, Samples, samples
from playcall.realtime.states import ConnectionState as EventsState
from playcall.realtime.states import StateChange
from playcall.testing import LiveBackend

from .desk import Desk
from .waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_client_is_looked_at_again_and_again_and_no_more_once_it_is_let_go(desk: Desk) -> None:
    following = Following(desk.client)
    model = samples(following)
    assert samples(following) is model
    until(lambda: len(model.samples()) >= 2)
    assert model.samples()[0].at < model.samples()[1].at
    following.close()
    until(lambda: "playcall-follow-status" not in {each.name for each in threading.enumerate()})


def test_no_more_than_ten_minutes_are_kept() -> None:
    model = Samples()
    for number in range(KEPT + 5):
        model.take(Sample(NOW, number, 0, 0))
    assert [each.in_flight for each in model.samples()] == list(range(5, KEPT + 5))


class Told:
    """A client of which only what `Changes` listens to is there."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[..., object]] = []
        self.client = cast(
            "Playcall",
            SimpleNamespace(
                status=SimpleNamespace(subscribe=self.callbacks.append),
                events=SimpleNamespace(on_state=self.callbacks.append),
            ),
        )


def test_the_newest_changes_are_kept() -> None:
    told = Told()
    changes = Changes(told.client)
    for number in range(changes_module.KEPT + 1):
        told.callbacks[1](StateChange(EventsState.READY, EventsState.BACKOFF, f"why {number}"))
    seen = changes.seen()
    assert len(seen) == changes_module.KEPT
    assert (seen[0].why, seen[-1].why) == ("why 1", f"why {changes_module.KEPT}")
    assert {(each.of, each.state) for each in seen} == {("events", "backoff")}


def test_a_backend_that_goes_and_comes_back_is_seen_in_the_changes() -> None:
    with LiveBackend() as backend, Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        changes = Changes(client)

        def states(of: str) -> list[str]:
            return [each.state for each in changes.seen() if each.of == of]

        with client.status.monitor(idle_seconds=0.2), client.events.subscribe("agents"):
            until(lambda: states("connection") == ["online"] and "ready" in states("events"))
            backend.kill()
            until(lambda: "offline" in states("connection") and "backoff" in states("events"))
            backend.restart()
            until(lambda: states("connection")[-1] == "online" and states("events")[-1] == "ready")
        said = {each.state: each.why for each in changes.seen() if each.of == "connection"}
        assert said["offline"]
        assert said["online"] == ""
