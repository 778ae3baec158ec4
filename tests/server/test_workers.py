"""The parent of several servers: whom it starts again, when it gives up, what it tells. The children are stand-ins.

Real ones: tests/cli/test_serve_workers.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from playcall.server.running import workers
from playcall.server.running.starting import Started, StartupError
from playcall.server.running.workers import Patience, Report, Workers
from playcall.server.settings import Settings

CHILD = """
import json, os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
orders = os.read(0, 100_000)
folder = sys.argv[1]
name = f"{folder}/{time.monotonic_ns():020}"
with open(name + ".new", "w") as file:
    file.write(f"{os.getpid()} {b'open ' in orders}")
number = len(os.listdir(folder))
os.rename(name + ".new", name)
def say(started=None, failed=None):
    os.write(int(sys.argv[3]), json.dumps({"started": started, "failed": failed}).encode() + b"\\n")
def serve(key=None):
    say({"url": "http://here", "port": 1, "api_key": key, "username": "admin"})
    signal.pause()
"""


@dataclass
class Told:
    facts: list[Started] = field(default_factory=list)

    def __call__(self, facts: Started) -> None:
        self.facts.append(facts)


def parent(folder: Path, script: str, count: int = 2, **settings: object) -> Workers:
    given = Settings(data_dir=folder, port=0, database_url="postgresql://u:geheim@h/db", drain_seconds=0.2, **settings)  # type: ignore[arg-type]
    return Workers(given, count, command=(sys.executable, "-I", "-S", "-c", CHILD + script, str(folder)))


def births(folder: Path) -> list[list[str]]:
    """What each child wrote down of itself, in the order of their starts."""
    return [file.read_text().split() for file in sorted(folder.iterdir()) if not file.suffix]


def pids(folder: Path) -> list[int]:
    return [int(words[0]) for words in births(folder)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(those: Workers, told: Told) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(those.run(told))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(Patience, "LONGEST_SECONDS", 0.02)
    monkeypatch.setattr(workers, "KILL_SECONDS", 0.5)


# --- patience ---------------------------------------------------------------------------------------------------------


def test_pauses_grow_to_a_longest_and_begin_anew_after_a_steady_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    patience = Patience()
    assert [patience.served(1) for _ in range(9)] == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert [patience.served(60), patience.served(1)] == [0.25, 0.5]


def test_it_is_over_when_starts_fail_for_the_same_reason_again_and_again() -> None:
    patience = Patience()
    for reason in ["a", "a", "a", "a", "b", "b", "b", "b"]:
        patience.failed(reason)
        assert not patience.is_over
    patience.failed("b")
    assert patience.is_over
    patience.served(0)
    assert not patience.is_over


# --- starts and ends --------------------------------------------------------------------------------------------------


async def test_all_of_them_are_told_of_once_and_end_when_asked(tmp_path: Path) -> None:
    told = Told()
    async with running(parent(tmp_path, "serve('key' if number == 1 else None)", 3), told) as task:
        await until(lambda: bool(told.facts))
        children = pids(tmp_path)
        assert len(children) == 3
        assert all(is_alive(pid) for pid in children)
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert [facts.api_key for facts in told.facts] == ["key"]
    assert not any(is_alive(pid) for pid in children)


async def test_wishes_for_one_start_are_told_to_the_first_only(tmp_path: Path) -> None:
    told = Told()
    async with running(parent(tmp_path, "serve()", new_epoch=True, admin_password="open sesame"), told):
        await until(lambda: bool(told.facts))
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        await until(lambda: len(pids(tmp_path)) == 3)
    assert [words[1] for words in births(tmp_path)] == ["True", "False", "False"]


async def test_a_first_that_does_not_start_ends_it_with_its_reason_and_without_a_second_try(tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(StartupError, match="no such database"):
        await parent(tmp_path, "say(failed='no such database')").run(told)
    assert len(births(tmp_path)) == 1
    assert told.facts == []


async def test_a_first_that_crashes_ends_it_with_its_status(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="ended at its start with status 7"):
        await parent(tmp_path, "sys.exit(7)").run(Told())


async def test_a_system_that_starts_no_process_is_told_of_in_a_sentence(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0, database_url="postgresql://h/db")
    with pytest.raises(StartupError, match="no process can be started: no such file"):
        await Workers(settings, 2, command=(str(tmp_path / "missing"),)).run(Told())


async def test_one_that_dies_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    async with running(parent(tmp_path, "serve()"), told):
        await until(lambda: bool(told.facts))
        first, second = pids(tmp_path)
        os.kill(second, signal.SIGKILL)
        await until(lambda: len(pids(tmp_path)) == 3)
        assert is_alive(first)
        assert len(told.facts) == 1
    (record,) = caplog.records
    assert (record.message, record.levelno) == ("worker_ended", logging.ERROR)
    assert vars(record)["status"] == -signal.SIGKILL


async def test_while_one_serves_another_that_does_not_start_is_tried_again_and_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    async with running(
        parent(tmp_path, "serve() if number == 1 else say(failed='too many connections')"), told
    ) as task:
        await until(lambda: len(births(tmp_path)) > 2 * Patience.SAME_FAILURES)
        assert not task.done()
        assert len(told.facts) == 1
    assert "worker_not_started (too many connections)" in caplog.text


async def test_when_none_serves_and_starts_fail_for_the_same_reason_it_gives_up(tmp_path: Path) -> None:
    told = Told()
    script = "serve() if number < 3 else say(failed='gone')"
    async with running(parent(tmp_path, script), told) as task:
        await until(lambda: bool(told.facts))
        for pid in pids(tmp_path):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(StartupError, match="gone"):
            await asyncio.wait_for(task, 20)
    assert len(births(tmp_path)) >= 2 + Patience.SAME_FAILURES


async def test_the_key_is_told_even_if_it_was_asked_to_end_while_it_started(tmp_path: Path) -> None:
    told = Told()
    async with running(parent(tmp_path, "serve('key') if number == 1 else signal.pause()"), told) as task:
        await until(lambda: len(pids(tmp_path)) == 2)
        assert told.facts == []
        os.kill(os.getpid(), signal.SIGINT)
        await task
    assert [facts.api_key for facts in told.facts] == ["key"]


async def test_a_key_that_was_made_while_it_was_asked_to_end_is_told(tmp_path: Path) -> None:
    told = Told()
    script = "signal.signal(signal.SIGTERM, lambda *_: serve('key'))\nsignal.setitimer(signal.ITIMER_REAL, 9)\nsignal.pause()"
    async with running(parent(tmp_path, script, 1), told) as task:
        await until(lambda: len(pids(tmp_path)) == 1)
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert [facts.api_key for facts in told.facts] == ["key"]


async def test_a_caller_that_fails_once_it_is_told_ends_all_of_them(tmp_path: Path) -> None:
    def fail(_facts: Started) -> None:
        raise StartupError("nobody to tell")

    with pytest.raises(StartupError, match="nobody to tell"):
        await parent(tmp_path, "serve()").run(fail)
    assert not any(is_alive(pid) for pid in pids(tmp_path))


async def test_one_that_does_not_drain_in_time_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    async with running(parent(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve()"), told) as task:
        await until(lambda: bool(told.facts))
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert not any(is_alive(pid) for pid in pids(tmp_path))
    assert "workers_killed" in caplog.text


async def test_nobody_waits_at_the_address_once_it_was_asked_to_end(tmp_path: Path) -> None:
    told = Told()
    those = parent(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve()")
    async with running(those, told) as task:
        await until(lambda: bool(told.facts))
        assert those._listener is not None
        listener = those._listener
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: listener.fileno() == -1)
        await task
    assert not any(is_alive(pid) for pid in pids(tmp_path))


# --- what is refused, and what is kept secret -------------------------------------------------------------------------


def test_several_processes_on_a_file_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"2 workers need PostgreSQL, because .* one process's at a time"):
        Workers(Settings(data_dir=tmp_path), 2)


async def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(data_dir=tmp_path, port=port, database_url="postgresql://h/db")
        with pytest.raises(StartupError, match=f"127.0.0.1:{port} is in use"):
            await Workers(settings, 2, command=(sys.executable, "-c", CHILD, str(tmp_path))).run(Told())
    assert births(tmp_path) == []


async def test_no_argument_and_no_variable_of_a_child_holds_the_password(tmp_path: Path) -> None:
    told = Told()
    async with running(parent(tmp_path, "serve()", admin_password="open sesame"), told):
        await until(lambda: bool(told.facts))
        for pid in pids(tmp_path):
            for what in ("cmdline", "environ"):
                seen = Path(f"/proc/{pid}/{what}").read_bytes()
                assert b"geheim" not in seen
                assert b"sesame" not in seen


def test_a_report_is_read_as_it_was_written() -> None:
    for report in (Report(started=Started("http://h", 1, "key", "admin")), Report(failed="no")):
        assert Report.of(report.line()) == report
        assert report.line().count(b"\n") == 1
