"""The PostgreSQL of this test process, and the word at the end on which databases were tested."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from .postgresql import PostgreSQL

SQLITE: Final = f"SQLite {sqlite3.sqlite_version}"
TESTED: Final = pytest.StashKey[set[str]]()
MISSING: Final = pytest.StashKey[str]()
"""Why PostgreSQL was not there for those who asked."""


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config) -> Iterator[PostgreSQL]:
    """Started for the first test that asks. What a test stops it starts again."""
    # Not before: few tests need what it imports.
    from .postgresql import PostgreSQL, PostgreSQLMissingError

    running = PostgreSQL()
    try:
        running.open()
    except PostgreSQLMissingError as error:
        pytestconfig.stash[MISSING] = str(error)
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    pytestconfig.stash[TESTED].add(f"PostgreSQL {running.version} ({running.programs})")
    yield running
    running.close()


@pytest.fixture(scope="session")
def sqlite(pytestconfig: pytest.Config) -> None:
    """For tests of what differs between the databases: this one needs nothing, and is told of at the end."""
    pytestconfig.stash[TESTED].add(SQLITE)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_measured_processes() -> None:
    """Processes that tests start are measured as to threads, and not to greenlets as well.

    Where coverage's tracer watches greenlets it looks up each call's in Python, and clears whatever exception comes of
    that, a KeyboardInterrupt among them: of a thousand that tests send, one is lost.
    """
    settings = os.environ.get("COVERAGE_PROCESS_CONFIG")
    if settings is not None:
        from coverage.config import CoverageConfig

        config = CoverageConfig.deserialize(settings)
        config.concurrency = ["thread"]
        os.environ["COVERAGE_PROCESS_CONFIG"] = config.serialize()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TESTED] = set()
    config.addinivalue_line("markers", "sqlite_only(why): not on PostgreSQL, where its neighbours run too")
    config.addinivalue_line("markers", "postgresql_only(why): not on SQLite")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """pytest-xdist: what a worker has to say, `Any` for want of a type of its."""
    said = getattr(node, "workeroutput", {})
    node.config.stash[TESTED].update(said.get("databases", ()))
    if missing := said.get("postgresql_missing"):
        node.config.stash[MISSING] = missing


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["databases"] = sorted(config.stash[TESTED])
        config.workeroutput["postgresql_missing"] = config.stash.get(MISSING, "")
    elif _is_wanting(config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    tested = sorted(config.stash[TESTED], reverse=True)
    if tested:
        terminalreporter.write_line(f"databases tested: {', '.join(tested)}")
    if missing := config.stash.get(MISSING, ""):
        terminalreporter.write_line(f"PostgreSQL was not tested: {missing}", red=True)
    elif _is_wanting(config):
        terminalreporter.write_line("PostgreSQL was not tested, which CI demands: no test asked for it", red=True)


def _is_wanting(config: pytest.Config) -> bool:
    """CI runs everything, and then PostgreSQL must have been among it."""
    is_everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.collectonly
    return bool(os.environ.get("CI")) and is_everything and not any("PostgreSQL" in one for one in config.stash[TESTED])
