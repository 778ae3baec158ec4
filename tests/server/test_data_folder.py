"""The data folder is its owner's only, out of file tools' reach, and one server's at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from playcall.server.data_folder import StartupError, hold_folder, prepare_folder
from playcall.server.settings import Settings

from .conftest import RunningServer
from .test_serving import failure


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
