"""What is large stays within bounds: a file in the memory of the dashboard, a run in that of the browser."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Locator, expect

from playcall.testing import LiveBackend

from .conftest import OpenTab
from .desk import AGENT, Desk
from .installed_tools import large_file
from .large_run import begin_large_run
from .process import DashboardProcess
from .test_in_a_browser import assert_well

pytestmark = pytest.mark.xdist_group("browser")

KIB: Final = 200 * 1024
MOST_MIB: Final = 100
"""Half the file: it is never held whole, let alone twice."""
STEPS, LINES = 2_000, 50_000
MOST_ROWS: Final = 200
"""Log lines that are in the page at once."""
MOST_ELEMENTS: Final = 3_000
MOST_BYTES: Final = 1_000_000


def test_a_file_of_200_mib_is_downloaded_as_it_is_and_is_never_in_memory_as_a_whole(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    run = desk.run("Large file", {"use": "show.file", "path": "large.bin", "kib": KIB})
    assert desk.ended(run).status == "completed"
    tab = open_tab(dashboard).open_run(run)
    link = tab.section("Artifacts").artifact("large.bin")
    link.wait_for()
    dashboard.forget_peak()
    before = dashboard.memory_mib("VmRSS")
    got = tab.download(link, tmp_path / "large.bin")
    grown = dashboard.memory_mib() - before
    with got.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(large_file(KIB)).digest()
    got.unlink()
    assert grown < MOST_MIB
    assert_well(tab, dashboard)


def test_a_run_of_two_thousand_steps_and_fifty_thousand_lines_is_shown_in_bounds_and_goes_on(
    backend: LiveBackend, desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    run = begin_large_run(backend, desk.client, AGENT, desk.gate.folder, steps=STEPS, lines=LINES)
    tab = open_tab(dashboard).open_run(run)
    tab.sees(re.compile("1,?998 of 2,?000 steps"))
    assert tab.elements() < MOST_ELEMENTS
    assert tab.received_bytes < MOST_BYTES
    log = tab.key("playcall_log")
    expect(log).to_contain_text(line(LINES - 1))
    assert rows(log) <= MOST_ROWS

    # Its log, by levels and backwards.
    tab.pick(tab.key("playcall_level"), "error")
    expect(log).not_to_contain_text(line(LINES - 2))
    expect(log).to_contain_text(line(LINES - 1))
    first = 4 * MOST_ROWS
    tab.press("Earlier lines")
    expect(log).to_contain_text(line(LINES - 1 - first))
    expect(log).not_to_contain_text(line(LINES - 1))
    assert rows(log) <= MOST_ROWS

    # Its steps, from the last back.
    expect(tab.chart).to_contain_text(f"account_{STEPS - 4}")
    tab.press("Earlier steps")
    expect(tab.chart).not_to_contain_text(f"account_{STEPS - 4}")
    assert tab.elements() < MOST_ELEMENTS

    # And it goes on.
    desk.gate.open(1)
    tab.sees_status("completed")
    assert tab.elements() < MOST_ELEMENTS
    assert_well(tab, dashboard)


def test_a_playbook_of_two_thousand_steps_is_shown_and_offered_in_bounds(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, tmp_path: Path
) -> None:
    step = {"type": "standard", "agent": AGENT, "operation": "wait", "parameters": {"seconds": 0}}
    steps = [{"id": f"account_{number:04}", **step} for number in range(STEPS)]
    playbook = desk.client.playbooks.create({"name": "Many accounts", "agents": [AGENT], "steps": steps})
    tab = open_tab(dashboard).open("Playbooks").sees(re.compile("(2,?000|many) steps"))
    tab.main.get_by_role("link", name="Many accounts").click()
    tab.sees_title("Many accounts").sees(re.compile("of 2,?000 steps")).still()
    assert tab.elements() < MOST_ELEMENTS
    assert tab.received_bytes < MOST_BYTES
    tab.main.get_by_role("tab", name="YAML").click()
    tab.sees("account_0000").still()
    assert tab.elements() < MOST_ELEMENTS
    tab.open("Run", playbook=playbook.id)
    assert tab.elements() < MOST_ELEMENTS
    assert_well(tab, dashboard)


def line(number: int) -> str:
    return f"line {number} of the quarterly report"


def rows(log: Locator) -> int:
    return log.inner_text().count("of the quarterly report")
