"""Artifacts go to a browser as files, whole or not at all, and only by a link that a page has made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette

from playcall.dashboard import connection, files
from playcall.dashboard.files import CHUNK_BYTES, FETCHED_AT_ONCE, artifact_link, artifact_route

from .desk import Desk
from .waiting import SECONDS, until


@pytest.fixture
def own_client(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The dashboard's client is of the same user as `desk`."""
    monkeypatch.setenv("PLAYCALL_URL", desk.url)
    monkeypatch.setenv("PLAYCALL_API_KEY", desk.api_key)
    yield
    connection.close()


async def ask(link: str, leaves: asyncio.Event) -> list[dict[str, Any]]:
    """What is sent to a browser that comes for this, and leaves then."""
    path, _, query = link.partition("?")
    sent: list[dict[str, Any]] = []
    came = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if came:
            return came.pop()
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": f"/{path}", "query_string": query.encode(), "headers": []}
    app = Starlette(routes=[artifact_route()])
    await app({**scope, "http_version": "1.1", "asgi": {"version": "3.0"}}, receive, send)
    return sent


def get(link: str) -> tuple[int, dict[str, str], list[bytes]]:
    """Status, headers, and the pieces in which the body was sent."""

    async def stay() -> list[dict[str, Any]]:
        return await ask(link, asyncio.Event())

    head, *body = asyncio.run(stay())
    headers = {name.decode(): value.decode("latin-1") for name, value in head["headers"]}
    return head["status"], headers, [each["body"] for each in body if each.get("body")]


@pytest.mark.usefixtures("own_client")
def test_an_artifact_comes_whole_piece_by_piece_and_is_never_shown_as_a_page(desk: Desk) -> None:
    content = bytes(range(256)) * 12_000  # 3 MB
    seen = desk.at_gate("Work")
    desk.client.runs.upload_artifact(seen.id, "data/großes <b>.html", content)
    status, headers, pieces = get(artifact_link(seen.id, "data/großes <b>.html"))
    assert (status, b"".join(pieces) == content) == (200, True)
    assert max(map(len, pieces)) <= CHUNK_BYTES
    assert headers["content-length"] == str(len(content))
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert unquote(headers["content-disposition"]) == "attachment; filename*=UTF-8''großes <b>.html"


@pytest.mark.usefixtures("own_client")
def test_nothing_is_left_on_the_disk(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    seen = desk.at_gate("Work")
    desk.client.runs.upload_artifact(seen.id, "a.txt", b"a")
    left_before = set(tmp_path.iterdir())
    assert get(artifact_link(seen.id, "a.txt"))[0] == 200
    assert set(tmp_path.iterdir()) == left_before


@pytest.mark.usefixtures("own_client")
def test_one_that_is_not_there_is_not_found(desk: Desk) -> None:
    assert get(artifact_link(desk.at_gate("Work").id, "none.txt"))[0] == 404


def test_without_a_backend_the_browser_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYCALL_URL", "http://127.0.0.1:1")
    try:
        status, _, pieces = get(artifact_link("run_1", "a.txt"))
    finally:
        connection.close()
    assert status == 502
    assert b"127.0.0.1:1" in pieces[0]


@pytest.mark.parametrize("changed", [("run_1", "run_2"), ("a.txt", "b.txt"), ("key=", "key=0"), ("key=", "key=%C3%A4")])
def test_a_link_that_no_page_has_made_leads_nowhere(changed: tuple[str, str]) -> None:
    link = artifact_link("run_1", "a.txt").replace(*changed)
    assert get(link)[0] == 403
    assert artifact_link("run_1", "a.txt") != artifact_link("run_1a.", "txt")


class Gate:
    """A client whose downloads wait until the test lets them go on, and write a byte then."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = threading.Semaphore(0)
        self.given_up = threading.Semaphore(0)
        self.folders: list[Path] = []
        self.runs = self

    def with_options(self, **options: object) -> Gate:
        return self

    def download_artifact(self, run_id: str, name: str, to: Path, *, on_progress: Callable[[int, int], None]) -> Path:
        self.folders.append(to.parent)
        self.begun.release()
        assert self.opened.wait(SECONDS)
        try:
            on_progress(1, 1)
        except Exception:
            self.given_up.release()
            raise
        to.write_bytes(b"a")
        return to


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate()
    monkeypatch.setattr(files, "client", lambda: made)
    yield made
    made.opened.set()


LINK = artifact_link("run_1", "a.txt")


async def test_downloads_that_wait_for_the_backend_hold_up_nothing_else(gate: Gate) -> None:
    asking = [asyncio.create_task(ask(LINK, asyncio.Event())) for _ in range(50)]
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(FETCHED_AT_ONCE):
                await asyncio.to_thread(gate.begun.acquire)
        assert len(gate.folders) == FETCHED_AT_ONCE, "the others wait for their turn"
    finally:
        gate.opened.set()
    for sent in await asyncio.gather(*asking):
        assert (sent[0]["status"], sent[1]["body"]) == (200, b"a")


async def test_what_nobody_waits_for_any_more_is_given_up(gate: Gate) -> None:
    leaves = asyncio.Event()
    asking = [asyncio.create_task(ask(LINK, leaves)) for _ in range(FETCHED_AT_ONCE + 1)]
    for _ in range(FETCHED_AT_ONCE):
        assert await asyncio.to_thread(gate.begun.acquire, timeout=SECONDS)
    leaves.set()
    await asyncio.gather(*asking)
    assert not gate.opened.is_set(), "the browsers' requests have ended before the backend's"
    gate.opened.set()
    for _ in range(FETCHED_AT_ONCE):
        assert await asyncio.to_thread(gate.given_up.acquire, timeout=SECONDS)
    await asyncio.to_thread(until, lambda: not any(folder.exists() for folder in gate.folders))
    assert len(gate.folders) == FETCHED_AT_ONCE, "whose turn had not come is not fetched at all"
