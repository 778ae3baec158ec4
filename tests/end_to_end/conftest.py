"""One real backend for all tests of this folder, and a client of each face."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from playcall import ApiKey
from playcall.testing import LiveBackend

from .faces import FACES, open_client

PASSWORD = "correct horse battery staple"
TOKEN_SECONDS = 2
"""How long access tokens live here: short enough to see them expire."""

HEARTBEAT_SECONDS = 1
"""A connection that is silent for three times as long counts as dead."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them on one worker of pytest-xdist, which then starts one backend."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("end_to_end"))


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the backend's tools may read."""
    folder = tmp_path_factory.mktemp("tree")
    (folder / "a.txt").write_text("one\nTODO two\n")
    (folder / "b.txt").write_text("TODO three\n")
    return folder


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory, tree: Path) -> Iterator[LiveBackend]:
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text(PASSWORD + "\n")
    options = [
        f"--admin-password-file={secret}",
        f"--access-token-seconds={TOKEN_SECONDS}",
        f"--heartbeat-seconds={HEARTBEAT_SECONDS}",
    ]
    with LiveBackend(read_roots=[tree], options=options) as running:
        yield running


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(backend: LiveBackend, face: str) -> AsyncIterator[Any]:
    async with open_client(face, backend.url, auth=ApiKey(backend.api_key), deadline_seconds=30) as made:
        yield made


@pytest.fixture
def name() -> Callable[[str], str]:
    """A name that no other test uses."""
    mark, numbers = uuid.uuid4().hex[:8], itertools.count(1)
    return lambda stem: f"{stem} {mark} {next(numbers)}"


@pytest.fixture
async def agent(client: Any, name: Callable[[str], str]) -> Any:
    """An agent that can wait, count words and write files."""
    tools = ["wait", "text.stats", "files.write", "text.search"]
    return await client.agents.create({"name": name("worker"), "tools": tools})


def playbook_of(agent: Any, name: str, *steps: dict[str, Any]) -> dict[str, Any]:
    """A playbook of standard steps for one agent: each step's `use` is its tool, the rest its parameters."""
    return {
        "name": name,
        "agents": [agent.name],
        "tags": ["end-to-end"],
        "steps": [
            {
                "id": f"s{number}",
                "type": "standard",
                "agent": agent.name,
                "operation": step["use"],
                "parameters": {key: value for key, value in step.items() if key != "use"},
            }
            for number, step in enumerate(steps, 1)
        ],
    }
