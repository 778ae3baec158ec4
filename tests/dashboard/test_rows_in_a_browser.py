"""A row that is clicked opens what stands in it, whatever its table is of."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from .conftest import OpenTab
from .desk import Desk
from .process import DashboardProcess
from .test_in_a_browser import assert_well

pytestmark = pytest.mark.xdist_group("browser")

HEADER, ROW = 36, 35
"""Pixels; the table is a canvas."""


@pytest.mark.parametrize(
    ("page", "address"),
    [("Runs", r"/runs\?run=(\w+)"), ("Tasks", r"/tasks\?task=(\w+)"), ("Tools", r"/tools\?tool=(\w+)")],
)
def test_a_row_that_is_clicked_opens_what_stands_in_it(
    desk: Desk, dashboard: DashboardProcess, open_tab: OpenTab, page: str, address: str
) -> None:
    for name in ("Older", "Newer"):
        desk.ended(desk.run(name, {"use": "wait", "seconds": 0}))
    tab = open_tab(dashboard).open(page)
    table = tab.page.get_by_test_id("stDataFrame")
    expect(table).to_be_visible()
    table.click(position={"x": 60, "y": HEADER + ROW // 2})
    expect(tab.page).to_have_url(re.compile(address))
    found = re.search(address, tab.page.url)
    assert found is not None
    first = {
        "Runs": lambda: next(iter(desk.client.runs.list(newest_first=True))).id,
        "Tasks": lambda: next(iter(desk.client.tasks.list(newest_first=True))).id,
        "Tools": lambda: next(iter(desk.client.tools.list(newest_first=True))).id,
    }[page]()
    assert found[1] == first
    expect(tab.main.get_by_role("link", name=f"All {page.lower()}")).to_be_visible()
    assert_well(tab, dashboard)
