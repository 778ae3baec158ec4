"""The page of forty lines, in a browser: it runs a playbook and watches it, also across a restart of the backend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import expect

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend
from tests.chromium import ChromiumMissingError
from tests.dashboard.driver import Chromium, Tab

pytestmark = pytest.mark.xdist_group("browser")

METRICS_TOKEN = "of-this-test-alone"
DOUBLE_CLICK = "button => new Promise(done => { button.click(); setTimeout(() => { button.click(); done() }, 100) })"
"""As fast as a person's, on whatever has become of the button by then."""
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


def sockets_open(backend: LiveBackend) -> float:
    """By the backend's own count."""
    request = urllib.request.Request(f"{backend.url}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        [count] = re.findall(r"^playcall_sockets_open (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(count)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBackend]:
    """With a playbook that takes its time."""
    step = {"type": "standard", "agent": "Reader", "operation": "wait", "parameters": {"seconds": 1.0}}
    secret = tmp_path_factory.mktemp("metrics") / "token"
    secret.write_text(METRICS_TOKEN)
    with LiveBackend(options=["--metrics-token-file", str(secret)]) as running:
        with Playcall(running.url, auth=ApiKey(running.api_key)) as client:
            client.agents.create({"name": "Reader", "tools": ["wait"]})
            steps = [{**step, "id": f"s{number}"} for number in range(4)]
            client.playbooks.create({"name": "Slow and steady", "agents": ["Reader"], "steps": steps})
        yield running


@pytest.fixture(scope="module")
def url(backend: LiveBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(backend, tmp_path_factory.mktemp("home")) as address:
        yield address


Visit: TypeAlias = Callable[[str], Tab]


@pytest.fixture
def visit(chromium: Chromium) -> Iterator[Visit]:
    """Opens an address as a visitor who was never here before."""
    with ExitStack() as leaving:

        def opened(address: str) -> Tab:
            tab = chromium.tab(address)
            leaving.callback(tab.close)
            tab.page.goto(address)
            return tab

        yield opened


def test_it_has_forty_lines_at_most() -> None:
    assert len(PAGE.read_text().splitlines()) <= 40


def test_a_run_is_started_and_seen_to_its_end_though_the_backend_is_killed_meanwhile(
    visit: Visit, backend: LiveBackend, url: str
) -> None:
    tab = visit(url)
    page = tab.page
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("of 4 steps: running")).to_be_visible()
    expect(page.get_by_text("1 of 4 steps")).to_be_visible()
    backend.kill()
    expect(page.get_by_text("degraded").or_(page.get_by_text("offline"))).to_be_visible()
    backend.restart()
    expect(page.get_by_text("4 of 4 steps: completed")).to_be_visible()
    expect(page.get_by_text("reconnects: 1")).to_be_visible()
    assert tab.loads == 1, "there was no reload"


def test_two_visitors_see_each_a_run_of_their_own_move_over_one_connection(
    visit: Visit, backend: LiveBackend, url: str
) -> None:
    pages = [visit(url).page for _ in range(2)]
    for page in pages:
        page.get_by_role("button", name="Run").click()
    for page in pages:
        expect(page.get_by_text("of 4 steps")).to_be_visible()
    assert sockets_open(backend) == 1
    for page in pages:
        expect(page.get_by_text("4 of 4 steps: completed")).to_be_visible()
    assert pages[0].url != pages[1].url


def test_a_double_click_is_one_run_and_one_after_a_look_at_the_playbooks_is_another(
    visit: Visit, backend: LiveBackend, url: str
) -> None:
    page = visit(url).page
    with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        before = len(list(client.runs.list()))
        for more in (1, 2):
            page.get_by_role("button", name="Run").element_handle().evaluate(DOUBLE_CLICK)
            expect(page.get_by_text("4 of 4 steps: completed")).to_be_visible()
            assert len(list(client.runs.list())) == before + more
            page.get_by_role("button", name="Back to the playbooks").click()


def test_a_page_that_was_opened_while_the_backend_was_away_needs_no_reload(
    visit: Visit, backend: LiveBackend, url: str
) -> None:
    backend.kill()
    try:
        tab = visit(url)
        expect(tab.page.get_by_role("button", name="Try again")).to_be_visible()
    finally:
        backend.restart()
    tab.page.get_by_role("button", name="Try again").click()
    expect(tab.page.get_by_role("button", name="Run")).to_be_visible()
    assert tab.loads == 1


def test_an_address_of_no_run_gets_the_reason_and_no_traceback(visit: Visit, url: str) -> None:
    page = visit(f"{url}/?run=run_nobody_has_started_this").page
    expect(page.get_by_text("RunNotFoundError")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
