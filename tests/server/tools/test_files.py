"""Files stay inside: the run's workspace, and reading under the read roots."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from playcall.server.tools import ToolFailure, ToolLimits
from playcall.server.tools.definition import check_output
from playcall.server.tools.source import sizes

from .conftest import Bench


async def test_what_is_written_can_be_read_and_listed_and_is_noted_as_an_artifact(bench: Bench) -> None:
    written = await bench.call("files.write", path="out/a.md", content="# é")
    assert written["artifact"] == "out/a.md"
    assert written["media_type"] == "text/markdown"
    assert await bench.call("files.read", path="out/a.md") == {"path": "out/a.md", "text": "# é", "size_bytes": 4}
    await bench.call("files.write", path="data.json", content={"n": [1]})
    assert (bench.context.workspace / "data.json").read_text() == '{\n  "n": [\n    1\n  ]\n}\n'
    listed = await bench.call("files.list", recursive=True)
    assert [file["path"] for file in listed["files"]] == ["data.json", "out/a.md"]
    assert (await bench.call("files.list"))["count"] == 1
    assert (await bench.call("files.list", recursive=True, limit=1))["truncated"] is True
    assert sorted(bench.context.written) == ["data.json", "out/a.md"]


async def test_a_read_root_can_be_read_and_not_written(bench: Bench) -> None:
    (bench.root / "in.txt").write_text("hello")
    assert (await bench.call("files.read", path=str(bench.root / "in.txt")))["text"] == "hello"
    assert (await bench.call("files.read", path="in.txt"))["text"] == "hello"
    assert await bench.refused("files.write", path=str(bench.root / "x"), content="x") == "path_refused"


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "..", "", "a\0b", "a\\..\\b", "/proc/self/environ", "~/../x"]
)
async def test_no_path_leads_out(bench: Bench, path: str) -> None:
    assert await bench.refused("files.read", path=path) in {"path_refused", "not_found"}
    if path not in ("~/../x",):
        assert await bench.refused("files.write", path=path, content="x") == "path_refused"


async def test_symbolic_links_that_lead_out_are_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("k")
    (bench.context.workspace / "link").symlink_to(tmp_path / "secret")
    (bench.context.workspace / "file").symlink_to(tmp_path / "secret" / "key")
    assert await bench.refused("files.read", path="link/key") == "path_refused"
    assert await bench.refused("files.read", path="file") == "path_refused"
    assert await bench.refused("files.write", path="link/new", content="x") == "path_refused"
    assert (await bench.call("files.list", recursive=True))["files"] == []
    # Writing over a link replaces the link, and leaves what it led to alone.
    await bench.call("files.write", path="file", content="mine")
    assert (tmp_path / "secret" / "key").read_text() == "k"
    assert not (bench.context.workspace / "file").is_symlink()


async def test_odd_files_are_refused_in_words(bench: Bench) -> None:
    (bench.root / "latin.txt").write_bytes(b"caf\xe9")
    assert await bench.refused("files.read", path="latin.txt") == "not_text"
    assert (await bench.call("files.read", path="latin.txt", encoding="latin-1"))["text"] == "café"
    for encoding in ("nope", "punycode", "IDNA", "hex", "undefined\0", "x" * 100_000, "\udc80"):
        assert await bench.refused("files.read", path="latin.txt", encoding=encoding) == "parameters_invalid"
    assert await bench.refused("files.read", path="latin.txt", encoding="undefined") == "not_text"
    assert await bench.refused("files.read", path=".") == "not_a_file"
    assert await bench.refused("files.list", path="latin.txt") == "not_a_folder"
    os.mkfifo(bench.root / "pipe")
    assert await bench.refused("files.read", path="pipe") == "not_a_file"
    bench.context.limits = ToolLimits(max_file_bytes=3)
    assert await bench.refused("files.read", path="latin.txt") == "too_large"
    assert await bench.refused("files.write", path="x", content="four") == "too_large"
    assert await bench.refused("files.write", path=".", content="x") == "path_refused"
    assert await bench.refused("files.write", path="x", content="x", media_type="a/b\r\nX: y") == "parameters_invalid"
    assert await bench.refused("files.write", path="x" * 401, content="x") == "path_refused"
    (bench.context.workspace / "d").mkdir()
    assert await bench.refused("files.write", path="d", content="") == "unwritable"
    assert [p.name for p in bench.context.workspace.iterdir()] == ["d"], "nothing half-written stays"


async def test_an_output_over_the_limit_fails_the_call(bench: Bench) -> None:
    (bench.root / "big.txt").write_text("x" * 2_000)
    bench.context.limits = ToolLimits(max_output_bytes=1_000)
    assert await bench.refused("files.read", path="big.txt") == "output_too_large"


async def test_names_that_are_not_unicode_do_not_break_a_list(bench: Bench) -> None:
    (bench.root / os.fsdecode(b"bad\xff.txt")).write_text("x")
    listed = await bench.call("files.list", path=str(bench.root))
    assert listed["files"][0]["path"] == "bad?.txt"


async def test_unknown_and_wrong_parameters_are_named_without_their_values(bench: Bench) -> None:
    with pytest.raises(ToolFailure) as failure:
        await bench.call("files.read", path="x", pasword="s3cret")
    assert failure.value.code == "parameters_invalid"
    assert "pasword" in failure.value.message
    assert "s3cret" not in failure.value.message


async def test_what_is_the_servers_own_is_read_by_no_tool_whatever_the_read_roots_say(bench: Bench) -> None:
    data = bench.root / "data"
    bench.context.workspace = data / "workspaces" / "mine"
    other = data / "workspaces" / "other"
    for folder in (bench.context.workspace, other):
        folder.mkdir(parents=True)
        (folder / "f.py").write_text("secret = 1\n")
    (data / "playcall.sqlite3").write_text("secret")
    (bench.root / "open.py").write_text("secret = 2\n")
    (bench.root / "link.py").symlink_to(other / "f.py")
    bench.context.private_folders = (data,)
    for path in (data / "playcall.sqlite3", other / "f.py", bench.root / "link.py", data, other):
        assert await bench.refused("files.read", path=str(path)) == "path_refused"
        assert await bench.refused("text.search", path=str(path), pattern="secret") == "path_refused"
    assert (await bench.call("files.read", path="f.py"))["text"] == "secret = 1\n", "its own workspace is open"
    root = str(bench.root)
    listed = await bench.call("files.list", path=root, recursive=True)
    assert [file["path"] for file in listed["files"]] == ["open.py"]
    found = await bench.call("text.search", path=root, pattern="secret")
    assert [match["file"] for match in found["matches"]] == ["open.py"]
    assert (await bench.call(sizes, path=root))["files"] == 1


def test_an_output_nested_too_deep_for_an_event_fails_the_call() -> None:
    def nested(levels: int) -> object:
        value: object = 1
        for _ in range(levels):
            value = (value,)
        return {"value": value}

    check_output("t", nested(63), 10_000)
    check_output("t", [[1]] * 100, 10_000)
    with pytest.raises(ToolFailure) as caught:
        check_output("t", nested(64), 10_000)
    assert caught.value.code == "output_too_deep"
