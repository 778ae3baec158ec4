"""The real server where two things happen at once: each is placed exactly where it would hurt, and nothing is lost.

Nothing is left to timing. A hook stands where the server reads its log, and commits there, with the server's own writer,
what somebody else might have committed at that moment.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

import aiohttp
import pytest
from sqlalchemy import select, update

from playcall import ApiKey
from playcall.models import Run
from playcall.models.cursor import Cursor
from playcall.models.topic import RUNS, run_topic
from playcall.realtime.items import Gap
from playcall.server.clock import utc_now
from playcall.server.engine.announce import announce_run
from playcall.server.ids import new_id
from playcall.server.log import NewEvent, TopicEntry
from playcall.server.log.retention import expire_events
from playcall.server.settings import DATABASE_FILE, Settings
from playcall.server.store.tables import EventRow, RunRow, TopicRow
from playcall.testing.oracle import judge, read_log_async
from tests.server.conftest import RunningServer, User
from tests.services.websocket_faces import FACES, Face, take, until

MakeFace = Callable[[str, str], Face]
READERS = {"websocket": "playcall.server.sockets.subscription", "long_poll": "playcall.server.routes.events"}
"""Where the server reads a subscription's place for a client of either way."""
LOG_READERS = {**READERS, "websocket": "playcall.server.log.shared"}
"""Where it reads what follows."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(Settings(data_dir=tmp_path_factory.mktemp("races"), port=0)) as running:
        yield running


@pytest.fixture
async def user(server: RunningServer) -> User:
    return await server.new_user()


@pytest.fixture(params=READERS)
def via(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FACES)
async def make(request: pytest.FixtureRequest, via: str) -> AsyncIterator[MakeFace]:
    made: list[Face] = []

    def make_face(url: str, key: str) -> Face:
        made.append(FACES[request.param](url, auth=ApiKey(key), via=via))
        return made[-1]

    yield make_face
    for face in made:
        await face.close()


@pytest.fixture
def face(make: MakeFace, server: RunningServer, user: User) -> Face:
    return make(server.url, user.key)


def hook_read(
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    act: Callable[[], Awaitable[object]],
    *,
    when: Literal["before", "after"],
    topic: str,
    skip: int = 0,
) -> list[str]:
    """Has `act` done once, in the server's loop, before or after a read of `topic` by the function at `where`.

    Returns a list that holds the topic once that has happened. `skip`: reads that go by before.
    """
    done: list[str] = []
    left = skip
    original = resolve_name(where)

    async def hooked(session: Any, owner_id: str, read: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        is_it = read == topic and not done and left == 0
        left -= read == topic and left > 0
        if is_it and when == "before":
            done.append(read)
            await act()
        found = await original(session, owner_id, read, *args, **kwargs)
        if is_it and when == "after":
            done.append(read)
            await act()
        return found

    monkeypatch.setattr(where, hooked)
    return done


# --- a commit between the two reads of a snapshot ---------------------------------------------------------------------


async def new_run(server: RunningServer, user: User) -> str:
    now = utc_now()
    row = RunRow(
        id=new_id("run"), owner_id=user.id, version=1, created_at=now, updated_at=now, playbook_id="pbk_1",
        playbook_name="report", playbook_version=1, playbook={}, status="pending", wish=None, inputs={}, output=None,
        error=None, at_step=None, steps_total=1, steps_finished=0, retry_of=None, idempotency_key=None, request_hash="",
        started_at=None, ended_at=None,
    )  # fmt: skip

    async def add() -> str:
        async with server.core.database.write() as tx:
            tx.session.add(row)
            announce_run(tx, row, "created")
        return row.id

    return await server.acall(add())


async def move_run(server: RunningServer, run_id: str, status: str, what: str) -> None:
    """On the server's loop."""
    async with server.core.database.write() as tx:
        row = (await tx.session.execute(select(RunRow).where(RunRow.id == run_id))).scalar_one()
        row.status = status
        row.version += 1
        announce_run(tx, row, what)


@pytest.mark.parametrize("read", ["one run", "all runs"])
async def test_a_commit_between_the_two_reads_of_a_snapshot_is_in_both_or_in_neither(
    monkeypatch: pytest.MonkeyPatch, server: RunningServer, user: User, face: Face, read: str
) -> None:
    """State and cursor are read by two statements. What is committed between them follows the cursor, once."""
    run_id = await new_run(server, user)
    topic, path = (run_topic(run_id), f"/runs/{run_id}") if read == "one run" else (RUNS, "/runs")
    done = hook_read(
        monkeypatch,
        "playcall.server.routes.runs.read_topic",
        lambda: move_run(server, run_id, "running", "started"),
        when="before",
        topic=topic,
    )
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/api/v1{path}", headers={"X-API-Key": user.key}) as answer,
    ):
        assert answer.status == 200
        cursor = Cursor.parse(answer.headers["X-Event-Cursor"])
        body = await answer.json()
    assert done, "nothing was committed between the reads"
    run = Run.model_validate(body if read == "one run" else body["items"][0])

    async with face.subscribe(topic, start=cursor) as feed:
        await server.acall(move_run(server, run_id, "completed", "completed"))
        items = await take(feed, 3 - cursor.seq)
    seen = [(run.status, run.version)] + [(item.data.run.status, item.data.run.version) for item in items]
    assert seen == [("pending", 1), ("running", 2), ("completed", 3)]


# --- an event while a subscription starts -----------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["start", "head", "cursor"])
@pytest.mark.parametrize(
    ("read", "when"),
    [("read_place", "after"), ("read_log", "before"), ("read_log", "after")],
    ids=["after its answer", "before the first read", "before the wait"],
)
async def test_an_event_appended_while_a_subscription_starts_comes_once(
    monkeypatch: pytest.MonkeyPatch,
    server: RunningServer,
    user: User,
    face: Face,
    via: str,
    read: str,
    when: Literal["before", "after"],
    start: str,
) -> None:
    # What is missed here would come a second later by the poll for wake-ups that were missed: it must not be missed.
    monkeypatch.setattr("playcall.server.log.wake.Wakes.wake_behind", lambda *_: None)
    await server.emit(user, "run:1", count=2)
    epoch = await server.acall(server.core.database.meta("epoch"))

    async def append() -> None:
        async with server.core.database.write() as tx:
            tx.emit(NewEvent(owner_id=user.id, type="test.meanwhile", data={}, topics=(TopicEntry("run:1"),)))

    if via == "websocket" and start == "head" and read == "read_log":
        pytest.skip("a subscription that begins at the head reads nothing before it waits")
    # A long poll asks twice: the first request begins, the second waits.
    skip = 1 if via == "long_poll" else 0
    readers = READERS if read == "read_place" else LOG_READERS
    done = hook_read(monkeypatch, f"{readers[via]}.{read}", append, when=when, topic="run:1", skip=skip)
    begins: Any = Cursor(epoch, 1) if start == "cursor" else start
    after = {"start": 0, "cursor": 1, "head": 2}[start]
    async with face.subscribe("run:1", start=begins) as feed:
        items = await take(feed, 3 - after)
        assert done, "nothing was appended meanwhile"
        await server.emit(user, "run:1")
        items += await take(feed, 1)
    log = await read_log_async(server.url, "run:1", auth=ApiKey(user.key))
    assert len(log) == 4
    verdict = judge(log, items, after=after)
    assert verdict.ok, verdict.explain()


# --- retention that overtakes a reader --------------------------------------------------------------------------------


async def expire(server: RunningServer, user: User, topic: str, floor: int) -> None:
    """What lies below `floor` has grown old, and retention comes round; on the server's loop."""
    now = utc_now()
    async with server.core.database.write() as tx:
        mine = select(TopicRow.id).where(TopicRow.owner_id == user.id, TopicRow.name == topic).scalar_subquery()
        old = update(EventRow).where(EventRow.topic_id == mine, EventRow.seq < floor)
        await tx.session.execute(old.values(time=now - timedelta(days=30)))
    assert await expire_events(server.core.database, before=now - timedelta(days=1)) == floor - 1


async def test_retention_that_overtakes_a_reader_without_credit_is_told_where_the_events_would_have_stood(
    server: RunningServer, user: User, face: Face
) -> None:
    await server.emit(user, "run:1", count=20)
    log = await read_log_async(server.url, "run:1", auth=ApiKey(user.key))
    async with face.subscribe("run:1", start="start", on_gap="yield", window=4) as feed:
        await until(lambda: feed.buffered == 4)
        await server.acall(expire(server, user, "run:1", 15))
        items = await take(feed, 11)
    assert [item.seq if not isinstance(item, Gap) else "gap" for item in items] == [1, 2, 3, 4, "gap", *range(15, 21)]
    assert (items[4].reason, items[4].lost_after.seq, items[4].resume.seq) == ("expired", 4, 14)
    verdict = judge(log, items)
    assert verdict.ok, verdict.explain()


async def test_retention_between_two_reads_of_a_long_replay_is_told_where_the_events_would_have_stood(
    monkeypatch: pytest.MonkeyPatch, server: RunningServer, user: User, face: Face, via: str
) -> None:
    await server.emit(user, "run:1", count=300)
    log = await read_log_async(server.url, "run:1", auth=ApiKey(user.key))
    monkeypatch.setattr(f"{READERS[via]}.READ_EVENTS", 100)
    done = hook_read(
        monkeypatch,
        f"{LOG_READERS[via]}.read_log",
        lambda: expire(server, user, "run:1", 151),
        when="after",
        topic="run:1",
    )
    async with face.subscribe("run:1", start="start", on_gap="yield", window=1_000) as feed:
        items = await take(feed, 251)
    assert done
    assert [item.seq if not isinstance(item, Gap) else "gap" for item in items] == [
        *range(1, 101),
        "gap",
        *range(151, 301),
    ]
    verdict = judge(log, items)
    assert verdict.ok, verdict.explain()


# --- a backup restored under a connected client -----------------------------------------------------------------------


def back_up(folder: Path, to: Path) -> None:
    """As an administrator does it, with SQLite's own backup."""
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as live, closing(sqlite3.connect(to)) as copy:
        live.backup(copy)


def restore(folder: Path, backup: Path) -> None:
    for file in folder.glob(f"{DATABASE_FILE}*"):
        file.unlink()
    (folder / DATABASE_FILE).write_bytes(backup.read_bytes())


@pytest.mark.parametrize("appended", [0, 3, 10], ids=["as it was saved", "of the same length", "longer than before"])
async def test_a_backup_restored_under_a_connected_client_is_told_as_a_gap_before_the_new_logs_events(
    tmp_path: Path, make: MakeFace, appended: int
) -> None:
    """Five events in the backup, three after it that the client has seen and nobody has any more; then other ones."""
    folder, backup = tmp_path / "data", tmp_path / "backup.sqlite3"
    settings = Settings(data_dir=folder, port=0, goodbye_spread_ms=0)
    with RunningServer(settings) as first:
        user = await first.new_user()
        port = first.started.port
        face = make(first.url, user.key)
        await first.emit(user, "run:1", count=5, data={"of": "both"})
        feed = face.subscribe("run:1", start="start", on_gap="yield")
        await feed.open()
        before = await take(feed, 5)
        await asyncio.to_thread(back_up, folder, backup)
        await first.emit(user, "run:1", count=3, data={"of": "the first"})
        before += await take(feed, 3)
        old_epoch = await first.acall(first.core.database.meta("epoch"))
        old_log = await read_log_async(first.url, "run:1", auth=ApiKey(user.key))
    assert judge(old_log, before).ok

    restore(folder, backup)
    # On another port, where the client does not look for it, it grows as far as it may before the client is back.
    with RunningServer(settings) as elsewhere:
        await elsewhere.emit(user, "run:1", count=appended, data={"of": "the second"})
    with RunningServer(Settings(data_dir=folder, port=port)) as second:
        face.client.wake()
        async with asyncio.timeout(15):
            gap = await anext(feed)
        assert isinstance(gap, Gap), "another log's event, and not a word about it"
        assert gap.lost_after == Cursor(old_epoch, 8)
        await second.emit(user, "run:1", data={"of": "the second, live"})
        new_log = await read_log_async(second.url, "run:1", auth=ApiKey(user.key))
        expected = [event for event in new_log if event.seq > gap.resume.seq]
        assert await take(feed, len(expected)) == expected
        assert [event.data["of"] for event in new_log[5 + appended :]] == ["the second, live"]
        assert feed.buffered == 0
        await feed.close()
