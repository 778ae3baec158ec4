"""A server that is killed in the middle of a step of each type goes on there: only what was under way is done again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .kill_child import HELD
from .seven import SEVEN

ROOT = Path(__file__).parents[4]


def out(id: str) -> dict[str, Any]:
    return {"id": id, "winner": 1}


def result(agent: str, output: Any, status: str = "completed") -> dict[str, Any]:
    return {"agent": agent, "operation": "mark", "status": status, "output": output, "error": None}


OUTPUTS: dict[str, Any] = {
    "standard": out("only"),
    "work_in_parallel": [out("both"), out("both")],
    "self_feedback_loop": {
        "output": out("round-3"), "outputs": {"mark": out("round-3")}, "iterations": 3, "met": True,
    },
    "partner_feedback_loop": {
        "output": out("judge-2"), "outputs": {"maker": out("make-2"), "critic": out("judge-2")}, "iterations": 2,
        "met": True,
    },
    "process": [
        result("a", out("first")), result("b", out("second")), result("a", None, "skipped"), result("a", out("last")),
    ],
    "versus": {"winner": 1, "agent": "b", "operation": "mark", "output": out("both"), "verdict": out("judge")},
    "handoff": {
        "answered_by": {"agent": "b", "operation": "mark"}, "output": out("taken"), "primary": out("primary"),
        "completion": out("completion"),
    },
}  # fmt: skip
BEGUN: dict[str, dict[str, int]] = {
    "standard": {"only": 2},
    "work_in_parallel": {"both": 4},
    "self_feedback_loop": {"round-1": 1, "round-2": 2, "round-3": 1},
    "partner_feedback_loop": {"make-1": 1, "judge-1": 2, "make-2": 1, "judge-2": 1},
    "process": {"first": 2, "second": 2, "last": 1},
    "versus": {"both": 2, "judge": 2},
    "handoff": {"primary": 1, "taken": 2, "completion": 1},
}
"""How often each operation was: what was held twice, the process's first because its first try failed."""


async def child(folder: Path, url: str | None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.engine.steps.kill_child", str(folder), url or "-",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_only_the_interrupted_operations_run_again_with_their_keys(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(database)
    url = None if server is None else server.new_database()
    process = await child(tmp_path, url)
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 90) == b"held\n"
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself: then what it said is not what it should
            process.send_signal(signal.SIGKILL)
        await process.communicate()
    (tmp_path / "killed").touch()
    process = await child(tmp_path, url)
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 90)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    ended = json.loads(said)
    for kind in SEVEN:
        assert ended[kind] == ["completed", OUTPUTS[kind]], kind
        lines = [line.split() for line in (tmp_path / f"{kind}.marks").read_text().splitlines()]
        assert Counter(name for name, _ in lines) == BEGUN[kind], kind
        keys = Counter(key for name, key in lines if name == HELD[kind])
        assert set(keys.values()) == {2}, f"{kind}: with the key that it had"
        assert len({key for _, key in lines}) == len(lines) - len(keys) - (kind == "process"), f"{kind}: each its own"
