"""The live backend is a real process over real data; these tests start it as seldom as they can."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend
from playcall.testing.live_backend import BackendStartError

if TYPE_CHECKING:
    from tests.postgresql import PostgreSQL


@pytest.mark.xdist_group("subprocesses")
def test_killed_and_restarted_it_is_the_same_backend() -> None:
    with LiveBackend() as backend, Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        url, key, pid, folder = backend.url, backend.api_key, backend.pid, backend.log_path.parent
        agent = client.agents.create({"name": "Reader", "tools": ["text.stats"]})
        with pytest.raises(RuntimeError, match="is running"):
            backend.start()

        backend.kill()
        assert not backend.running
        backend.restart()

        assert (backend.url, backend.api_key) == (url, key)
        assert backend.pid != pid
        assert client.agents.get(agent.id) == agent
        assert "playcall serves" in backend.log
        assert key not in backend.log
        assert backend.log_since(backend.log_bytes) == ""
        assert key not in repr(backend)
        assert backend.stop() == 0
        assert not backend.running
    assert not folder.exists()
    backend.close()


@pytest.mark.xdist_group("subprocesses")
async def test_a_user_that_is_added_finds_nothing_of_others_and_takes_no_name_from_them() -> None:
    """Asked for where an event loop runs, as async tests do."""
    spec = {"name": "Reader", "tools": ["text.stats"]}
    with LiveBackend() as backend, Playcall(backend.url, auth=ApiKey(backend.api_key)) as first:
        first.agents.create(spec)
        keys = {backend.add_user(), backend.add_user()}
        assert len(keys) == 2
        for key in keys:
            with Playcall(backend.url, auth=ApiKey(key)) as other:
                assert list(other.agents.list()) == []
                other.agents.create(spec)
        assert len(list(first.agents.list())) == 1


@pytest.mark.xdist_group("postgresql")
def test_on_postgresql_several_processes_are_killed_and_restarted_as_one(postgresql: PostgreSQL) -> None:
    url = postgresql.new_database(migrated=False).replace("+asyncpg", "")
    with LiveBackend(database_url=url, options=["--workers=2"]) as backend:
        with Playcall(backend.url, auth=ApiKey(backend.add_user())) as client:
            agent = client.agents.create({"name": "Reader", "tools": ["text.stats"]})
            backend.kill()
            backend.restart()  # on the same port at once: none of them is left there
            assert client.agents.get(agent.id) == agent
        assert backend.stop() == 0
    assert postgresql.execute(url, "SELECT count(*) FROM agents") == [(1,)]


@pytest.mark.parametrize("missing", ["fastapi", "typer"])
def test_a_missing_extra_is_named_with_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(BackendStartError, match=rf"needs {missing}: pip install 'playcall\[server,cli\]'$"):
        LiveBackend().start()


@pytest.mark.xdist_group("subprocesses")
def test_a_server_that_cannot_start_says_why_in_its_own_words(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    backend = LiveBackend(blocked)
    with pytest.raises(BackendStartError, match=r"status 1; it wrote:\nplaycall: .*is a file"), backend:
        raise AssertionError("it must not start")
    assert not backend.running


@pytest.mark.xdist_group("subprocesses")
def test_a_server_that_is_too_slow_is_killed_and_told() -> None:
    backend = LiveBackend(start_seconds=0)
    with pytest.raises(BackendStartError, match="not ready within 0 s"):
        backend.start()
    assert not backend.running
    backend.close()


def test_what_is_not_started_says_so() -> None:
    backend = LiveBackend()
    for ask in ("url", "pid", "log_path"):
        with pytest.raises(RuntimeError, match="not started"):
            getattr(backend, ask)
    with pytest.raises(RuntimeError, match="not started"):
        backend.add_user()
    with pytest.raises(RuntimeError, match="give api_key="):
        _ = backend.api_key
    backend.kill()
    assert backend.stop() is None
    assert repr(backend) == "LiveBackend(not started)"
