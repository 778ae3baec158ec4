"""Artifacts go to a browser as files, whole or not at all, and only by a link that a page has made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette

from playcall.dashboard import connection, files
from playcall.dashboard.files import CHUNK_BYTES, artifact_link, artifact_route

from .desk import Desk


@pytest.fixture
def own_client(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The dashboard's client is of the same user as `desk`."""
    monkeypatch.setenv("PLAYCALL_URL", desk.url)
    monkeypatch.setenv("PLAYCALL_API_KEY", desk.api_key)
    yield
    connection.close()


def get(link: str) -> tuple[int, dict[str, str], list[bytes]]:
    """Status, headers, and the pieces in which the body was sent."""
    path, _, query = link.partition("?")
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": f"/{path}", "query_string": query.encode(), "headers": []}
    asyncio.run(
        Starlette(routes=[artifact_route()])(
            {**scope, "http_version": "1.1", "asgi": {"version": "3.0"}}, receive, send
        )
    )
    head, *body = sent
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


@pytest.mark.parametrize("changed", [("run_1", "run_2"), ("a.txt", "b.txt"), ("key=", "key=0")])
def test_a_link_that_no_page_has_made_leads_nowhere(changed: tuple[str, str]) -> None:
    link = artifact_link("run_1", "a.txt").replace(*changed)
    assert get(link)[0] == 403
    assert artifact_link("run_1", "a.txt") != artifact_link("run_1a.", "txt")
