"""A new playbook is made once, whatever happens to the answer; what is said of its YAML is true of what stands there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from playcall import Playcall, RetryPolicy
from playcall.dashboard import new_playbook
from playcall.testing import MockAnswer, MockFault, MockRequest, MockTransport

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = 60.0
"""For one run of a script; a machine under load may take its time."""


class Backend:
    """Makes a playbook for each idempotency key once; finds a mistake in what has `wrong` in it."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.loses_answers = False

    def __call__(self, request: MockRequest) -> MockAnswer:
        wrong = b"wrong" in request.body
        errors = [{"loc": ["body", "steps"], "msg": "no tool has this name", "type": "x", "line": 1, "column": 1}]
        if request.path.endswith("/validate"):
            return MockAnswer(json={"valid": not wrong, "errors": errors if wrong else []})
        if wrong:
            return MockAnswer(422, json={"code": "playbook_invalid", "detail": "no", "errors": errors})
        stored = {
            "id": f"pbk_{len(self.made)}",
            "version": 1,
            "created_at": NOW.isoformat(),
            "updated_at": NOW.isoformat(),
        }
        stored |= {"name": request.body.decode(), "agents": ["A"], "steps": []}
        made = self.made.setdefault(request.headers["Idempotency-Key"], stored)
        if self.loses_answers:
            raise MockFault.connection_lost()
        return MockAnswer(201, json=made)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    backend = Backend()
    with Playcall(transport=MockTransport(backend), retry=RetryPolicy(attempts=1)) as client:
        monkeypatch.setattr(new_playbook, "client", lambda: client)
        yield backend


@pytest.fixture
def page() -> AppTest:
    """As the page of playbooks: the way in, or the one playbook that the address names, or another page."""

    def script() -> None:
        import streamlit as st

        from playcall.dashboard.new_playbook import PLACE, show_new
        from playcall.dashboard.notices import show_notice

        if "elsewhere" not in st.query_params and "playbook" not in st.query_params:
            show_new()
        show_notice(PLACE)

    return AppTest.from_function(script, default_timeout=SECONDS).run()


def write(page: AppTest, text: str) -> AppTest:
    """Into the form: with the next press it is sent."""
    page.text_area(key=new_playbook.NEW).set_value(text)
    return page


def upload(page: AppTest, text: str) -> AppTest:
    return page.file_uploader(key=new_playbook.UPLOAD).set_value([("a.yaml", text.encode(), "text/yaml")]).run()


def press(page: AppTest, name: str) -> AppTest:
    button = next(each for each in page.button if each.label == name)
    page = button.click().run()
    assert not page.exception
    return page


def said(page: AppTest) -> list[str]:
    return [each.value for each in (*page.error, *page.success)]


def go(page: AppTest, **address: str) -> AppTest:
    page.query_params.clear()
    for name, value in address.items():
        page.query_params[name] = value
    return page.run()


def test_creating_again_after_a_lost_answer_makes_no_second_playbook(backend: Backend, page: AppTest) -> None:
    backend.loses_answers = True
    press(write(page, "report"), "Create")
    assert "the connection was lost" in said(page)[0]
    backend.loses_answers = False
    press(page, "Create")
    assert said(page) == ["report was created."]
    assert len(backend.made) == 1


def test_a_second_click_from_before_the_page_was_left_makes_no_second_playbook(backend: Backend) -> None:
    def script() -> None:
        import streamlit as st

        from playcall.dashboard.new_playbook import NEW, PLACE, create
        from playcall.dashboard.notices import show_notice

        st.session_state[NEW] = "report"
        for _ in range(2):
            create()
            st.query_params.clear()  # the browser has not been told yet
        show_notice(PLACE)

    assert said(AppTest.from_function(script, default_timeout=SECONDS).run()) == ["report was created."]
    assert len(backend.made) == 1


def test_another_text_and_the_same_text_later_are_playbooks_of_their_own(backend: Backend, page: AppTest) -> None:
    backend.loses_answers = True
    press(write(page, "report"), "Create")
    backend.loses_answers = False
    press(write(page, "other"), "Create")
    assert len(backend.made) == 2
    go(page)
    assert page.text_area(key=new_playbook.NEW).value == ""
    press(write(page, "other"), "Create")
    assert len(backend.made) == 3


def test_what_was_written_is_there_again_after_another_page_was_looked_at(backend: Backend, page: AppTest) -> None:
    press(write(page, "wrong report"), "Check only")
    assert not go(page, elsewhere="yes").text_area
    go(page)
    assert page.text_area(key=new_playbook.NEW).value == "wrong report"
    assert said(page) == ["1 mistake"]
    assert page.expander[0].proto.expanded


def test_mistakes_go_with_the_text_that_they_are_in(backend: Backend, page: AppTest) -> None:
    press(write(page, "wrong report"), "Create")
    assert said(page) == ["1 mistake, so nothing was created"]
    assert said(upload(page, "report")) == []
    assert page.text_area(key=new_playbook.NEW).value == "report"
    assert said(press(page, "Check only")) == ["No mistakes: it can be created."]
    assert said(press(write(page, " "), "Create")) == [
        "There is nothing to create yet: write a playbook, or upload one."
    ]


def test_a_check_says_nothing_of_creating(backend: Backend, page: AppTest) -> None:
    assert said(press(write(page, "wrong"), "Check only")) == ["1 mistake"]


def test_of_very_many_mistakes_it_is_told_that_not_all_are_shown(
    backend: Backend, page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_playbook, "MISTAKES_SHOWN", 0)
    press(write(page, "wrong"), "Check only")
    assert [each.value for each in page.caption] == ["The first 0 are shown."]
