"""text.search, text.stats, csv.profile, template.render and wait, on real files."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from playcall.server.tools import ToolContext, ToolLimits, ToolStopped
from playcall.server.tools.search_worker import Job, work

from .conftest import Bench


async def test_search_finds_lines_and_passes_by_what_is_no_text(bench: Bench) -> None:
    (bench.root / "a.txt").write_text("one\nTwo needle\nthree")
    (bench.root / "b.bin").write_bytes(b"needle\0needle")
    (bench.root / ".hidden").write_text("needle")
    (bench.root / "sub").mkdir()
    (bench.root / "sub" / "c.md").write_text("needle needle")
    found = await bench.call("text.search", path=str(bench.root), pattern="needle")
    assert found["matches"] == [
        {"file": "a.txt", "line": 2, "text": "Two needle"},
        {"file": "sub/c.md", "line": 1, "text": "needle needle"},
    ]
    assert found["truncated"] is False
    assert (await bench.call("text.search", path=str(bench.root), pattern="NEEDLE", ignore_case=True, files="*.md"))[
        "count"
    ] == 1
    assert (await bench.call("text.search", path=str(bench.root), pattern="e", limit=1))["truncated"] is True
    assert (await bench.call("text.search", path=str(bench.root / "a.txt"), pattern="^t"))["matches"][0][
        "file"
    ] == "a.txt"
    bench.context.limits = ToolLimits(max_file_bytes=1)
    assert (await bench.call("text.search", path=str(bench.root), pattern="e"))["files_searched"] == 0


async def test_a_broken_pattern_is_told(bench: Bench) -> None:
    assert await bench.refused("text.search", pattern="(") == "parameters_invalid"


async def test_stats_count_a_text_or_a_file_but_not_both(bench: Bench) -> None:
    counted = await bench.call("text.stats", text="The cat\nand the dog", top=1)
    assert counted == {
        "characters": 19,
        "words": 5,
        "lines": 2,
        "distinct_words": 4,
        "top_words": [{"word": "the", "count": 2}],
    }
    (bench.root / "t.txt").write_text("a b")
    assert (await bench.call("text.stats", path="t.txt"))["words"] == 2
    assert await bench.refused("text.stats") == "parameters_invalid"
    assert await bench.refused("text.stats", text="x", path="t.txt") == "parameters_invalid"


async def test_a_csv_file_is_profiled_column_by_column(bench: Bench) -> None:
    rows = "name;n;x;gap\nann;1;1.5;\nbob;2;nan;\nann;3;2.5\n\n"
    (bench.root / "d.csv").write_text("\ufeff" + rows, encoding="utf-8")
    profile = await bench.call("csv.profile", path="d.csv")
    assert (profile["rows"], profile["delimiter"], profile["ragged_rows"]) == (3, ";", 1)
    by_name = {column["name"]: column for column in profile["columns"]}
    assert by_name["name"]["top"][0] == {"value": "ann", "count": 2}
    assert by_name["n"]["type"] == "integer"
    assert by_name["n"]["mean"] == 2
    assert by_name["x"]["type"] == "text", "nan is a word, not a number"
    assert by_name["gap"]["type"] == "empty"
    assert by_name["gap"]["missing"] == 3
    (bench.root / "f.csv").write_text("v\n1.5\n2\n")
    column = (await bench.call("csv.profile", path="f.csv"))["columns"][0]
    assert column["type"] == "float"
    assert math.isclose(column["max"], 2)
    (bench.root / "empty.csv").write_text("")
    assert await bench.refused("csv.profile", path="empty.csv") == "empty"
    (bench.root / "bad.csv").write_bytes(b"\xff\xfe")
    assert await bench.refused("csv.profile", path="bad.csv") == "not_text"
    (bench.root / "wide.csv").write_text("a,b\n" + '"' + "x" * 200_000 + '",1\n')
    assert await bench.refused("csv.profile", path="wide.csv", delimiter=",") == "not_csv"


async def test_a_template_becomes_text_or_an_artifact(bench: Bench) -> None:
    data = {"files": [{"name": "a", "n": 2}, {"name": "b", "n": 1}]}
    template = "{% for f in files|sort(attribute='n') %}{{ f.name }}={{ f.n }};{% endfor %}"
    assert await bench.call("template.render", template=template, data=data) == {"text": "b=1;a=2;"}
    (bench.root / "t.md").write_text("# {{ files|length }}")
    made = await bench.call("template.render", template_path="t.md", data=data, path="r.md")
    assert made["artifact"] == "r.md"
    assert (bench.context.workspace / "r.md").read_text() == "# 2"
    assert await bench.refused("template.render", template="{{ nope }}", data={}) == "template_failed"
    assert await bench.refused("template.render", data={}) == "parameters_invalid"


async def test_wait_reports_how_far_it_is(bench: Bench) -> None:
    assert await bench.call("wait", seconds=0.01, message="tea") == {"seconds": 0.01}
    assert bench.progress[0][1:] == (0.01, "tea")
    assert bench.progress[-1] == (0.01, 0.01, "tea")


async def test_a_cancelled_call_returns_only_when_its_thread_has_ended(bench: Bench) -> None:
    ended: list[str] = []
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(context: ToolContext) -> None:
        loop.call_soon_threadsafe(begun.set)
        try:
            while True:
                context.stop.wait(0.005)
                context.check_stopped()
        except ToolStopped:
            ended.append("stopped")
            raise

    call = asyncio.create_task(bench.context.in_thread(work, bench.context))
    await begun.wait()
    call.cancel()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended == ["stopped"]


async def test_a_pattern_that_takes_for_ever_is_ended_in_time_and_holds_nobody_up(bench: Bench) -> None:
    (bench.root / "a.txt").write_text("a" * 4_000)
    begun = time.monotonic()
    searching = asyncio.create_task(bench.refused("text.search", path="a.txt", pattern="(a+)+$b", timeout_seconds=0.4))
    longest = 0.0
    while not searching.done():
        before = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - before)
    assert searching.result() == "timeout"
    assert time.monotonic() - begun < 10
    assert longest < 0.3, "the loop went on meanwhile"


async def test_a_cancelled_search_ends_its_process(bench: Bench) -> None:
    (bench.root / "a.txt").write_text("a" * 4_000)
    started: list[asyncio.subprocess.Process] = []
    original = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await original(*arguments, **options))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "create_subprocess_exec", noted)
        searching = asyncio.create_task(bench.call("text.search", path="a.txt", pattern="(a+)+$b"))
        while not started:
            await asyncio.sleep(0.001)
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    assert started[0].returncode is not None


def test_the_worker_reports_its_progress(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(60):
        (bench.root / f"{n}.txt").write_text("x\ny")
    (bench.root / "b.bin").write_bytes(b"x\0")
    job: Job = {
        "root": str(bench.root), "skip": [], "pattern": "X", "files": "*", "ignore_case": True, "limit": 55, "max_bytes": 3
    }  # fmt: skip
    result = work(job)
    assert (result["count"], result["truncated"]) == (55, True)
    assert capsys.readouterr().out == '{"progress": 50, "matches": 49}\n'
    assert work({**job, "limit": 1_000})["files_searched"] == 60
    assert work({**job, "max_bytes": 2})["files_searched"] == 0
    assert work({**job, "root": str(bench.root / "1.txt")})["matches"][0]["file"] == "1.txt"
