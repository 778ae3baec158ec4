"""The page of forty lines, in a browser: it runs a playbook and watches it, also across a restart of the backend."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend
from tests.chromium import ChromiumMissingError
from tests.dashboard.driver import Chromium

pytestmark = pytest.mark.xdist_group("browser")

PAGE = Path(__file__).parents[2] / "examples" / "streamlit_page.py"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    try:
        with Chromium() as running:
            yield running
    except ChromiumMissingError as error:
        pytest.fail(f"the page was not tested in a browser: {error}", pytrace=False)


@contextmanager
def served(backend: LiveBackend, home: Path) -> Iterator[str]:
    """The address of the page."""
    command = ["streamlit", "run", str(PAGE), "--server.headless=true", "--server.port=0", "--server.address=127.0.0.1"]
    command += ["--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    environment = {
        **os.environ,
        "HOME": str(home),
        "PLAYCALL_URL": backend.url,
        "PLAYCALL_API_KEY": backend.api_key,
        "PYTHONUNBUFFERED": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, cwd=home, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "http://127.0.0.1:" in line:
                    yield line[line.index("http") :].strip()
                    return
            raise AssertionError("it named no address")
        finally:
            process.kill()


def test_it_has_forty_lines_at_most() -> None:
    assert len(PAGE.read_text().splitlines()) <= 40


def test_a_run_is_started_and_seen_to_its_end_though_the_backend_is_killed_meanwhile(
    chromium: Chromium, tmp_path: Path
) -> None:
    step = {"type": "standard", "agent": "Reader", "operation": "wait", "parameters": {"seconds": 1.0}}
    with LiveBackend() as backend, served(backend, tmp_path) as url:
        with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
            client.agents.create({"name": "Reader", "tools": ["wait"]})
            steps = [{**step, "id": f"s{number}"} for number in range(4)]
            client.playbooks.create({"name": "Slow and steady", "agents": ["Reader"], "steps": steps})
        tab = chromium.tab(url)
        page = tab.page
        page.goto(url)
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_text("of 4 steps: running")).to_be_visible()
        expect(page.get_by_text("1 of 4 steps")).to_be_visible()
        backend.kill()
        expect(page.get_by_text("degraded").or_(page.get_by_text("offline"))).to_be_visible()
        backend.restart()
        expect(page.get_by_text("4 of 4 steps: completed")).to_be_visible()
        expect(page.get_by_text("1 reconnects")).to_be_visible()
        assert tab.loads == 1, "there was no reload"

        other = chromium.tab(url)  # of another visitor, by the address of the first
        other.page.goto(page.url)
        expect(other.page.get_by_text("4 of 4 steps: completed")).to_be_visible()
        for each in (tab, other):
            assert each.faults == []
            each.close()
