"""The connection is watched while somebody looks, by events rather than by questions, and not at all when nobody does."""

from __future__ import annotations

from playcall import ApiKey, Playcall
from playcall.dashboard.following import Following
from playcall.dashboard.monitoring import keep_true
from playcall.status import ConnectionState
from playcall.testing import LiveBackend

from .waiting import until


def test_the_badge_sees_the_backend_go_and_come_back_and_wants_nothing_when_nobody_looks() -> None:
    with LiveBackend() as backend, Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        following = Following(client)
        keep_true(following)
        until(lambda: client.status.current.state is ConnectionState.ONLINE)
        until(lambda: client.events.picture.state == "ready")
        backend.kill()
        until(lambda: client.status.current.state is ConnectionState.OFFLINE)
        backend.restart()
        until(lambda: client.status.current.state is ConnectionState.ONLINE)
        following.close()
        until(lambda: client.events.picture.subscriptions == ())


def test_looking_again_makes_no_second_watch() -> None:
    with Playcall("http://127.0.0.1:1") as client:
        following = Following(client)
        keep_true(following)
        keep_true(following)
        assert "monitor" in following
        following.close()
        assert "monitor" not in following
