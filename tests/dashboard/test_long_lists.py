"""Where there is more than is kept, pages say so; what they show of it is current, and nothing is missing without a word."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from playcall.dashboard import collection, playbook_view
from playcall.dashboard.connection import following, recent_attempts
from playcall.models import Run

from .app import App, serve
from .desk import AGENT, Desk
from .waiting import until


@pytest.fixture
def app(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """With one item of each kind that is kept, the newest."""
    monkeypatch.setattr(collection, "MOST", 1)
    with serve(desk.url, desk.api_key) as served:
        yield served


def ended(desk: Desk, name: str) -> Run:
    return desk.ended(desk.run(name, {"use": "wait", "seconds": 0}))


def test_a_run_that_was_found_among_the_older_ones_leaves_the_list_when_it_does_not_fit_any_more(
    desk: Desk, app: App
) -> None:
    desk.at_gate("Slow work")
    ended(desk, "Quick work")
    app.open("runs").ticks_until_it_says("1 run or more")
    app.shown.selectbox(key="playcall_status").select("running")
    app.run().ticks_until_it_says("\n1 run\n")
    desk.gate.open(1)
    app.ticks_until_it_says("0 runs")
    app.shown.selectbox(key="playcall_status").select("completed")
    app.run().ticks_until_it_says("\n2 runs\n")


def test_a_deleted_playbook_is_not_found_any_more(desk: Desk, app: App) -> None:
    older, _newer = ended(desk, "Older work"), ended(desk, "Newer work")
    app.open("playbooks").ticks_until_it_says("1 playbook or more")
    app.shown.text_input(key="playcall_find").set_value("older")
    app.run().ticks_until_it_says("\n1 playbook\n")
    desk.client.playbooks.delete(older.playbook_id)
    app.ticks_until_it_says("0 playbooks")


def test_a_playbook_s_runs_are_found_among_the_older_ones_and_that_there_are_more_is_told(
    desk: Desk, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playbook_view, "RUNS_SHOWN", 1)
    first = ended(desk, "Work")
    second = desk.ended(desk.client.playbooks.run(first.playbook_id))
    ended(desk, "Other work")
    app.open("playbooks", playbook=first.playbook_id)
    app.shown.session_state["playcall_part"] = "Runs"
    app.run().ticks_until_it_says("2 runs, the newest 1 are shown")
    assert [each.label for each in app.shown.get("page_link") if each.label.startswith("run")] == [second.id]


def test_an_agent_that_is_not_among_those_kept_is_shown_whatever_becomes_of_the_others(desk: Desk, app: App) -> None:
    (clerk,) = desk.client.agents.list()
    other = desk.client.agents.create({"name": "Other", "tools": ["wait"]})
    assert AGENT in app.open("agents", agent=clerk.id).text
    known = collection.agents(following())
    until(lambda: known.get(other.id) is not None)
    desk.client.agents.delete(other.id)
    until(lambda: known.get(other.id) is None)
    assert "Edit" in app.tick().text
    assert "Edit" in app.run().text


def test_an_agent_that_was_deleted_meanwhile_is_said_not_to_be_there_and_is_asked_for_no_more(
    desk: Desk, app: App
) -> None:
    agent = desk.client.agents.create({"name": "Other", "tools": ["wait"]})
    assert "Edit" in app.open("agents", agent=agent.id).text
    desk.client.agents.delete(agent.id)
    app.ticks_until_it_says("answered 404")
    assert "Edit" not in app.text
    asked = len(recent_attempts())
    app.tick()
    assert [each for each in recent_attempts()[asked:] if each.template.startswith("/agents")] == []
