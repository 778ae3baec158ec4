"""A form says what is wrong at the field, whoever found it, and does once what it is sent for."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import OpenTab
from .desk import AGENT, Desk
from .process import DashboardProcess
from .test_in_a_browser import assert_well, top_of

UNFOLDED = """() => Promise.all(document.getAnimations()
    .filter(each => each.effect.getComputedTiming().endTime !== Infinity).map(each => each.finished.catch(() => null)))"""
pytestmark = pytest.mark.xdist_group("browser")


def test_what_the_backend_refuses_is_said_at_the_field_and_what_was_typed_stays(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(dashboard).open("Tools")
    tab.main.get_by_text("Register an HTTP tool").click()
    tab.fill(tab.input("name"), "weather").fill(tab.input("url"), "nowhere").fill(tab.input("description"), "<b>x</b>")
    tab.press("Register")
    message = tab.key("playcall_problem-url")
    expect(message).to_contain_text("URLs with a host can be called")
    assert top_of(tab.input("url")) < top_of(message) < top_of(tab.input("method"))
    tab.fill(tab.input("url"), "https://weather.example/now").press("Register")
    tab.sees("weather was registered")
    assert [tool.description for tool in desk.client.tools.list() if tool.name == "weather"] == ["<b>x</b>"]
    expect(tab.input("name").locator("input")).to_have_value("")
    tab.main.get_by_text("Register an HTTP tool").click()
    tab.fill(tab.input("name"), "weather").fill(tab.input("url"), "https://weather.example/now").press("Register")
    expect(tab.key("playcall_problem-name")).to_be_visible()
    assert_well(tab, dashboard)


def test_what_is_tried_and_takes_longer_is_followed_as_a_task_to_its_end(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    tool = next(each for each in desk.client.tools.list() if each.name == "show.gate")
    tab = open_tab(dashboard)
    tab.page.goto(f"{tab.url}/tools?tool={tool.id}")
    tab.sees_title("show.gate").fill(tab.input("folder"), str(desk.gate.folder)).press("Try it")
    result = tab.key("result")
    expect(result).to_contain_text("goes on as a task")
    expect(result).to_contain_text("mark 0 of 1")
    desk.gate.open(1)
    expect(result).to_contain_text("completed")
    expect(result).to_contain_text('"marks": 1')
    assert len(list(desk.client.tasks.list())) == 1
    assert_well(tab, dashboard)


def test_a_new_task_is_made_by_its_tools_form_and_shown(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(dashboard).open("Tasks")
    tab.main.get_by_text("New task").click()
    tab.page.evaluate(UNFOLDED)  # before that a list closes as soon as it opens
    tab.choose(tab.key("playcall_task_agent"), AGENT).settled()
    tab.choose(tab.keys("playcall_task_operation"), "wait")
    tab.fill(tab.input("seconds"), "-1").press("Create")
    tab.sees("has to be at least 0")
    assert not list(desk.client.tasks.list())
    tab.fill(tab.input("seconds"), "0").press("Create")
    tab.sees_title("wait").sees_status("completed")
    (task,) = desk.client.tasks.list()
    assert (task.agent, task.parameters) == (AGENT, {"seconds": 0})
    assert_well(tab, dashboard)


def test_an_agent_is_changed_only_where_it_was_edited(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    agent = desk.client.agents.create({"name": "Writer", "description": "Writes", "tools": ["wait"]})
    tab = open_tab(dashboard)
    tab.page.goto(f"{tab.url}/agents?agent={agent.id}")
    tab.sees_title("Writer").press("Edit")
    tab.fill(tab.input("name"), AGENT)
    desk.client.agents.update(agent.id, {"description": "Writes things down"})
    tab.press("Save")
    expect(tab.key("playcall_problem-name")).to_contain_text(AGENT)
    tab.fill(tab.input("name"), "Author").press("Save")
    tab.sees_title("Author").sees("Writes things down")
    now = desk.client.agents.get(agent.id)
    assert (now.name, now.description, now.tools) == ("Author", "Writes things down", ["wait"])
    assert_well(tab, dashboard)
