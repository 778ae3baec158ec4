"""Rendering from the loop: quick where it is plain, and otherwise in a process that is limited and killed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from playcall.server.tools import bounded as bounded_module
from playcall.server.tools import rendering
from playcall.server.tools.bounded import BrokenOff, bounded
from playcall.server.tools.rendering import render_template, render_templates
from playcall.server.tools.templating import TemplateProblem

NAMES: dict[str, Any] = {
    "inputs": {"list": [1, 2], "text": "x"},
    "steps": {"read": {"output": [3]}, "other": {"output": "large"}},
    "output": None,
}
BURNS = "{% for i in range(600) %}{% for j in range(800) %}{% set x = (i * j) ** 2 %}{% endfor %}{% endfor %}"
"""Within its budget, and some seconds of work."""


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    started: list[asyncio.subprocess.Process] = []
    original = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await original(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    return started


async def test_what_only_names_values_starts_no_process(processes: list[asyncio.subprocess.Process]) -> None:
    value = {"path": "{{ inputs.text }}", "list": ["{{ inputs.list }}", 5], "text": "a {{ steps.read.output[0] }}"}
    assert await render_templates(value, NAMES) == {"path": "x", "list": [[1, 2], 5], "text": "a 3"}
    assert await render_template("{{ inputs.text }}!", NAMES) == "x!"
    assert processes == []


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ inputs.list|sum }}", 3),
        ("{% for k, v in inputs.items() %}{{ k }} {% endfor %}", "list text "),
        ("{{ steps[inputs.text|replace('x', 'read')].output }}", [3]),
        ("{{ output is none }}", True),
        ("{{ (steps.read.output + inputs.list)|sort }}", [1, 2, 3]),
    ],
)
async def test_anything_else_is_rendered_in_a_process_with_the_same_result(
    template: str, value: object, processes: list[asyncio.subprocess.Process]
) -> None:
    assert await render_templates([template], NAMES) == [value]
    assert len(processes) == 1


async def test_only_the_names_that_it_needs_go_to_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Any] = []

    async def noted(module: Path, job: Any, **options: Any) -> Any:
        jobs.append(job)
        return {"value": 0}

    monkeypatch.setattr(rendering, "bounded", noted)
    await render_templates("{{ steps.read.output|sum }}", NAMES)
    assert jobs[0]["names"] == {"steps": {"read": {"output": [3]}}}


async def test_any_character_comes_back_as_it_is() -> None:
    assert await render_template("{{ x|list|join }}", {"x": "a\x00ä€\U0001f600"}) == "a\x00ä€\U0001f600"
    with pytest.raises(TemplateProblem, match="no attribute"):
        await render_template("{{ x['\\ud800']|upper }}", {"x": {}})


async def test_a_problem_in_the_process_is_told_as_any_other() -> None:
    with pytest.raises(TemplateProblem, match="nope"):
        await render_template("{{ inputs.nope|upper }}", NAMES)


async def test_a_rendering_that_takes_too_long_is_killed_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, processes: list[asyncio.subprocess.Process]
) -> None:
    monkeypatch.setattr(rendering, "RENDER_SECONDS", 0.4)
    began = time.monotonic()
    with pytest.raises(TemplateProblem, match=r"0\.4 s"):
        await render_template(BURNS, {})
    assert time.monotonic() - began < 10
    assert processes[0].returncode is not None


async def test_a_cancelled_rendering_ends_its_process(processes: list[asyncio.subprocess.Process]) -> None:
    rendered = asyncio.create_task(render_template(BURNS, {}))
    while not processes:
        await asyncio.sleep(0.001)
    rendered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rendered
    assert processes[0].returncode is not None


@pytest.mark.parametrize(
    "work",
    [
        "def work(job): return len(bytearray(1 << 40))",
        "def work(job):\n    made = []\n    while True: made.append(bytearray(1 << 20))",
        "import os\ndef work(job): os.abort()",
        "def work(job): return 'x' * (70 << 20)",
        "def work(job): print('{', flush=True)",
    ],
)
async def test_a_process_that_takes_too_much_gives_no_result(tmp_path: Path, work: str) -> None:
    module = tmp_path / "m.py"
    module.write_text(work)
    with pytest.raises(BrokenOff):
        await bounded(module, {}, seconds=20)


async def test_a_process_knows_nothing_of_the_servers_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYCALL_MODEL_API_KEY", "s3cret")
    module = tmp_path / "m.py"
    module.write_text("import os\ndef work(job): return sorted(os.environ)")
    assert "PLAYCALL_MODEL_API_KEY" not in await bounded(module, {}, seconds=20)


async def test_a_process_is_ended_by_the_system_when_its_processor_time_is_used_up(tmp_path: Path) -> None:
    """Also if the server that started it is gone: nobody's clock is needed."""
    module = tmp_path / "m.py"
    module.write_text(
        "import resource\n"
        "def work(job):\n"
        "    return [resource.getrlimit(kind) for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS)]"
    )
    assert await bounded(module, {}, seconds=7) == [[8, 8], [bounded_module.MEMORY_BYTES] * 2]
