"""The tools that read a source tree, on one made for it, with bad files among the good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from playcall.server.tools import ToolFailure, ToolLimits, installed_names, installed_parameters, installed_tool
from playcall.server.tools.source import functions, imports, languages, sizes, todos

from .conftest import Bench


@pytest.fixture
def tree(bench: Bench) -> Path:
    package = bench.root / "pkg"
    (package / "sub").mkdir(parents=True)
    (package / "__pycache__").mkdir()
    (package / ".git").mkdir()
    (package / "__init__.py").write_text("from .a import f\n")
    (package / "a.py").write_text(
        "import os\nfrom . import b\n\n# TODO: later\ndef f():\n    x = 1  # FIXME now\n    return x\n\nclass C:\n    async def m(self): ...\n"
    )
    (package / "b.py").write_text("import pkg.a\nimport os, json\nfrom .sub import deep\n'# TODO not a comment'\n")
    (package / "sub" / "__init__.py").write_text("")
    (package / "sub" / "deep.py").write_text("from .. import a\nfrom ..b import nothing\n")
    (package / "broken.py").write_text("def f(:\n  # TODO in broken\n")
    (package / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n# TODO caf\xe9\n")
    (package / "lies.py").write_bytes(b"# -*- coding: utf-8 -*-\nx = '\xe9'\n")
    (package / "nocodec.py").write_bytes(b"# -*- coding: nonsense -*-\n")
    (package / "data.bin").write_bytes(b"\0\1\2")
    (package / "README.md").write_text("# Hi\n\ntext\n")
    (package / "__pycache__" / "x.py").write_text("x")
    (package / ".git" / "y.py").write_text("x")
    (package / "link.py").symlink_to(package / "a.py")
    (package / os.fsdecode(b"odd\xff.py")).write_text("# XXX odd\n")
    return package


async def test_sizes_count_what_is_text(bench: Bench, tree: Path) -> None:
    figures = await bench.call(sizes, path=str(tree), top=2)
    assert figures["files"] == 11
    assert figures["largest"][0]["file"] == "a.py"
    assert len(figures["largest"]) == 2
    assert figures["lines"] == 29
    assert bench.progress[-1][0] == bench.progress[-1][1]


async def test_languages_are_told_by_extension(bench: Bench, tree: Path) -> None:
    figures = await bench.call(languages, path="pkg")
    assert [entry["language"] for entry in figures["languages"]] == ["Python", "Markdown"]
    assert figures["languages"][1] == {"language": "Markdown", "files": 1, "lines": 3, "percent": 10.3}


async def test_the_longest_functions_and_broken_files_as_notes(bench: Bench, tree: Path) -> None:
    figures = await bench.call(functions, path=str(tree))
    assert figures["longest"] == [
        {"name": "f", "file": "a.py", "line": 5, "lines": 3},
        {"name": "C.m", "file": "a.py", "line": 10, "lines": 1},
    ]
    assert figures["classes"] == 1
    assert figures["median_lines"] == 3
    assert figures["skipped"] == 3
    assert {note.split(":")[0] for note in figures["notes"]} == {"broken.py", "lies.py", "nocodec.py"}
    assert len(bench.lines) == 3


async def test_a_file_that_would_stop_the_server_while_it_is_parsed_is_left_out(bench: Bench) -> None:
    (bench.root / "slow.py").write_bytes(b"# -*- coding: punycode -*-\n# TODO\n")
    (bench.root / "large.py").write_bytes(b"#TODO\n" * 50_000)
    for tool in (functions, todos):
        figures = await bench.call(tool, path=str(bench.root))
        assert figures["skipped"] == 2
        assert sorted(note.split(" (")[0] for note in figures["notes"])[0] == "large.py: too large to be parsed"


async def test_todos_are_found_in_comments_only(bench: Bench, tree: Path) -> None:
    figures = await bench.call(todos, path=str(tree))
    assert figures["todos"] == [
        {"file": "a.py", "line": 4, "kind": "TODO", "text": "later"},
        {"file": "a.py", "line": 6, "kind": "FIXME", "text": "now"},
        {"file": "latin.py", "line": 3, "kind": "TODO", "text": "café"},
        {"file": "odd?.py", "line": 1, "kind": "XXX", "text": "odd"},
    ]
    assert figures["by_kind"] == {"FIXME": 1, "TODO": 2, "XXX": 1}


async def test_the_import_graph_has_its_cycles(bench: Bench, tree: Path) -> None:
    figures = await bench.call(imports, path=str(tree))
    assert figures["cycles"] == [["pkg.a", "pkg.b", "pkg.sub.deep"]]
    assert figures["cycle_count"] == 1
    assert figures["most_imported"][0] == {"module": "pkg.a", "imported_by": 3}
    assert figures["outside"][0] == {"package": "os", "imports": 2}
    alone = await bench.call(imports, path=str(tree / "sub"))
    assert alone["modules"] == 2


async def test_one_file_is_a_tree_too_and_an_empty_folder_has_nothing(bench: Bench, tree: Path) -> None:
    assert (await bench.call(sizes, path=str(tree / "a.py")))["files"] == 1
    (bench.root / "empty").mkdir()
    assert (await bench.call(functions, path="empty"))["functions"] == 0
    assert (await bench.call(imports, path="empty"))["modules"] == 0
    assert (await bench.call(languages, path="empty"))["languages"] == []


async def test_what_cannot_be_read_is_left_out_with_a_note(bench: Bench, tree: Path) -> None:
    bench.context.limits = ToolLimits(max_file_bytes=40)
    figures = await bench.call(sizes, path=str(tree))
    assert "a.py: too large" in figures["notes"]
    bench.context.limits = ToolLimits()
    assert await bench.refused(sizes, path=str(tree), max_files=2) == "too_many_files"
    assert await bench.refused(sizes, path="/etc") == "path_refused"
    os.mkfifo(bench.root / "pipe")
    assert await bench.refused(sizes, path=str(bench.root / "pipe")) == "not_a_folder"


def test_the_source_tools_are_offered_by_entry_point() -> None:
    assert {"source.sizes", "source.languages", "source.functions", "source.todos", "source.imports"} <= set(
        installed_names()
    )
    schema = installed_parameters("source.sizes")
    assert schema is not None
    assert schema["required"] == ["path"]
    assert installed_parameters("no.such") is None
    with pytest.raises(ToolFailure) as failure:
        installed_tool("no.such")
    assert failure.value.code == "tool_unavailable"
