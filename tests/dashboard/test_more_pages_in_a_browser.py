"""Agents, Tasks, Tools, Events and Status: what is done there is done, and what happens is seen there."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import OpenTab
from .desk import AGENT, Desk
from .process import DashboardProcess
from .test_in_a_browser import assert_well, top_of

pytestmark = pytest.mark.xdist_group("browser")


def test_a_tool_is_tried_with_a_wrong_and_then_a_right_value(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    tool = next(each for each in desk.client.tools.list() if each.name == "text.stats")
    tab = open_tab(dashboard)
    tab.page.goto(f"{tab.url}/tools?tool={tool.id}")
    tab.sees_title("text.stats").fill(tab.input("text"), "one two three").fill(tab.input("top"), "many").press("Try it")
    message = tab.main.get_by_text("not a whole number")
    expect(message).to_be_visible()
    assert top_of(tab.input("top")) < top_of(message), "it is said at the field"
    assert not list(desk.client.tasks.list()), "a wrong value calls nothing"
    tab.fill(tab.input("top"), "1").press("Try it")
    expect(tab.key("result")).to_contain_text('"words": 3')
    assert_well(tab, dashboard)


def test_an_agent_is_stopped_and_started(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    agent = next(each for each in desk.client.agents.list() if each.name == AGENT)
    tab = open_tab(dashboard).open("Agents").press("Stop").sees_status("stopped")
    assert desk.client.agents.get(agent.id).state == "stopped"
    tab.press("Start").sees_status("ready")
    assert desk.client.agents.get(agent.id).state == "ready"
    assert_well(tab, dashboard)


def test_events_are_seen_as_they_come(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(dashboard).open("Events").sees("live")
    run = desk.at_gate("Eventful work")
    expect(tab.key("events")).to_contain_text("run.started")
    tab.press("Pause").sees("paused")
    desk.gate.open(1)
    desk.ended(run)
    tab.sees("newer")
    expect(tab.key("events")).not_to_contain_text("run.completed")
    tab.press("Continue")
    expect(tab.key("events")).to_contain_text("run.completed")
    assert_well(tab, dashboard)


def test_a_task_is_seen_moving_and_cancelled(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    gate = {"folder": str(desk.gate.folder), "marks": 2}
    task = desk.client.tasks.create({"agent": AGENT, "operation": "show.gate", "parameters": gate})
    tab = open_tab(dashboard)
    tab.page.goto(f"{tab.url}/tasks?task={task.id}")
    tab.sees_title("show.gate").sees_status("running")
    desk.gate.open(1)
    tab.sees("mark 1 of 2").press("Cancel").sees_status("cancelled")
    assert desk.client.tasks.get(task.id).status == "cancelled"
    assert_well(tab, dashboard)


def test_a_task_of_a_run_is_not_offered_to_be_cancelled_alone(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    run = desk.at_gate("Work of one task")
    task = next(iter(desk.client.tasks.list(run=run.id)))
    tab = open_tab(dashboard)
    tab.page.goto(f"{tab.url}/tasks?task={task.id}")
    tab.sees_title("show.gate").sees_status("running")
    expect(tab.main.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    assert_well(tab, dashboard)


def test_the_calls_that_were_made_are_seen(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(dashboard).open("Playbooks").go("Status")
    expect(tab.key("status")).to_contain_text("GET /playbooks")
    tab.sees("events ready")
    assert_well(tab, dashboard)


def test_a_double_click_starts_one_run(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    playbook = desk.client.playbooks.create(
        {
            "name": "Quick work",
            "agents": [AGENT],
            "steps": [
                {"id": "a", "type": "standard", "agent": AGENT, "operation": "wait", "parameters": {"seconds": 0}}
            ],
        }
    )
    tab = open_tab(dashboard).open("Run", playbook=playbook.id)
    tab.main.get_by_role("button", name="Start the run").dblclick()
    tab.sees_title("Quick work").sees_status("completed")
    assert len(list(desk.client.runs.list())) == 1
    assert_well(tab, dashboard)


def test_the_navigation_leads_from_one_thing_back_to_all_of_them(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    run = desk.ended(desk.run("Work", {"use": "files.write", "path": "a.txt", "content": "a"}))
    tool = next(iter(desk.client.tools.list()))
    tab = open_tab(dashboard)
    for title, address in (
        ("Playbooks", f"?playbook={run.playbook_id}"),
        ("Runs", f"runs?run={run.id}"),
        ("Tools", f"tools?tool={tool.id}"),
    ):
        tab.page.goto(f"{tab.url}/{address}")
        expect(tab.main.get_by_role("link", name=f"All {title.lower()}")).to_be_visible()
        tab.go(title)
        assert "?" not in tab.page.url
