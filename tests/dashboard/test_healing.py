"""A page that misses a part is run again when the backend is back, and not for ever at once where that does not help."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from playcall.dashboard import errors_shown
from playcall.dashboard.errors_shown import FAILED_AT, heal
from playcall.status import ConnectionState


class Page:
    """Ticks once a second of its own clock; fails again whenever it is run, if told so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.fails = True
        self.session: dict[str, Any] = {}
        self.runs: list[float] = []
        self.state = ConnectionState.ONLINE
        client = SimpleNamespace(status=SimpleNamespace(current=self))
        patch.setattr(errors_shown, "client", lambda: client)
        patch.setattr(errors_shown, "time", SimpleNamespace(monotonic=lambda: self.now))
        patch.setattr(errors_shown, "st", SimpleNamespace(session_state=self.session, rerun=self.run))
        self.run()

    def run(self) -> None:
        self.runs.append(self.now)
        if self.fails:
            self.session[FAILED_AT] = self.now

    def tick(self, times: int) -> list[float]:
        """When it was run again."""
        self.runs.clear()
        for _ in range(times):
            self.now += 1
            heal()
        return self.runs


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    return Page(monkeypatch)


def test_a_fault_that_lasts_is_looked_into_less_and_less_often(page: Page) -> None:
    assert page.tick(120) == [2, 6, 14, 30, 60, 90, 120]


def test_what_fails_after_it_was_whole_for_a_while_is_run_again_soon(page: Page) -> None:
    page.tick(20)
    page.fails = False
    page.tick(100)
    page.fails = True
    page.run()
    assert page.tick(2) == [page.now]


def test_nothing_is_run_again_while_the_backend_is_away(page: Page) -> None:
    page.state = ConnectionState.OFFLINE
    assert page.tick(100) == []
    page.state = ConnectionState.ONLINE
    assert page.tick(1) == [page.now]


def test_a_fault_of_a_page_is_said_on_it_and_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    monkeypatch.setattr(errors_shown.st, "error", lambda text, icon: said.append(text))
    with pytest.raises(KeyError) as caught:
        raise KeyError("steps")
    assert errors_shown.show_uncaught(caught.value)
    assert said == ["This part of the page could not be drawn: KeyError: 'steps'"]
    assert 'raise KeyError("steps")' in caplog.text
