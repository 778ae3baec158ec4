"""The scripted server, and clients of both faces before it; a module may have others under these names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.realtime.scripted_server import ScriptedServer

from .websocket_faces import FACES, Face, MakeFace


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture(params=FACES)
async def make(request: pytest.FixtureRequest, server: ScriptedServer) -> AsyncIterator[MakeFace]:
    """Makes clients of the scripted server, and closes them; then nothing of them is left on the loop."""
    made: list[Face] = []

    def make_face(url: str | None = None, **options: Any) -> Face:
        made.append(FACES[request.param](url or server.url, **options))
        return made[-1]

    yield make_face
    for face in made:
        await face.close()
    assert [task for task in asyncio.all_tasks() if "/playcall/" in _source(task)] == []


def _source(task: asyncio.Task[Any]) -> str:
    code = getattr(task.get_coro(), "cr_code", None)
    return "" if code is None else code.co_filename


@pytest.fixture
def face(make: MakeFace) -> Face:
    return make(deadline_seconds=10)
