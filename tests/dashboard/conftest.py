"""Browsers on real dashboards on real backends; of each test that fails, a picture of what its tabs show."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import pytest

from playcall.testing import LiveBackend
from tests.chromium import ChromiumMissingError

from .desk import Desk, sit_down
from .installed_tools import install

if TYPE_CHECKING:
    from .driver import Chromium, Tab
    from .process import DashboardProcess

TABS: Final = pytest.StashKey[list["Tab"]]()
METRICS_TOKEN: Final = "a-token-for-these-tests"
OpenTab = Callable[["DashboardProcess"], "Tab"]
StartDashboard = Callable[[str, str], "DashboardProcess"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """For one module only: Playwright's loop must be gone before another module's asynchronous tests run here."""
    from .driver import Chromium

    with ExitStack() as stack:
        try:
            running = stack.enter_context(Chromium())
        except ChromiumMissingError as error:
            missing = str(error)
        else:
            yield running
            return
    pytest.fail(f"the dashboard was not tested in a browser: {missing}", pytrace=False)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBackend]:
    """For all tests of a module, each of which has a user of its own."""
    environment = install(tmp_path_factory.mktemp("tools") / "packages")
    token = tmp_path_factory.mktemp("secret") / "token"
    token.write_text(METRICS_TOKEN + "\n")
    with LiveBackend(environment=environment, options=[f"--metrics-token-file={token}"]) as running:
        yield running


@pytest.fixture
def desk(backend: LiveBackend, tmp_path: Path) -> Iterator[Desk]:
    """Of a new user of the module's backend."""
    made = sit_down(backend.url, backend.add_user(), tmp_path)
    yield made
    made.client.close()


@pytest.fixture
def start_dashboard(tmp_path: Path) -> Iterator[StartDashboard]:
    """Starts one for the backend at this URL, with this key; they run to the end of the test."""
    from .process import DashboardProcess

    with ExitStack() as stack:

        def start(url: str, api_key: str) -> DashboardProcess:
            home = tmp_path / f"home-{uuid4().hex[:8]}"
            home.mkdir()
            return stack.enter_context(DashboardProcess(home, url, api_key))

        yield start


@pytest.fixture
def dashboard(desk: Desk, start_dashboard: StartDashboard) -> DashboardProcess:
    """Of the same user as `desk`."""
    return start_dashboard(desk.url, desk.api_key)


@pytest.fixture
def open_tab(chromium: Chromium, request: pytest.FixtureRequest) -> Iterator[OpenTab]:
    """Makes a tab, of a new visitor, which shows nothing yet."""
    tabs = request.node.stash[TABS] = list["Tab"]()

    def open_one(dashboard: DashboardProcess) -> Tab:
        tabs.append(chromium.tab(dashboard.url))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    tabs = item.stash.get(TABS, [])
    if report.when == "call" and report.failed and tabs and isinstance(item, pytest.Function):
        folder = item.funcargs.get("tmp_path")
        assert isinstance(folder, Path), "a test with tabs needs tmp_path"
        lines: list[str] = []
        for number, tab in enumerate(tabs, 1):
            try:
                lines += [str(path) for path in tab.save(folder, f"tab-{number}")]
            except Exception as error:  # whatever it is: it must not hide why the test failed
                lines.append(f"tab {number} cannot be shown any more: {error}")
        report.sections.append(("what the tabs show", "\n".join(lines)))
    return report
