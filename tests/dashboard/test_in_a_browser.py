"""The dashboard as its users have it: real Chromium, real dashboard, real backend."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Locator, expect

from playcall.testing import LiveBackend

from .conftest import METRICS_TOKEN, OpenTab, StartDashboard
from .desk import Desk, sit_down
from .driver import PAGES, WAIT_SECONDS, Tab
from .installed_tools import install
from .process import DashboardProcess

pytestmark = pytest.mark.xdist_group("browser")
"""Chromium runs once at a time, whatever the number of workers."""

STORY: Final = """\
name: Board report
description: Waits for three marks, and writes the report.
tags: [board]
inputs:
  quarter: {{type: integer, min: 1, max: 4, description: The quarter}}
  title: {{type: string, default: Report}}
agents: [Clerk]
steps:
  - id: prepare
    type: standard
    description: Writes the notes
    agent: Clerk
    operation: files.write
    parameters: {{path: notes.txt, content: "quarter {{{{ inputs.quarter }}}}"}}
  - id: gather
    type: standard
    description: Gathers the figures
    agent: Clerk
    operation: show.gate
    parameters: {{folder: {folder}, marks: 3}}
  - id: report
    type: standard
    description: Writes the report
    agent: Clerk
    operation: template.render
    parameters: {{path: report.md, template: "# {{{{ inputs.title }}}} of quarter {{{{ inputs.quarter }}}}"}}
"""
THREE_MISTAKES: Final = """\
name: Board report
agents: [Clerk]
steps:
  - id: prepare
    type: standard
    agent: Clerk
    operation: files.wirte
  - id: gather
    type: standard
    agent: Nobody
    operation: show.gate
  - id: report
    type: standard
    agent: Clerk
    operation: template.rendre
"""


MISTAKES: Final = {7: re.compile(r"wirte\n.*\^"), 10: re.compile(r"Nobody\n.*\^"), 15: re.compile(r"rendre\n.*\^")}
"""The lines that are wrong, each shown with a caret under it."""


@pytest.fixture
def own_backend(tmp_path: Path) -> Iterator[LiveBackend]:
    """One that the test may kill."""
    with LiveBackend(environment=install(tmp_path / "packages")) as running:
        yield running


@pytest.fixture
def own_desk(own_backend: LiveBackend, tmp_path: Path) -> Iterator[Desk]:
    made = sit_down(own_backend.url, own_backend.api_key, tmp_path)
    yield made
    made.client.close()


def test_a_playbook_is_made_run_and_followed_through_the_death_of_the_backend(
    own_backend: LiveBackend, own_desk: Desk, start_dashboard: StartDashboard, open_tab: OpenTab, tmp_path: Path
) -> None:
    dashboard = start_dashboard(own_desk.url, own_desk.api_key)
    tab = open_tab(dashboard).open("Playbooks")
    expect(tab.badge).to_contain_text("online")

    # A playbook, from its YAML, which is wrong at first.
    tab.main.get_by_text("New playbook", exact=True).click()
    tab.fill(tab.key("playcall_new_yaml"), THREE_MISTAKES).press("Create")
    for line, caret in MISTAKES.items():
        tab.sees(re.compile(rf"line {line}, column")).sees(caret)
    assert not list(own_desk.client.playbooks.list()), "nothing is made of what is wrong"
    tab.fill(tab.key("playcall_new_yaml"), STORY.format(folder=own_desk.gate.folder)).press("Create")
    tab.sees_title("Board report")

    # Its form, with a value that is wrong at first.
    tab.go("Run").choose(tab.key("playcall_run_playbook"), "Board report")
    tab.fill(tab.input("quarter"), "5").press("Start the run")
    message = tab.main.get_by_text("has to be at most 4")
    expect(message).to_be_visible()
    assert top_of(tab.input("quarter")) < top_of(message) < top_of(tab.input("title")), "it is said at the field"
    assert not list(own_desk.client.runs.list()), "a wrong value starts nothing"
    tab.fill(tab.input("quarter"), "3").press("Start the run")
    tab.sees_title("Board report")

    # Its progress, mark by mark.
    tab.sees_status("running").sees("1 of 3 steps")
    tab.section("Logs")
    for mark in (1, 2):
        own_desk.gate.open(mark)
        tab.sees(f"mark {mark} of 3 was passed")

    # The backend dies, and comes back.
    own_backend.kill()
    expect(tab.badge).to_contain_text(re.compile("offline|degraded"))
    own_backend.restart()
    expect(tab.badge).to_contain_text("online")
    own_desk.gate.open(3)
    tab.sees_status("completed").sees("3 of 3 steps")
    for step in ("prepare", "gather", "report"):
        expect(tab.chart).to_contain_text(step)

    # What it made.
    tab.section("Artifacts")
    got = tab.download(tab.artifact("report.md"), tmp_path / "report.md")
    assert got.read_bytes() == b"# Report of quarter 3"
    assert tab.loads == 1, "nothing was loaded again"
    assert_well(tab, dashboard)


def test_two_tabs_cancel_the_same_run_and_both_see_it_cancelled(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    run = desk.at_gate("Long work")
    tabs = [open_tab(dashboard).open_run(run) for _ in range(2)]
    buttons = [tab.main.get_by_role("button", name="Cancel").element_handle() for tab in tabs]
    for button in buttons:
        # At once: neither waits for what the other brings about.
        button.evaluate("button => button.click()")
    for tab in tabs:
        tab.sees_status("cancelled")
        assert_well(tab, dashboard)
    assert desk.ended(run).status == "cancelled"


def test_a_tab_that_comes_too_late_with_its_click_is_told_what_had_happened(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    run = desk.at_gate("Short work")
    tab = open_tab(dashboard)
    hold = tab.hold()
    tab.open_run(run).sees_status("running")
    hold.begin()
    desk.gate.open(1)
    assert desk.ended(run).status == "completed"
    tab.press("Cancel")
    hold.end()
    tab.sees("Nothing to cancel: the run had ended already, as completed.").sees_status("completed")
    assert_well(tab, dashboard)


def test_all_browsers_share_one_connection_to_the_backend(
    backend: LiveBackend, desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    run = desk.at_gate("Shared work")
    desk.client.close()  # whose connection would be counted too
    tabs = [open_tab(dashboard).open_run(run) for _ in range(3)]
    for tab in tabs:
        tab.sees("mark 0 of 1 was passed")
    desk.gate.open(1)
    for tab in tabs:
        tab.sees_status("completed")
    assert sockets_of(backend) == 1


def test_a_wrong_key_is_told_on_every_page_and_shown_on_none(
    backend: LiveBackend, start_dashboard: StartDashboard, open_tab: OpenTab, tmp_path: Path
) -> None:
    key = "pk_nobodys-0123456789abcdefghijklmnop"
    dashboard = start_dashboard(backend.url, key)
    tab = open_tab(dashboard).open("Playbooks")
    for title in PAGES:
        tab.go(title)
        expect(tab.badge).to_contain_text("auth failed")
        assert key not in tab.page.content()
    tab.go("Playbooks").sees("the API key is unknown or has been revoked")
    assert_well(tab, dashboard)
    assert key not in dashboard.raw_log


def test_the_key_is_in_no_command_line(dashboard: DashboardProcess, desk: Desk) -> None:
    lines = dashboard.command_lines
    assert len(lines) > 1, "of the command and of the server"
    assert desk.api_key not in " ".join(lines)


def test_a_page_that_was_opened_before_there_is_a_backend_fills_when_it_comes(
    own_backend: LiveBackend, own_desk: Desk, start_dashboard: StartDashboard, open_tab: OpenTab, tmp_path: Path
) -> None:
    own_desk.ended(own_desk.run("Early work", {"use": "wait", "seconds": 0}))
    own_backend.stop()
    dashboard = start_dashboard(own_desk.url, own_desk.api_key)
    tab = open_tab(dashboard).open("Playbooks")
    expect(tab.badge).to_contain_text("offline")
    own_backend.restart()
    expect(tab.badge).to_contain_text("online")
    tab.sees("Early work")
    assert tab.loads == 1
    assert_well(tab, dashboard)


def test_the_dashboard_ends_at_ctrl_c_and_leaves_no_process(
    dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    open_tab(dashboard).open("Playbooks")
    processes = dashboard.processes
    assert len(processes) > 1, "the command and the server"
    dashboard.close()
    assert running(processes) == []


def test_the_server_does_not_outlive_a_command_that_was_killed(dashboard: DashboardProcess) -> None:
    processes = dashboard.processes
    assert len(processes) > 1, "the command and the server"
    dashboard.kill()
    give_up_at = time.monotonic() + WAIT_SECONDS
    while running(processes) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert running(processes) == []


def running(processes: list[int]) -> list[int]:
    return [pid for pid in processes if Path(f"/proc/{pid}").exists()]


def assert_well(tab: Tab, dashboard: DashboardProcess) -> None:
    """Nothing went wrong that nobody looked for."""
    assert tab.shown_exceptions() == []
    assert tab.faults == []
    assert "Traceback" not in dashboard.log


def top_of(place: Locator) -> float:
    box = place.bounding_box()
    assert box is not None, "it is not to be seen"
    return box["y"]


def sockets_of(backend: LiveBackend) -> int:
    request = urllib.request.Request(f"{backend.url}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        said = answer.read().decode()
    return sum(int(float(value)) for value in re.findall(r"^playcall_sockets_open(?:{.*})? (\S+)$", said, re.MULTILINE))
