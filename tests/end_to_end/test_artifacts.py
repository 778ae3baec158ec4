"""A run's files, both ways, over real sockets that break."""

from __future__ import annotations

import asyncio
import hashlib
import os
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from playcall import ApiKey, RetryPolicy
from playcall.errors import (
    ArtifactNotFoundError,
    ConnectionLostError,
    IdempotencyKeyReusedError,
    InvalidArgumentError,
    PayloadTooLargeError,
    ReadOnlyCredentialsError,
    RunEndedError,
    RunNotFoundError,
    VersionMismatchError,
)
from playcall.testing import FaultProxy, LiveBackend, ProxiedRequest
from playcall.testing.fault_proxy import Loss

from .conftest import playbook_of
from .faces import open_client

Namer = Callable[[str], str]

BIG = os.urandom(5_000_000)
LIMIT = 16 * 1024 * 1024
PATIENT = RetryPolicy(attempts=4, initial_seconds=0.01, budget=None)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
async def run(client: Any, name: Namer) -> AsyncIterator[Any]:
    """A paused run, whose second step reads what it is given."""
    agent = await client.agents.create({"name": name("reader"), "tools": ["wait", "files.read"]})
    steps = {"use": "wait", "seconds": 0.05}, {"use": "files.read", "path": "in/data.txt"}
    playbook = await client.playbooks.create(playbook_of(agent, name("reading"), *steps))
    made = await client.playbooks.run(playbook.id)
    await client.runs.pause(made.id)
    async for event in client.runs.watch(made.id, start="start"):
        if event.type == "run.paused":
            break
    yield made
    if (await client.runs.get(made.id)).ended_at is None:
        await client.runs.cancel(made.id)


@pytest.fixture
def proxy(backend: LiveBackend) -> Iterator[FaultProxy]:
    with FaultProxy(backend.url) as running:
        yield running


@pytest.fixture
async def tried(backend: LiveBackend, proxy: FaultProxy, face: str) -> AsyncIterator[Any]:
    """A client behind the proxy."""
    async with open_client(face, proxy.url, auth=ApiKey(backend.api_key), retry=PATIENT) as made:
        yield made


def files_of(backend: LiveBackend, run: Any) -> list[str]:
    """Every file of the run's workspace, hidden ones too."""
    folder = backend.data_dir / "workspaces" / run.id
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def artifacts(client: Any, run: Any) -> list[Any]:
    return [artifact async for artifact in client.runs.artifacts(run.id)]


async def told(client: Any, run: Any) -> list[Any]:
    """The artifacts that the run's whole log tells of; it is cancelled for that."""
    await client.runs.cancel(run.id)
    events = [event async for event in client.runs.watch(run.id, start="start")]
    return [event.data.artifact for event in events if event.type == "run.artifact.created"]


async def test_a_large_file_goes_up_and_comes_down_the_same(client: Any, run: Any, tmp_path: Path) -> None:
    sent, come = [], []
    source = tmp_path / "big.bin"
    source.write_bytes(BIG)
    made = await client.runs.upload_artifact(run.id, "big.bin", source, on_progress=lambda *at: sent.append(at))
    assert (made.name, made.size_bytes, made.sha256, made.step_id) == ("big.bin", len(BIG), sha(BIG), None)
    assert await artifacts(client, run) == [made]
    target = tmp_path / "copy.bin"
    await client.runs.download_artifact(run.id, "big.bin", target, on_progress=lambda *at: come.append(at))
    assert sha(target.read_bytes()) == made.sha256
    assert sent[-1] == come[-1] == (len(BIG), len(BIG))
    assert await told(client, run) == [made]


async def test_a_step_reads_what_was_uploaded_while_the_run_was_paused(client: Any, run: Any) -> None:
    made = await client.runs.upload_artifact(run.id, "in/data.txt", "naïve\n".encode())
    assert made.media_type == "text/plain"
    await client.runs.resume(run.id)
    done = await client.runs.wait(run.id, timeout_seconds=30, check=True)
    assert done.output["text"] == "naïve\n"
    with pytest.raises(RunEndedError):
        await client.runs.upload_artifact(run.id, "in/data.txt", b"too late")
    assert await client.runs.read_artifact(run.id, "in/data.txt") == "naïve\n".encode()


@pytest.mark.parametrize("source", ["bytes", "path", "file", "iterator", "async iterator"])
async def test_every_source_is_uploaded(client: Any, run: Any, tmp_path: Path, source: str) -> None:
    content = BIG[:200_000]
    path = tmp_path / "source"
    path.write_bytes(content)

    async def pieces() -> AsyncIterator[bytes]:
        yield content[:100_000]
        yield content[100_000:]

    with path.open("rb") as file:
        sources = {
            "bytes": content,
            "path": path,
            "file": file,
            "iterator": iter([content[:7], content[7:]]),
            "async iterator": pieces(),
        }
        made = await client.runs.upload_artifact(run.id, source, sources[source], media_type="x/y; charset=utf-8")
    assert (made.sha256, made.media_type) == (sha(content), "x/y; charset=utf-8")


async def test_a_file_is_replaced_and_only_while_it_is_what_the_caller_thinks(client: Any, run: Any) -> None:
    old = await client.runs.upload_artifact(run.id, "a", b"old")
    new = await client.runs.upload_artifact(run.id, "a", b"new", if_match=old.sha256)
    with pytest.raises(VersionMismatchError) as caught:
        await client.runs.upload_artifact(run.id, "a", b"newer", if_match=old.sha256)
    assert caught.value.current_etag == f'"{new.sha256}"'
    assert await client.runs.read_artifact(run.id, "a") == b"new"
    assert await artifacts(client, run) == [new]


# --- refused ----------------------------------------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_and_nothing_is_left(client: Any, run: Any, backend: LiveBackend) -> None:
    too_much = bytes(LIMIT + 1)
    for source in (too_much, iter([too_much[:LIMIT], too_much[LIMIT:]])):
        with pytest.raises(PayloadTooLargeError):
            await client.runs.upload_artifact(run.id, "a", source)
    assert files_of(backend, run) == []
    assert await artifacts(client, run) == []


async def test_a_name_that_leads_out_is_refused_before_anything_is_sent(client: Any, run: Any) -> None:
    for wrong in ("../a", "a/../../b", "/etc/passwd", "..", "", "a//b", "./a"):
        with pytest.raises(InvalidArgumentError):
            await client.runs.upload_artifact(run.id, wrong, b"x")


async def test_a_text_is_not_taken_for_a_path(client: Any, run: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"pathlib\.Path"):
        await client.runs.upload_artifact(run.id, "a", "notes.txt")
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        await client.runs.upload_artifact(run.id, "a", Path("/nowhere/at/all"))


async def test_who_may_not_write_may_not_upload(
    client: Any, run: Any, backend: LiveBackend, face: str, name: Namer
) -> None:
    with pytest.raises(RunNotFoundError):
        await client.runs.upload_artifact("run_of_somebody_else", "a", b"x")
    made = await client.account.create_api_key({"name": name("reader"), "scope": "read"})
    async with open_client(face, backend.url, auth=ApiKey(made.secret)) as reader:
        with pytest.raises(ReadOnlyCredentialsError):
            await reader.runs.upload_artifact(run.id, "a", b"x")
    assert files_of(backend, run) == []


# --- on a bad network -------------------------------------------------------------------------------------------------


async def test_a_download_goes_on_however_often_it_is_cut(
    client: Any, run: Any, tried: Any, proxy: FaultProxy, tmp_path: Path
) -> None:
    made = await client.runs.upload_artifact(run.id, "big", BIG)
    await tried.runs.get(run.id)
    places: list[tuple[int, int]] = []
    before, connections = proxy.bytes_down, proxy.connections_total
    proxy.cut_after(600_000, direction="down", times=7)
    target = await tried.runs.download_artifact(
        run.id, "big", tmp_path / "copy", on_progress=lambda *at: places.append(at)
    )
    assert sha(target.read_bytes()) == made.sha256
    assert proxy.connections_total - connections >= 7, "each cut ended a connection"
    assert proxy.bytes_down - before < 2 * len(BIG)
    assert places == sorted(places), "it never begins anew"
    assert places[-1] == (len(BIG), len(BIG))
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


async def test_a_download_that_is_cut_at_once_every_time_gives_up(
    client: Any, run: Any, tried: Any, proxy: FaultProxy, tmp_path: Path
) -> None:
    await client.runs.upload_artifact(run.id, "big", BIG)
    proxy.cut_after(100, direction="down", times=None)
    with pytest.raises(ConnectionLostError):
        await tried.runs.download_artifact(run.id, "big", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_changes_under_its_download_comes_whole_in_its_new_form(
    client: Any, run: Any, tried: Any, proxy: FaultProxy, backend: LiveBackend, tmp_path: Path
) -> None:
    """Of the same length, so that only the ETag tells the two apart."""
    new = BIG[::-1]
    await client.runs.upload_artifact(run.id, "big", BIG)
    await tried.runs.get(run.id)
    statuses: list[int] = []

    def change(so_far: int, total: int | None) -> None:
        """Once, before the rest can be asked for."""
        if not statuses:
            url = f"{backend.url}/api/v1/runs/{run.id}/artifacts/big"
            headers = {"X-API-Key": backend.api_key, "Content-Type": "application/octet-stream"}
            request = urllib.request.Request(url, new, headers, method="PUT")
            with urllib.request.urlopen(request, timeout=30) as answer:
                statuses.append(answer.status)

    proxy.cut_after(2_000_000, direction="down")
    target = await tried.runs.download_artifact(run.id, "big", tmp_path / "copy", on_progress=change)
    assert statuses == [200]
    assert target.read_bytes() == new


async def test_an_upload_whose_answer_is_lost_is_stored_once(
    client: Any, run: Any, tried: Any, proxy: FaultProxy, backend: LiveBackend, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(BIG)
    lost: list[Loss] = ["after", "before"]

    def lose(request: ProxiedRequest) -> Loss | None:
        return lost.pop() if request.method == "PUT" and lost else None

    proxy.lose_answers_by(lose)
    made = await tried.runs.upload_artifact(run.id, "big", source)
    assert proxy.answers_lost == 2
    assert made.sha256 == sha(BIG)
    assert files_of(backend, run) == ["big"]
    assert await told(client, run) == [made]


async def test_an_upload_that_is_cut_in_its_body_is_sent_again_and_leaves_no_half(
    client: Any, run: Any, tried: Any, proxy: FaultProxy, backend: LiveBackend
) -> None:
    await tried.runs.get(run.id)
    proxy.cut_after(2_000_000, direction="up", times=2)
    made = await tried.runs.upload_artifact(run.id, "big", BIG)
    assert proxy.bytes_up > len(BIG) + 2_000_000, "it was cut on the way"
    assert made.sha256 == sha(BIG)
    assert await told(client, run) == [made]
    assert files_of(backend, run) == ["big"]


async def test_a_key_of_ones_own_stores_one_content(client: Any, run: Any, name: Namer) -> None:
    key = name("key")
    first = await client.runs.upload_artifact(run.id, "a", b"one", idempotency_key=key)
    assert await client.runs.upload_artifact(run.id, "a", b"one", idempotency_key=key) == first
    with pytest.raises(IdempotencyKeyReusedError):
        await client.runs.upload_artifact(run.id, "a", b"two", idempotency_key=key)
    assert await told(client, run) == [first]
    with pytest.raises(ArtifactNotFoundError):
        await client.runs.read_artifact(run.id, "b")


async def test_nothing_is_left_of_an_upload_under_which_the_server_was_killed(face: str, name: Namer) -> None:
    """On a server of its own, killed in the middle of the body."""
    backend = LiveBackend()
    await asyncio.to_thread(backend.start)
    try:
        async with open_client(face, backend.url, auth=ApiKey(backend.api_key), retry=PATIENT) as client:
            agent = await client.agents.create({"name": name("reader"), "tools": ["wait"]})
            steps = {"use": "wait", "seconds": 60.0}, {"use": "wait", "seconds": 0.0}
            playbook = await client.playbooks.create(playbook_of(agent, name("reading"), *steps))
            run = await client.playbooks.run(playbook.id)
            old = await client.runs.upload_artifact(run.id, "big", b"old")
            url = backend.url.removeprefix("http://").split(":")
            head = f"PUT /api/v1/runs/{run.id}/artifacts/big HTTP/1.1\r\nHost: x\r\nX-API-Key: {backend.api_key}\r\n"
            _, writer = await asyncio.open_connection(url[0], int(url[1]))
            writer.write(f"{head}Content-Length: {len(BIG)}\r\n\r\n".encode() + BIG[:1_000_000])
            await writer.drain()
            writings = backend.data_dir / "workspaces" / ".writing"
            async with asyncio.timeout(10):
                while not any(path.is_file() for path in writings.rglob("*")):
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(backend.kill)
            writer.transport.abort()
            assert list(writings.iterdir()) != []
            await asyncio.to_thread(backend.restart)
            assert list(writings.iterdir()) == []
            assert await artifacts(client, run) == [old]
            assert await client.runs.read_artifact(run.id, "big") == b"old"
            new = await client.runs.upload_artifact(run.id, "big", BIG)
            assert new.sha256 == sha(BIG)
            await client.runs.cancel(run.id)
    finally:
        await asyncio.to_thread(backend.close)
