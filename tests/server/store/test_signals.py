"""Words from process to process: each once, together, and again after a connection that was lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from playcall.server.log import NewEvent, TopicEntry
from playcall.server.store import signals as module
from playcall.server.store.database import Database
from playcall.server.store.signals import MAX_PAYLOAD_BYTES, SignalKind, Signals, payloads
from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.postgresql_only("SQLite has one process")

KINDS: list[SignalKind] = ["topic", "agent_changed", "stop_work", "credential_revoked"]


@pytest_asyncio.fixture
async def other(database: Database) -> AsyncIterator[Database]:
    """The same database, as another process has it."""
    other = Database.at(database.url)
    async with database.signals.listening(), other.signals.listening():
        await connected(database.signals, other.signals)
        yield other
    await other.close()


async def connected(*all_signals: Signals) -> None:
    async with asyncio.timeout(10):
        while not all(signals.is_connected for signals in all_signals):
            await asyncio.sleep(0.005)


class Heard:
    """What another process hears."""

    def __init__(self, signals: Signals, *kinds: SignalKind) -> None:
        self.words: list[tuple[str, str]] = []
        self._moved = asyncio.Event()
        for kind in kinds:
            signals.on(kind, lambda word, kind=kind: self._hear(kind, word))

    def _hear(self, kind: str, id: str) -> None:
        self.words.append((kind, id))
        self._moved.set()

    async def until(self, *words: tuple[str, str]) -> None:
        async with asyncio.timeout(10):
            while not set(words) <= set(self.words):
                self._moved.clear()
                await self._moved.wait()


async def listener_pids(postgresql: PostgreSQL, url: str) -> list[int]:
    found = await asyncio.to_thread(
        postgresql.execute,
        url,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_notify%'"
        " OR datname = current_database() AND query LIKE 'LISTEN%'",
    )
    return [pid for (pid,) in found]


async def test_what_one_publishes_the_others_hear_and_it_does_not(database: Database, other: Database) -> None:
    own, theirs = Heard(database.signals, *KINDS), Heard(other.signals, *KINDS)
    for kind in KINDS:
        database.signals.publish(kind, f"the {kind}'s «id»")
    await theirs.until(*((kind, f"the {kind}'s «id»") for kind in KINDS))
    other.signals.publish("stop_work", "back")
    await own.until(("stop_work", "back"))
    assert own.words == [("stop_work", "back")]


async def test_a_commit_wakes_who_waits_in_another_process(database: Database, other: Database, owner: str) -> None:
    with other.wakes.waiting(owner, "run:1") as waiter, other.wakes.waiting(owner, "run:2") as bystander:
        async with database.write() as tx:
            tx.emit(NewEvent(owner_id=owner, type="a", data={}, topics=(TopicEntry("run:1"),)))
        await asyncio.wait_for(waiter.wait(), 10)
        assert not bystander.is_set()


async def test_a_transaction_that_fails_says_nothing(database: Database, other: Database, owner: str) -> None:
    theirs = Heard(other.signals, "topic", "stop_work")

    async def fail() -> None:
        async with database.write() as tx:
            tx.emit(NewEvent(owner_id=owner, type="a", data={}, topics=(TopicEntry("run:1"),)))
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await fail()
    database.signals.publish("stop_work", "afterwards")
    await theirs.until(("stop_work", "afterwards"))
    assert theirs.words == [("stop_work", "afterwards")]


async def test_what_comes_at_the_same_time_is_told_together_and_each_once(database: Database, other: Database) -> None:
    theirs = Heard(other.signals, "topic")
    told: list[list[str]] = []
    original = module.payloads

    def counting(signals: Any) -> list[str]:
        told.append(texts := original(signals))
        return texts

    module.payloads = counting
    try:
        for _ in range(3):
            for n in range(2_000):
                database.signals.publish("topic", f"usr_{n:024} run:{n:024}")
        words = {("topic", f"usr_{n:024} run:{n:024}") for n in range(2_000)}
        await theirs.until(*words)
    finally:
        module.payloads = original
    assert len(theirs.words) == 2_000
    assert len(told) == 1


async def test_from_another_thread_it_is_told_too(database: Database, other: Database) -> None:
    theirs = Heard(other.signals, "agent_changed")
    await asyncio.to_thread(database.signals.publish, "agent_changed", "agt_1")
    await theirs.until(("agent_changed", "agt_1"))


async def test_a_connection_that_is_lost_comes_back_and_everybody_looks_up(
    database: Database, other: Database, postgresql: PostgreSQL
) -> None:
    theirs = Heard(other.signals, "stop_work")
    looked_up = asyncio.Event()
    other.signals.on_missed(looked_up.set)
    with other.wakes.waiting("somebody", "run:1") as waiter:
        for pid in await listener_pids(postgresql, database.url):
            await asyncio.to_thread(postgresql.execute, database.url, f"SELECT pg_terminate_backend({pid})")  # type: ignore[arg-type]
        await asyncio.wait_for(waiter.wait(), 10)
        await asyncio.wait_for(looked_up.wait(), 10)
    await connected(database.signals, other.signals)
    database.signals.publish("stop_work", "run_1")
    await theirs.until(("stop_work", "run_1"))


async def test_whatever_the_driver_raises_the_connection_comes_back_and_what_was_untold_is_told(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # asyncpg has errors of its own inside, of no class that others raise, when a connection is ended in the middle.
    theirs, raised = Heard(other.signals, "stop_work"), 0
    execute = asyncpg.Connection.execute

    async def fails_once(connection: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal raised
        if "pg_notify" in query and not raised:
            raised += 1
            raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")
        return await execute(connection, query, *args, **kwargs)

    monkeypatch.setattr(asyncpg.Connection, "execute", fails_once)
    database.signals.publish("stop_work", "a")
    await theirs.until(("stop_work", "a"))
    assert raised == 1
    await connected(database.signals)


async def test_a_connection_that_only_seems_to_be_there_is_found_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the other machine has lost its power: nothing says so."""
    attempts = asyncio.Semaphore(0)

    class Silent:
        def add_termination_listener(self, _callback: Any) -> None:
            pass

        async def add_listener(self, _channel: str, _callback: Any) -> None:
            attempts.release()

        async def execute(self, *_args: Any, timeout: float) -> None:
            async with asyncio.timeout(timeout):
                await asyncio.Event().wait()

        def terminate(self) -> None:
            pass

    async def connect(_url: Any) -> Any:
        return Silent()

    monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.01)
    async with asyncio.timeout(10), database.signals.listening():
        for _ in range(3):
            await attempts.acquire()


async def test_a_word_that_nobody_understands_and_a_callback_that_fails_stop_nothing(
    database: Database, other: Database, postgresql: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_id: str) -> None:
        raise ValueError("a secret")

    async def fails_later(_id: str) -> None:
        raise KeyError("a secret")

    other.signals.on("stop_work", fails)
    other.signals.on("stop_work", fails_later)
    theirs = Heard(other.signals, "stop_work")
    for payload in ("garbage", "[1]", '[["a kind of later", "id"]]', '{"a": 1}', '[["stop_work"]]', ""):
        await asyncio.to_thread(postgresql.execute, database.url, f"NOTIFY playcall, '{payload}'")  # type: ignore[arg-type]
    database.signals.publish("stop_work", "run_1")
    await theirs.until(("stop_work", "run_1"))
    await asyncio.sleep(0)
    failed = [vars(record)["error"] for record in caplog.records if record.getMessage() == "signal_failed"]
    assert sorted(failed) == ["KeyError", "ValueError"]
    assert "a secret" not in caplog.text


async def test_sqlite_has_one_process_and_tells_nobody(tmp_path: Any) -> None:
    signals = Signals(f"sqlite+aiosqlite:///{tmp_path}/x")
    async with signals.listening():
        signals.publish("topic", "a b")
        assert not signals.is_connected


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.text(st.characters(exclude_categories=["Cs"]), max_size=300)), max_size=200
    )
)
def test_payloads_hold_everything_and_none_is_too_large(signals: list[tuple[SignalKind, str]]) -> None:
    texts = payloads(signals)
    assert all(len(text.encode()) <= MAX_PAYLOAD_BYTES for text in texts)
    heard = [(kind, word) for text in texts for kind, *words in json.loads(text) for word in words]
    assert sorted(heard) == sorted(signals)
