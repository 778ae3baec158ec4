"""The data folder is its owner's only, out of file tools' reach, and one server's at a time."""

from __future__ import annotations

import errno
import fcntl
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from playcall.server.running.data_folder import _write_id, hold_folder, prepare_folder, read_id
from playcall.server.running.starting import StartupError
from playcall.server.settings import Settings

from .conftest import RunningServer
from .test_serving import failure

if TYPE_CHECKING:
    from tests.postgresql import PostgreSQL

on_postgresql = pytest.mark.xdist_group("postgresql")


@pytest.mark.parametrize("root", ["", "data", "data/workspaces", "link"])
def test_a_read_root_that_overlaps_the_data_folder_is_refused(tmp_path: Path, root: str) -> None:
    data = tmp_path / "data"
    (data / "workspaces").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path)
    message = failure(Settings(data_dir=data, port=0, read_roots=(tmp_path / root,)))
    assert "overlap" in message
    assert "--data" in message
    assert not (data / "playcall.sqlite3").exists()


def test_a_read_root_beside_the_data_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "data-of-others").mkdir()
    prepare_folder(Settings(data_dir=tmp_path / "data", read_roots=(tmp_path / "data-of-others",)))
    assert (tmp_path / "data").is_dir()


def test_two_servers_do_not_share_a_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    with RunningServer(settings):
        message = failure(settings)
    assert "another server uses the data folder" in message
    with RunningServer(settings):
        pass  # the first one let go of it


def test_nobody_else_can_read_what_a_server_keeps(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0)
    with RunningServer(settings):
        assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
        names = {path.name for path in settings.data_dir.iterdir()}
        assert {"playcall.sqlite3", "playcall.sqlite3-wal", "workspaces", ".lock"} <= names
        for path in settings.data_dir.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_in_which_nothing_can_be_made_is_said_in_one_sentence(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StartupError, match="cannot be written"), hold_folder(settings):
        pass
    (tmp_path / ".lock").rmdir()
    settings.workspaces_dir.write_text("")
    with pytest.raises(StartupError, match="cannot be written"), hold_folder(settings):
        pass


def test_a_file_system_without_locks_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: int, _kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StartupError, match="without locks"), hold_folder(Settings(data_dir=tmp_path)):
        pass


# --- with PostgreSQL --------------------------------------------------------------------------------------------------


@on_postgresql
def test_servers_of_one_database_share_a_folder_and_no_others_come_in(postgresql: PostgreSQL, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, database_url=postgresql.new_database())
    with RunningServer(settings) as first, RunningServer(settings) as second:
        assert first.started.api_key is not None
        assert second.started.api_key is None
        assert "another server uses" in failure(replace(settings, database_url=None))
        names = {path.name for path in settings.data_dir.iterdir()}
        assert "playcall.sqlite3" not in names
        for path in settings.data_dir.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
    assert "PostgreSQL" in failure(replace(settings, database_url=None))
    with RunningServer(settings):
        pass


@on_postgresql
def test_a_folder_with_a_sqlite_database_is_not_used_with_postgresql(postgresql: PostgreSQL, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    with RunningServer(settings):
        pass
    assert "SQLite" in failure(replace(settings, database_url=postgresql.new_database()))


@on_postgresql
def test_folder_and_database_belong_together(postgresql: PostgreSQL, tmp_path: Path) -> None:
    ours = Settings(data_dir=tmp_path / "ours", port=0, database_url=postgresql.new_database())
    theirs = Settings(data_dir=tmp_path / "theirs", port=0, database_url=postgresql.new_database())
    for settings in (ours, theirs):
        with RunningServer(settings):
            pass
    assert "belongs with another database" in failure(replace(ours, database_url=theirs.database_url))
    # An empty one too: the name may be a slip, and the runs' files would be nobody's.
    assert "belongs with another database" in failure(replace(ours, database_url=postgresql.new_database()))
    elsewhere = replace(ours, data_dir=tmp_path / "elsewhere")
    message = failure(elsewhere)
    assert "used with another data folder" in message
    assert "--new-epoch" in message
    with RunningServer(ours):
        pass


@on_postgresql
def test_a_lost_folder_is_replaced_when_it_is_asked_for_and_is_no_good_afterwards(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    ours = Settings(data_dir=tmp_path / "ours", port=0, database_url=postgresql.new_database())
    with RunningServer(ours):
        pass
    elsewhere = replace(ours, data_dir=tmp_path / "elsewhere")
    with RunningServer(replace(elsewhere, new_epoch=True)):
        pass
    with RunningServer(elsewhere):
        pass
    assert "belongs with another database" in failure(ours)


def test_of_two_who_write_the_id_down_at_once_one_is_right(tmp_path: Path) -> None:
    path = tmp_path / "id"
    assert read_id(path) is None
    assert _write_id(path, "first") == "first"
    assert _write_id(path, "second") == "first"
    assert read_id(path) == "first"
    assert list(tmp_path.iterdir()) == [path]
