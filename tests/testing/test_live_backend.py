"""The live backend is a real process over real data; these tests start it as seldom as they can."""

from __future__ import annotations

from pathlib import Path

import pytest

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend
from playcall.testing.live_backend import BackendStartError


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
        assert key not in repr(backend)
        assert backend.stop() == 0
        assert not backend.running
    assert not folder.exists()
    backend.close()


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
    with pytest.raises(RuntimeError, match="give api_key="):
        _ = backend.api_key
    backend.kill()
    assert backend.stop() is None
    assert repr(backend) == "LiveBackend(not started)"
