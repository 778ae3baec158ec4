"""A PostgreSQL that is gone, comes back, or dies: callers are told so, nothing acknowledged is lost, and nobody restarts
the server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from playcall.models import Cursor
from playcall.server.auth.accounts import create_user
from playcall.server.auth.secrets import API_KEY_PREFIX
from playcall.server.log import LogSlice, NewEvent, TopicEntry, read_log, read_topic
from playcall.server.settings import Settings
from playcall.server.store import dialect
from playcall.server.store.database import Database
from playcall.server.store.tables import MetaRow, UserRow
from playcall.server.upkeep import caretaker
from tests.postgresql import PostgreSQL

from .conftest import Api, RunningServer

pytestmark = pytest.mark.xdist_group("postgresql")

UNAVAILABLE = (503, "database_unavailable")


@pytest.fixture(scope="module")
def own(postgresql: PostgreSQL) -> Iterator[PostgreSQL]:
    """To stop and kill; where the shared one is, it can be had."""
    with PostgreSQL() as running:
        yield running


@pytest.fixture(scope="module")
def server(own: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("faults"),
        database_url=own.new_database(),
        port=0,
        heartbeat_seconds=0.3,
        silent_heartbeats=1_000,
    )
    with RunningServer(settings) as running:
        yield running


@pytest.fixture
def database_url(own: PostgreSQL) -> Iterator[str]:
    yield (url := own.borrow())
    own.give_back(url)


async def until_ready(api: Api) -> None:
    async with asyncio.timeout(20):
        while (await api("GET", "/ready")).status != 200:
            await asyncio.sleep(0.01)


async def test_while_it_is_gone_callers_are_told_when_to_come_back_and_are_served_when_it_is_back(
    api: Api, own: PostgreSQL
) -> None:
    await asyncio.to_thread(own.stop)
    try:
        for method, path, body in (
            ("GET", "/agents", None),
            ("POST", "/agents", {"name": "a"}),
            ("GET", "/ready", None),
        ):
            answer = await api(method, path, json=body)
            assert answer.status == 503, answer
            assert int(answer.headers["Retry-After"]) >= 1
        assert (await api("GET", "/health")).status == 200, "the process lives"
        answer = await api("GET", "/agents", headers={"X-API-Key": API_KEY_PREFIX + "x" * 40})
        assert (answer.status, answer.json["code"]) == UNAVAILABLE, "nobody is taken for an impostor meanwhile"
    finally:
        await asyncio.to_thread(own.start)
    assert (await api("POST", "/agents", json={"name": "a"})).status == 201


@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_an_interruption_between_requests_costs_none_of_them(api: Api, own: PostgreSQL, how: str) -> None:
    """The pools notice that their connections have been closed, and open others."""
    await asyncio.gather(*(api.ok("GET", "/agents") for _ in range(12)))
    if how == "crash":
        await asyncio.to_thread(own.kill)
    else:
        await asyncio.to_thread(own.stop)
    await asyncio.to_thread(own.start)
    await asyncio.gather(*(api.ok("GET", "/agents") for _ in range(12)))
    await asyncio.gather(*(api.ok("POST", "/agents", json={"name": f"{how} {n}"}) for n in range(6)))


async def test_a_socket_stays_through_a_restart_and_gets_what_comes_after(api: Api, own: PostgreSQL) -> None:
    async with (
        api.session.ws_connect(f"{api.server.url}/api/v1/ws", headers=api.headers, protocols=["playcall.v1"]) as socket,
        asyncio.timeout(20),
    ):
        await socket.send_json({"op": "hello", "v": 1, "client": "test"})
        assert (await socket.receive_json())["op"] == "welcome"
        await socket.send_json(
            {"op": "subscribe", "id": 1, "sid": "s", "topic": "agents", "from": "start", "limit": 99}
        )
        assert (await socket.receive_json())["op"] == "subscribed"
        # It has read, and waits. Who is cut off while reading is closed, and comes back.
        assert (await socket.receive_json())["at"] == {"s": 0}
        await asyncio.to_thread(own.restart)
        await until_ready(api)
        created = await api.ok("POST", "/agents", json={"name": "after"})
        while (frame := await socket.receive_json())["op"] != "events":
            assert frame["op"] == "ping"
        assert frame["events"][0]["data"]["agent"]["id"] == created["id"]


async def test_what_was_acknowledged_outlives_crashes_and_a_command_made_again_happens_once(
    api: Api, own: PostgreSQL
) -> None:
    """Eight callers that send each command until it is answered, while the database crashes under them."""
    created: list[str] = []
    refused = 0

    async def create(caller: int) -> None:
        nonlocal refused
        for n in range(12):
            name = f"{caller}.{n}"
            while True:
                answer = await api("POST", "/agents", json={"name": name}, headers={"Idempotency-Key": name})
                if answer.status == 201:
                    created.append(answer.json["id"])
                    break
                assert (answer.status, answer.json["code"]) == UNAVAILABLE
                refused += 1
                await asyncio.sleep(0.02)

    async def crash() -> None:
        for _ in range(4):
            seen = len(created)
            while len(created) < seen + 12:
                await asyncio.sleep(0.001)
            await asyncio.to_thread(own.kill)
            await asyncio.to_thread(own.start)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for caller in range(8):
            tasks.create_task(create(caller))
        tasks.create_task(crash())
    events = await api.events("agents", limit=500)
    assert sorted(event["data"]["agent"]["id"] for event in events) == sorted(created)
    assert [event["seq"] for event in events] == list(range(1, 97))
    assert refused, "no crash met a request"


async def test_locks_of_a_process_that_has_stopped_are_let_go(
    own: PostgreSQL, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "idle_in_transaction_session_timeout" in dialect._LIMITS
    monkeypatch.setitem(dialect._LIMITS, "idle_in_transaction_session_timeout", "200ms")
    stopped, other = await Database.create(database_url), await Database.create(database_url)

    async def stop_in_the_middle() -> None:
        async with stopped.write() as tx:
            await tx.session.execute(update(MetaRow).values(value="late"))
            holding.set()
            await released.wait()

    try:
        holding, released = asyncio.Event(), asyncio.Event()
        late = asyncio.create_task(stop_in_the_middle())
        await holding.wait()
        async with asyncio.timeout(10), other.write() as tx:
            await tx.session.execute(update(MetaRow).values(value="first"))
        released.set()
        with pytest.raises(OperationalError):
            await late
        assert await other.meta("epoch") == "first"
    finally:
        await stopped.close()
        await other.close()


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.create(database_url)
    yield database
    await database.close()


async def test_of_two_transactions_that_wait_for_each_other_one_is_told_to_come_again(database: Database) -> None:
    async with database.write() as tx:
        tx.session.add_all([MetaRow(key="a", value=""), MetaRow(key="b", value="")])
    both = asyncio.Barrier(2)

    async def write(*keys: str) -> None:
        async with database.write() as tx:
            for key in keys:
                await tx.session.execute(update(MetaRow).where(MetaRow.key == key).values(value=key))
                if key == keys[0]:
                    await both.wait()

    ended = await asyncio.gather(write("a", "b"), write("b", "a"), return_exceptions=True)
    assert [type(end) for end in ended if end is not None] == [OperationalError]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", OperationalError),
        ("SELECT pg_sleep(10)", OperationalError),
        ("SELECT 1 / 0", None),
        ("SELECT nothing", None),
    ],
)
async def test_what_it_cannot_do_now_is_told_from_what_we_ask_wrongly(
    database: Database, statement: str, expected: type[Exception] | None
) -> None:
    async def ask() -> None:
        async with database.write() as tx:
            await tx.session.execute(text("SET LOCAL statement_timeout = 100"))
            await tx.session.execute(text(statement))

    with pytest.raises(Exception, match="SQL") as caught:
        await ask()
    assert isinstance(caught.value, OperationalError) == (expected is OperationalError)


async def test_a_writer_that_is_cancelled_stays_cancelled(database: Database) -> None:
    """SQLAlchemy holds its connection for lost, which is no fault of the database's."""

    async def write() -> None:
        async with database.write() as tx:
            await tx.session.execute(text("SELECT 1"))
            asking.set()
            await tx.session.execute(text("SELECT pg_sleep(20)"))

    asking = asyncio.Event()
    writing = asyncio.create_task(write())
    await asking.wait()
    await asyncio.sleep(0.01)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing


async def test_a_database_that_may_only_be_read_is_read(api: Api, own: PostgreSQL) -> None:
    """As after a failover to one that has not been promoted yet."""
    database = api.server.core.database
    name = database.engine.url.database

    async def make(setting: str) -> None:
        for statement in (
            f'ALTER DATABASE "{name}" SET default_transaction_read_only = {setting}',
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        ):
            await asyncio.to_thread(own.execute, own.url("postgres"), statement)  # type: ignore[arg-type]

    await make("on")
    try:
        async with asyncio.timeout(10):
            while (read := await api("GET", "/agents")).status == 503:
                pass  # by a connection that has been ended, which the server has not heard of yet
        assert read.status == 200
        answer = await api("POST", "/agents", json={"name": "a"})
        assert (answer.status, answer.json["code"]) == UNAVAILABLE
        assert "Retry-After" in answer.headers
    finally:
        await make("off")
    await until_ready(api)
    assert (await api("POST", "/agents", json={"name": "a"})).status == 201


async def test_servers_that_start_at_the_same_time_on_an_empty_database_make_one_of_it(own: PostgreSQL) -> None:
    url = own.new_database(migrated=False)
    async with asyncio.timeout(30):
        opened = await asyncio.gather(*(Database.create(url) for _ in range(4)))
    try:
        assert len({await database.meta("epoch") for database in opened}) == 1
    finally:
        for database in opened:
            await database.close()


async def test_a_key_that_is_revoked_closes_its_sockets_in_every_process(
    api: Api, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "REVOKED_SECONDS", 1_000.0)
    with RunningServer(server.core.settings) as second:
        await until(lambda: second.core.database.signals.is_connected)
        key = await api.ok("POST", "/auth/api-keys", json={"name": "of a socket"})
        headers = {"X-API-Key": key["secret"]}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{second.url}/api/v1/ws", headers=headers, protocols=["playcall.v1"]) as socket,
            asyncio.timeout(20),
        ):
            await socket.send_json({"op": "hello", "v": 1, "client": "test"})
            assert (await socket.receive_json())["op"] == "welcome"
            assert (await api("DELETE", f"/auth/api-keys/{key['id']}")).status == 204
            while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4401)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_many_processes_append_to_the_same_topics_while_a_crash_cuts_them_off(
    own: PostgreSQL, database_url: str
) -> None:
    """Seqs without holes, and what was committed is there, in the order of each writer."""
    processes = [await Database.create(database_url) for _ in range(3)]
    async with processes[0].write() as tx:
        owner = (await create_user(tx.session, "somebody")).id
    committed: list[tuple[int, int]] = []
    done = 0

    async def append(database: Database, writer: int) -> None:
        nonlocal done
        for n in range(60):
            with contextlib.suppress(OperationalError):
                async with database.write() as tx:
                    topics = (TopicEntry("runs"), TopicEntry(f"run:{writer % 4}"))
                    topics = topics if n % 2 else topics[::-1]
                    tx.emit(NewEvent(owner_id=owner, type="a", data={"at": [writer, n]}, topics=topics))
                committed.append((writer, n))
            done += 1

    async def crash() -> None:
        await until(lambda: done > 200)
        await asyncio.to_thread(own.kill)
        await asyncio.to_thread(own.start)

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crash())
            for writer in range(12):
                tasks.create_task(append(processes[writer % 3], writer))
        async with processes[0].read() as session:
            assert await session.scalar(select(UserRow.id)) == owner
            state = await read_topic(session, owner, "runs")
            assert state is not None
            found = await read_log(session, owner, "runs", Cursor(state.epoch, 0), limit=10_000)
    finally:
        for database in processes:
            await database.close()
    assert isinstance(found, LogSlice), "there is no hole"
    stored = [event.data for event in found.events]
    assert len(stored) == len(set(stored))
    assert {f'{{"at":[{writer},{n}]}}' for writer, n in committed} <= set(stored)
    assert len(committed) > 200
