"""One thread follows one thing, however many look at it, for as long as somebody does; what fails is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from playcall import Playcall
from playcall.dashboard import following as following_module
from playcall.dashboard.following import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    REFUSED_PAUSE_SECONDS,
    Closable,
    Followed,
    Following,
    pause_after,
)
from playcall.errors import PlaycallError, RealtimeAuthError, TopicForbiddenError

from .waiting import until

SECONDS = 10.0
"""For what happens at once on another thread; a machine under load may take its time."""


class Feed:
    """Waits until it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Model(Followed):
    """Does what it is told, once a time that it is followed, and then waits."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.followed = 0
        self.feed = Feed()
        self.waits = threading.Event()
        self.ended = threading.Event()

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        self.followed += 1
        if self.failures:
            raise self.failures.pop(0)
        closing(self.feed)
        with self.lock:
            self.moved()
        self.waits.set()
        self.feed.closed.wait()
        self.ended.set()


@contextmanager
def registry(**options: float) -> Iterator[Following]:
    with Playcall("http://127.0.0.1:1") as client:
        made = Following(client, **options)  # type: ignore[arg-type]
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "REFUSED_PAUSE_SECONDS"):
        monkeypatch.setattr(following_module, name, 0.01)


def test_whoever_looks_at_the_same_thing_gets_the_same_model_followed_once() -> None:
    with registry() as following:
        one = following.look("x", Model)
        assert following.look("x", Model) is one
        assert following.look("y", Model) is not one
        assert one.waits.wait(SECONDS)
        assert one.followed == 1


def test_what_nobody_has_looked_at_is_let_go_with_its_feed() -> None:
    with registry(idle_seconds=0.2) as following:  # its own thread does it
        model = following.look("x", Model)
        assert model.ended.wait(SECONDS)
        assert "x" not in following
        assert following.look("x", Model) is not model
        until(lambda: model.error is not None)  # for whoever still holds it


def test_what_is_looked_at_stays() -> None:
    with registry(idle_seconds=100) as following:
        model = following.look("x", Model)
        following.let_go()
        assert "x" in following
        assert not model.feed.closed.is_set()


def test_of_too_many_the_one_that_was_looked_at_the_longest_ago_is_let_go() -> None:
    with registry(most=2) as following:
        first, second = following.look("1", Model), following.look("2", Model)
        following.look("1", Model)
        following.look("3", Model)
        assert second.ended.wait(SECONDS)
        assert not first.feed.closed.is_set()
        assert "2" not in following


def test_a_failure_is_told_and_tried_again_until_it_goes_well() -> None:
    with registry() as following:
        model = following.look("x", lambda: Model(PlaycallError("one"), PlaycallError("two")))
        assert model.waits.wait(SECONDS)
        assert model.followed == 3
        assert model.error is None
        assert model.ready


def test_what_cannot_go_well_is_not_tried_again() -> None:
    with registry() as following:
        refused = TopicForbiddenError("not for you", topic="x")
        model = following.look("x", lambda: Model(refused, PlaycallError("never asked")))
        assert model.wait(SECONDS) is False
        assert following.look("x", Model) is model
        assert (model.error, model.over, model.followed) == (refused, True, 1)


def test_what_is_not_there_any_more_is_not_shown_as_it_was() -> None:
    class Deleted(Model):
        def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
            with self.lock:
                self.moved()
            raise TopicForbiddenError("deleted", topic="x")

    with registry() as following:
        model = following.look("x", Deleted)
        until(lambda: model.over)
        assert not model.ready
        assert isinstance(model.error, TopicForbiddenError)


def test_the_pauses_between_tries_grow_until_one_went_well_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # as they are
    fault = PlaycallError("again")
    pauses = [0.0]
    for _ in range(6):
        pauses.append(pause_after(fault, lasted_seconds=0.1, before_seconds=pauses[-1]))
    assert pauses[1:] == [FIRST_PAUSE_SECONDS, 1.0, 2.0, 4.0, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert pause_after(fault, lasted_seconds=60, before_seconds=pauses[-1]) == FIRST_PAUSE_SECONDS
    refused = pause_after(RealtimeAuthError("no"), lasted_seconds=60, before_seconds=0)
    assert refused == REFUSED_PAUSE_SECONDS
    assert pause_after(fault, lasted_seconds=0.1, before_seconds=refused) == LONGEST_PAUSE_SECONDS


def test_a_page_that_waits_for_a_first_reading_hears_of_its_failure_as_well() -> None:
    model = Model()
    threading.Thread(target=model.failed, args=(PlaycallError("no"),)).start()
    assert model.wait(SECONDS) is False
    assert model.error is not None


def test_closing_ends_every_feed_and_nothing_is_followed_any_more() -> None:
    with registry() as following:
        model = following.look("x", Model)
        assert model.waits.wait(SECONDS)
        following.close()
        assert model.ended.wait(SECONDS)
        assert following.look("y", Model).ended.wait(SECONDS)
        assert "y" not in following


def test_one_that_is_let_go_before_it_waits_for_anything_ends_all_the_same() -> None:
    begins, goes_on = threading.Event(), threading.Event()

    class Slow(Model):
        def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
            begins.set()
            goes_on.wait()
            super().follow(client, closing)

    with registry() as following:
        model = following.look("x", Slow)
        assert begins.wait(SECONDS)
        following.close()
        goes_on.set()
        assert model.ended.wait(SECONDS)


def test_what_nobody_expected_ends_it_and_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with registry() as following, caplog.at_level("ERROR", "playcall.dashboard"):
        model = following.look("x", lambda: Model(KeyError("oh"), PlaycallError("never asked")))
        assert model.wait(SECONDS) is False
        until(lambda: model.over)
        assert model.error is not None
        assert model.error.message == "this is not kept current any more: KeyError: 'oh'"
    assert "a model of the dashboard stopped" in caplog.text
