"""Progress while a long proof runs, and at the end one table of what all of them measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from playcall.testing import LiveBackend

from .notes import MEASURED, Notes
from .scale import FULL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each module on one worker of pytest-xdist: side by side its tests would measure each other."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group(f"soak {item.path.stem}"))


@pytest.fixture(scope="session")
def backend() -> Iterator[LiveBackend]:
    """For whoever neither kills it nor needs options; each test is a user of its own there."""
    with LiveBackend() as running:
        yield running


@pytest.fixture
def notes(request: pytest.FixtureRequest) -> Notes:
    print()  # after the test's name, where pytest leaves the line open
    return Notes(request.node.user_properties)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in ("passed", "failed") for each in terminalreporter.stats.get(kind, [])]
    rows = [
        (report.location[2].removeprefix("test_").replace("_", " "), *text)
        for report in reports
        if report.when == "call"
        for name, text in report.user_properties
        if name == MEASURED
    ]
    if not rows:
        return
    terminalreporter.section(f"measured, {'full' if FULL else 'short'} form")
    width = max(len(what) for _, what, _ in rows)
    shown = ""
    for test, what, value in rows:
        if test != shown:
            terminalreporter.write_line(test)
            shown = test
        terminalreporter.write_line(f"    {what:<{width}}  {value}")
