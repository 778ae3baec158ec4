"""Stores of cursors: forward only, by whichever thread or process; and what a file of them survives."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import random
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from playcall.errors import ConfigurationError, InvalidArgumentError, RealtimeError
from playcall.models.cursor import Cursor
from playcall.models.ids import EventId
from playcall.realtime.cursor_file import SqliteCursors
from playcall.realtime.cursors import CursorStore, MemoryCursors, claim
from playcall.realtime.own_thread import OwnThread

STORES = ["memory", "file"]


def at(seq: int, epoch: str = "e1", event_id: str | None = None) -> Cursor:
    return Cursor(epoch, seq, None if event_id is None else EventId(event_id))


def exact(cursor: Cursor | None) -> tuple[str, int, str | None] | None:
    """With the id, which equality of cursors leaves out."""
    return None if cursor is None else (cursor.epoch, cursor.seq, cursor.event_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cursors.db"


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[CursorStore]:
    if request.param == "memory":
        yield MemoryCursors()
    else:
        with SqliteCursors(path) as cursors:
            yield cursors


# --- both stores ------------------------------------------------------------------------------------------------------


async def test_what_was_saved_is_loaded_with_the_id_of_its_event(store: CursorStore) -> None:
    assert await store.load("a") is None
    await store.save("a", at(3, event_id="x"))
    await store.save("b", at(7))
    assert exact(await store.load("a")) == ("e1", 3, "x")
    assert exact(await store.load("b")) == ("e1", 7, None)


async def test_within_an_epoch_a_store_moves_forward_only(store: CursorStore) -> None:
    await store.save("n", at(5, event_id="five"))
    await store.save("n", at(3, event_id="three"))
    assert exact(await store.load("n")) == ("e1", 5, "five")
    await store.save("n", at(6))
    assert exact(await store.load("n")) == ("e1", 6, None)


async def test_an_id_that_is_known_at_a_place_stays_and_one_that_becomes_known_is_added(store: CursorStore) -> None:
    await store.save("n", at(5))
    await store.save("n", at(5, event_id="five"))
    await store.save("n", at(5))
    assert exact(await store.load("n")) == ("e1", 5, "five")


async def test_another_epoch_replaces_what_was_there(store: CursorStore) -> None:
    await store.save("n", at(5, event_id="five"))
    await store.save("n", at(0, "e2"))
    assert exact(await store.load("n")) == ("e2", 0, None)


async def test_any_name_is_kept_as_it_is(store: CursorStore) -> None:
    names = ["tasks?types=task.*,run.*", "'; DROP TABLE playcall_cursors; --", "", "ключ", "x" * 1_000]
    for seq, name in enumerate(names):
        await store.save(name, at(seq))
    assert [await store.load(name) for name in names] == [at(seq) for seq in range(len(names))]


def test_many_threads_and_loops_save_at_once_and_the_furthest_stands(store: CursorStore) -> None:
    async def save_some(seed: int) -> None:
        seqs = list(range(1, 101))
        random.Random(seed).shuffle(seqs)
        await asyncio.gather(*(store.save("n", at(seq, event_id=f"id-{seq}")) for seq in seqs))

    threads = [threading.Thread(target=lambda seed=seed: asyncio.run(save_some(seed))) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert exact(asyncio.run(store.load("n"))) == ("e1", 100, "id-100")


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_a_file_is_opened_anew_and_has_what_was_saved(path: Path) -> None:
    async with SqliteCursors(path) as cursors:
        await cursors.save("n", at(5, event_id="five"))
        assert repr(cursors) == f"SqliteCursors({str(path)!r})"
    async with SqliteCursors(str(path)) as cursors:
        assert exact(await cursors.load("n")) == ("e1", 5, "five")


async def test_a_closed_file_says_so_and_leaves_nothing_beside_it(path: Path) -> None:
    cursors = SqliteCursors(path)
    saving = asyncio.ensure_future(cursors.save("n", at(1)))
    await asyncio.sleep(0)
    async with cursors:
        pass
    await saving  # what was asked for before the end is done
    for again in (cursors.load("n"), cursors.save("n", at(2))):
        with pytest.raises(RealtimeError, match=r"cursors\.db is closed"):
            await again
    cursors.close()
    assert [each.name for each in path.parent.iterdir()] == ["cursors.db"]


def test_a_file_that_was_never_used_is_never_made(path: Path) -> None:
    before = threading.active_count()
    with SqliteCursors(path):
        assert threading.active_count() == before
    assert not path.exists()


async def test_what_is_no_database_is_named_and_left_alone(path: Path) -> None:
    path.write_text("some notes of mine\n" * 100)
    async with SqliteCursors(path) as cursors:
        with pytest.raises(ConfigurationError, match=r"cursors\.db: file is not a database"):
            await cursors.load("n")
        with pytest.raises(ConfigurationError, match="not a database"):
            await cursors.save("n", at(1))
    assert path.read_text() == "some notes of mine\n" * 100


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with SqliteCursors(tmp_path / "nowhere" / "cursors.db") as cursors:
        with pytest.raises(ConfigurationError, match=r"nowhere/cursors\.db: unable to open"):
            await cursors.load("n")
        (tmp_path / "nowhere").mkdir()
        assert await cursors.load("n") is None  # it is tried anew each time


async def test_a_row_that_is_no_cursor_is_named(path: Path) -> None:
    async with SqliteCursors(path) as cursors:
        await cursors.save("n", at(1))
        with _raw(path) as database:
            database.execute("UPDATE playcall_cursors SET seq = -4")
        with pytest.raises(ConfigurationError, match="under 'n' is no cursor"):
            await cursors.load("n")


@contextmanager
def _raw(path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        yield database
    finally:
        database.close()


async def test_nothing_blocks_the_loop_while_another_process_holds_the_file(path: Path) -> None:
    async with SqliteCursors(path) as cursors:
        await cursors.save("n", at(1))
        with _raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            saving = asyncio.ensure_future(cursors.save("n", at(2)))
            for _ in range(100):
                await asyncio.sleep(0.001)
            assert not saving.done()
            other.execute("COMMIT")
        await saving
        assert await cursors.load("n") == at(2)


async def test_a_new_file_is_opened_when_others_have_let_go_of_it(path: Path) -> None:
    with _raw(path) as other:
        other.execute("CREATE TABLE theirs (x)")  # not in WAL mode yet: to change that, SQLite does not wait
        other.execute("BEGIN IMMEDIATE")
        async with SqliteCursors(path) as cursors:
            saving = asyncio.ensure_future(cursors.save("n", at(1)))
            for _ in range(50):
                await asyncio.sleep(0.001)
            assert not saving.done()
            other.execute("COMMIT")
            await saving
            assert await cursors.load("n") == at(1)


async def test_a_file_that_stays_locked_is_an_error_that_says_what_follows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playcall.realtime.cursor_file.BUSY_SECONDS", 0.05)
    async with SqliteCursors(path) as cursors:
        await cursors.save("n", at(1))
        with _raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(RealtimeError, match=r"could not be kept in .*locked.*does not count as processed"):
                await cursors.save("n", at(2))
            assert await cursors.load("n") == at(1)
            other.execute("ROLLBACK")
        await cursors.save("n", at(2))


def test_a_store_that_is_dropped_without_closing_ends_its_thread_quietly(path: Path) -> None:
    cursors = SqliteCursors(path)
    asyncio.run(cursors.save("n", at(1)))
    (thread,) = [each for each in threading.enumerate() if each.name == "playcall-cursors"]
    del cursors
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    assert [each.name for each in path.parent.iterdir()] == ["cursors.db"]


def test_a_store_travels_to_another_process_by_its_path(path: Path) -> None:
    with SqliteCursors(path) as cursors, pickle.loads(pickle.dumps(cursors)) as twin:
        asyncio.run(cursors.save("n", at(4)))
        assert asyncio.run(twin.load("n")) == at(4)


# --- processes --------------------------------------------------------------------------------------------------------

HEAD = """
import asyncio, os, random, signal, sys, threading
from playcall.models.cursor import Cursor
from playcall.realtime.cursor_file import SqliteCursors
path = sys.argv[1]
"""


def program(path: Path, body: str, *more: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", HEAD + textwrap.dedent(body), str(path), *more]


def run(path: Path, body: str, *more: str) -> str:
    done = subprocess.run(program(path, body, *more), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_processes_that_open_a_new_file_at_once_all_succeed_and_the_furthest_stands(path: Path) -> None:
    body = """
        async def main():
            async with SqliteCursors(path) as cursors:
                seqs = list(range(1, 101))
                random.shuffle(seqs)
                for seq in seqs:
                    await cursors.save("n", Cursor("e1", seq, f"id-{seq}"))
        print("ready", flush=True)
        sys.stdin.readline()
        asyncio.run(main())
    """
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(program(path, body), text=True, **pipes) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = [process.communicate("go\n", timeout=60) for process in processes]
    assert [err for _, err in said] == [""] * 4
    with SqliteCursors(path) as cursors:
        assert exact(asyncio.run(cursors.load("n"))) == ("e1", 100, "id-100")


def test_what_was_reported_as_saved_survives_sigkill_at_any_moment(path: Path) -> None:
    body = """
        async def main():
            cursors = SqliteCursors(path)
            start = await cursors.load("n")
            seq = 0 if start is None else start.seq
            while True:
                seq += 1
                await cursors.save("n", Cursor("e1", seq, f"id-{seq}"))
                os.write(1, b"%d\\n" % seq)
        asyncio.run(main())
    """
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    reported = 0
    for _ in range(8):
        process = subprocess.Popen(program(path, body), stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 200)):
            process.stdout.readline()
        process.kill()
        out, _ = process.communicate()
        whole = out.rpartition(b"\n")[0].split()
        with SqliteCursors(path) as cursors:
            stored = asyncio.run(cursors.load("n"))
        assert stored is not None
        assert stored.event_id == f"id-{stored.seq}"
        assert stored.seq > reported
        if whole:
            assert stored.seq in (int(whole[-1]), int(whole[-1]) + 1)  # saved, and killed before it could say so
        reported = stored.seq


def test_a_full_disk_is_an_error_that_says_so_and_what_was_there_stays(path: Path) -> None:
    said = run(
        path,
        """
        import resource
        async def main():
            async with SqliteCursors(path) as cursors:
                await cursors.save("n", Cursor("e1", 1))
                resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path + "-wal"), resource.RLIM_INFINITY))
                try:
                    for seq in range(2, 1_000):
                        await cursors.save("n", Cursor("e1", seq))
                        last = seq
                except Exception as error:
                    print(type(error).__name__, error)
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                print((await cursors.load("n")).seq == seq - 1)
                await cursors.save("n", Cursor("e1", seq))
                print((await cursors.load("n")).seq == seq)
        asyncio.run(main())
        """,
    )
    error, *then = said.splitlines()
    assert error.startswith(f"RealtimeError the cursor 'n' could not be kept in {path}: ")
    assert "full" in error or "disk I/O error" in error
    assert error.endswith("; the event does not count as processed, and comes again after a restart")
    assert then == ["True", "True"]


def test_a_forked_child_opens_the_file_for_itself_and_harms_nothing(path: Path) -> None:
    said = run(
        path,
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads, which is what this is about
        cursors = SqliteCursors(path)
        closed = SqliteCursors(path)
        closed.close()
        asyncio.run(cursors.save("n", Cursor("e1", 1)))
        pid = os.fork()
        if pid == 0:
            print("child", asyncio.run(cursors.load("n")), flush=True)
            asyncio.run(cursors.save("n", Cursor("e1", 2)))
            try:
                asyncio.run(closed.load("n"))
            except Exception as error:
                print("child", type(error).__name__, flush=True)
            cursors.close()
            os._exit(0)
        print("status", os.waitpid(pid, 0)[1], flush=True)
        asyncio.run(cursors.save("n", Cursor("e1", 3)))
        print("parent", asyncio.run(cursors.load("n")), os.path.exists(path + "-wal"), flush=True)
        """,
    )
    assert said.splitlines() == ["child e1:1", "child RealtimeError", "status 0", "parent e1:3 True"]


# --- one consumer a name ----------------------------------------------------------------------------------------------


class Consumer:
    def __init__(self, keeps: bool = True) -> None:
        self.keeps = keeps


def test_a_name_is_one_consumers_until_it_keeps_no_more_or_is_gone() -> None:
    store, first, second = MemoryCursors(), Consumer(), Consumer()
    claim(first, store, "n")
    claim(first, store, "n")
    with pytest.raises(InvalidArgumentError, match="cursor_name="):
        claim(second, store, "n")
    claim(second, store, "another")
    claim(second, MemoryCursors(), "n")
    first.keeps = False
    claim(second, store, "n")
    del second
    gc.collect()
    claim(Consumer(), store, "n")


# --- the thread -------------------------------------------------------------------------------------------------------


def _stop() -> None:
    raise StopIteration(3)


async def test_what_a_call_raises_reaches_who_awaits_it_whatever_it_is() -> None:
    thread = OwnThread("test")
    raising: list[tuple[Callable[[], object], type[BaseException]]] = [
        (lambda: 1 / 0, ZeroDivisionError),
        (lambda: sys.exit(3), SystemExit),
        (_stop, RuntimeError),  # asyncio would wait for ever
    ]
    for fn, kind in raising:
        with pytest.raises(kind):
            thread.submit(fn).result(5)
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wrap_future(thread.submit(_stop))
    ended = thread.end()
    assert ended is not None
    ended.join(5)
    with pytest.raises(RuntimeError, match="ended"):
        thread.submit(os.getpid)


def test_a_call_that_was_cancelled_in_time_is_not_made_and_a_thread_without_calls_never_began() -> None:
    thread, go, made = OwnThread("test"), threading.Event(), []
    first = thread.submit(go.wait, 5)
    second = thread.submit(made.append, 2)
    third = thread.submit(made.append, 3)
    assert second.cancel()
    go.set()
    third.result(5)
    assert (first.result(5), made) == (True, [3])
    thread.end()
    assert OwnThread("unused").end(lambda: made.append(4)) is None
    assert made == [3]
