"""What holds of every page: it is drawn without a fault, and what users wrote is shown as they wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import expect

from playcall.testing import LiveBackend

from .conftest import OpenTab, StartDashboard
from .desk import Desk
from .driver import PAGES, Tab
from .process import DashboardProcess
from .test_in_a_browser import assert_well

pytestmark = pytest.mark.xdist_group("browser")

HOSTILE: Final = (
    "<img src=x onerror=document.title='owned'> **bold** :red[red] $x$ `code` :material/home: "
    "[link](javascript:void(0)) ![](https://example.org/x.png) <script>document.title='owned'</script>"
)
"""HTML, Markdown, and what Streamlit has of its own."""
WORD_JOINER: Final = "\u2060"
"""Is not seen, and keeps what stands on both sides of it from being read as one."""
TAG: Final = "<b>x</b> **y** :red[z] ]( [ \\ $a$"
MARKS: Final = ", ".join(
    (
        "img[src=x]",
        "[src*=example]",
        "[href^=javascript]",
        ".katex",
        "script:has-text('owned')",
        "strong :text-is('bold')",
    )
)
"""What would be in the page if it were read as anything but text."""


def test_every_page_is_drawn_without_a_fault_by_its_address_and_by_a_click(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    desk.ended(desk.run("Work", {"use": "files.write", "path": "a.txt", "content": "a"}, tags=["one", "two"]))
    tab = open_tab(dashboard)
    for title in PAGES:
        tab.open(title)
        assert_well(tab, dashboard)
    loads = tab.loads
    for title in PAGES:
        tab.go(title)
        assert_well(tab, dashboard)
    assert tab.loads == loads


def test_every_page_of_a_user_who_has_nothing_yet_is_drawn_without_a_fault(
    backend: LiveBackend, start_dashboard: StartDashboard, open_tab: OpenTab, tmp_path: Path
) -> None:
    dashboard = start_dashboard(backend.url, backend.add_user())
    tab = open_tab(dashboard)
    for title in PAGES:
        tab.open(title)
        assert_well(tab, dashboard)


def test_what_users_wrote_is_text_on_every_page(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    agent = desk.client.agents.create({"name": HOSTILE[:100], "description": HOSTILE, "tools": ["wait"]})
    tool = desk.client.tools.register(
        {"name": "hostile", "kind": "http", "description": HOSTILE, "url": "http://127.0.0.1:1/"}
    )
    run = desk.at_gate(
        HOSTILE[:180],
        {"use": "files.write", "path": "<img src=x> **a** [b](c).txt", "content": HOSTILE},
        {"use": "show.lines", "lines": 4, "text": HOSTILE},
        {"use": "wait", "seconds": 0, "message": HOSTILE},
        description=HOSTILE,
        tags=[TAG],
        inputs={"quarter": {"type": "string", "default": HOSTILE, "description": HOSTILE}},
    )
    tab = open_tab(dashboard)
    for title in PAGES:
        tab.open(title)
        assert_text(tab, title)
    tab.open("Run", playbook=run.playbook_id).sees("quarter")
    assert_text(tab, "the form")
    tab.page.goto(f"{tab.url}/?playbook={run.playbook_id}")
    for part in ("Steps", "YAML", "Inputs", "Runs"):
        tab.main.get_by_role("tab", name=part).click()
        assert_text(tab, f"the playbook's {part}")
    tab.open_run(run)
    shown = {
        "Logs": tab.key("playcall_log").get_by_text("**bold**").first,
        "Artifacts": tab.artifact("**a** [b](c).txt"),
        "Inputs and output": tab.main.get_by_test_id("stCode").get_by_text("**bold**").first,
    }
    for part, place in shown.items():
        tab.section(part)
        expect(place).to_be_visible()
        assert_text(tab, f"the run's {part}")
    tab.section("Tasks").settled()
    assert_text(tab, "the run's tasks")
    task = next(iter(desk.client.tasks.list(run=run.id)))
    for address in (
        f"agents?agent={agent.id}",
        f"tools?tool={tool.id}",
        f"tasks?task={task.id}",
        f"events?topic=run:{run.id}",
    ):
        tab.page.goto(f"{tab.url}/{address}")
        expect(tab.main.get_by_role("heading", level=1)).to_be_visible()
        tab.settled()
        assert_text(tab, address)
    assert_well(tab, dashboard)
    tab.open("Playbooks").sees("1 playbook")
    read = tab.main.inner_text().replace(WORD_JOINER, "")
    for text in (HOSTILE[:50], TAG):
        assert text in read, "it reads as it was written"


def assert_text(tab: Tab, where: str) -> None:
    """Nothing of what users wrote was read as anything else."""
    assert tab.page.locator(MARKS).count() == 0, where
    assert tab.page.title() != "owned", where
