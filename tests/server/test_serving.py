"""Starting: everything stands, or one sentence says what does not."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from playcall.server.auth.passwords import _nobodys_hash
from playcall.server.auth.secrets import hash_secret
from playcall.server.running.serving import Started, StartupError, serve
from playcall.server.settings import Settings

from .conftest import RunningServer

if TYPE_CHECKING:
    from tests.postgresql import PostgreSQL


def failure(settings: Settings, engine: Any = None) -> str:
    with pytest.raises(StartupError) as caught:
        serve(settings, engine=engine, on_started=lambda _started: pytest.fail("it started"))
    return str(caught.value)


def test_the_first_start_makes_a_key_and_the_second_does_not(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new" / "data", port=0, admin_password="pass word")
    with RunningServer(settings) as server:
        first = server.started
    assert first.api_key is not None
    assert first.url == f"http://127.0.0.1:{first.port}"
    assert first.api_key not in repr(first)
    assert "pass word" not in repr(settings)
    with RunningServer(settings) as server:
        assert server.started.api_key is None


def test_a_port_in_use_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = failure(Settings(data_dir=tmp_path / "data", port=port))
    assert f"127.0.0.1:{port} is in use" in message
    assert not (tmp_path / "data").exists()


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    assert "--host" in failure(Settings(data_dir=tmp_path, host="no.such.host.invalid", port=0))
    assert "cannot listen" in failure(Settings(data_dir=tmp_path, host="192.0.2.1", port=0))


def test_a_data_folder_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "is a file" in failure(Settings(data_dir=file, port=0))
    assert "cannot be made" in failure(Settings(data_dir=file / "below", port=0))
    missing = failure(Settings(data_dir=tmp_path, port=0, read_roots=(tmp_path / "missing",)))
    assert "is not a folder" in missing


def test_a_folder_or_database_without_the_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    with monkeypatch.context() as patch:
        # Not by chmod: whoever runs the tests may be root, for whom everything can be written.
        patch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
        assert "cannot be written" in failure(settings)
    settings.database_path.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) == tmp_path)
    assert "cannot be written" in failure(settings)


def test_a_database_that_is_none_or_of_a_later_version(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    settings.database_path.write_bytes(b"this is no database, however long it is" * 100)
    assert "not a database" in failure(settings)
    settings.database_path.unlink()
    with RunningServer(settings):
        pass
    with sqlite3.connect(settings.database_path) as connection:
        connection.execute("UPDATE playcall_schema_version SET version_num = 'later'")
    connection.close()
    assert "later playcall" in failure(settings)


class _BrokenEngine:
    async def launch(self) -> None:
        raise OSError("no engine today")

    async def shutdown(self) -> None: ...

    def agent_changed(self, agent_id: str) -> None: ...


def test_an_engine_that_does_not_start_ends_the_start(tmp_path: Path) -> None:
    message = failure(Settings(data_dir=tmp_path, port=0), engine=lambda _database, _settings: _BrokenEngine())
    assert "could not start" in message


def test_a_caller_that_fails_once_it_has_started_ends_the_server_well(tmp_path: Path) -> None:
    def fail(_started: Started) -> None:
        raise StartupError("nobody to tell")

    with pytest.raises(StartupError, match="nobody to tell"):
        serve(Settings(data_dir=tmp_path, port=0), engine=None, on_started=fail)


async def test_no_secret_is_logged_at_any_level(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Libraries print headers, frames and the values of statements at DEBUG."""
    password = "a pass word of somebody"
    with (
        caplog.at_level(logging.DEBUG),
        RunningServer(Settings(data_dir=tmp_path, port=0, admin_password=password)) as server,
    ):
        key = server.started.api_key
        assert key is not None
        headers = {"X-API-Key": key}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{server.url}/api/v1/auth/me", headers=headers) as answer:
                assert answer.status == 200
            form = {"grant_type": "password", "username": "admin", "password": password}
            async with session.post(f"{server.url}/api/v1/auth/token", data=form) as answer:
                token = (await answer.json())["access_token"]
            async with session.ws_connect(f"{server.url}/api/v1/ws", headers=headers) as socket_:
                await socket_.send_json({"op": "hello", "v": 1})
                assert (await socket_.receive_json())["op"] == "welcome"
            async with session.ws_connect(f"{server.url}/api/v1/ws") as socket_:
                await socket_.send_json({"op": "hello", "v": 1, "token": token})
                assert (await socket_.receive_json())["op"] == "welcome"
        signing_key = await server.acall(server.core.database.meta("signing_key"))
    for secret in (key, hash_secret(key), password, token, signing_key):
        assert secret not in caplog.text


@pytest.mark.xdist_group("postgresql")
def test_no_password_of_a_database_is_logged_at_any_level(
    postgresql: PostgreSQL, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgresql.new_database(migrated=False).replace("playcall@", "playcall:geheim@")
    settings = Settings(data_dir=tmp_path / "data", port=0, database_url=url)
    assert "geheim" not in repr(settings)
    with caplog.at_level(logging.DEBUG):
        with RunningServer(settings):
            pass
        message = failure(Settings(data_dir=tmp_path / "other", port=0, database_url=url + "_missing"))
    assert "the database" in message
    assert "_missing" in message
    assert "geheim" not in message + caplog.text


@pytest.mark.xdist_group("postgresql")
def test_of_two_first_starts_at_once_one_makes_the_key(postgresql: PostgreSQL, tmp_path: Path) -> None:
    url = postgresql.new_database(migrated=False)
    settings = Settings(data_dir=tmp_path / "data", port=0, database_url=url)
    servers = [RunningServer(settings), RunningServer(settings)]
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        for entered in [pool.submit(server.__enter__) for server in servers]:
            stack.push(entered.result().__exit__)
        assert sum(server.started.api_key is not None for server in servers) == 1
    assert postgresql.execute(url, "SELECT count(*) FROM users") == [(1,)]


def test_the_first_login_takes_no_longer_for_a_user_that_is_none(tmp_path: Path) -> None:
    """The hash that an unknown user's password is compared with is there before anybody asks."""
    _nobodys_hash.cache_clear()
    with RunningServer(Settings(data_dir=tmp_path, port=0)):
        assert _nobodys_hash.cache_info().currsize == 1
