"""What docs/playbooks.md shows is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from playcall.models import PlaybookSpec, Step
from playcall.server.engine import validate_playbook
from playcall.server.engine.conditions import _FUNCTIONS, MAX_CONDITION_CHARACTERS
from playcall.server.engine.step_work import MAX_STEP_OUTPUT_BYTES
from playcall.server.engine.steps.work import MAX_TASKS_OF_RUN
from playcall.server.engine.validate import MAX_TEXT_CHARACTERS
from playcall.server.tools import ToolContext, builtin_tools
from playcall.server.tools.templating import FILTERS, MAX_OUTPUT_CHARACTERS, MAX_ROUNDS

from .conftest import House
from .test_validate import agent, tool

DOC = (Path(__file__).parents[3] / "docs" / "playbooks.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOC, re.DOTALL)
    assert found is not None
    return found.group(1)


def is_within(expected: Any, actual: Any) -> bool:
    """The same, but that the actual objects may have more keys."""
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(k in actual and is_within(v, actual[k]) for k, v in expected.items())
    if isinstance(expected, list):
        return isinstance(actual, list) and len(expected) == len(actual) and all(map(is_within, expected, actual))
    return bool(expected == actual)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_example_runs(house: House) -> None:
    spec = yaml.safe_load(block("yaml"))
    PlaybookSpec.model_validate(spec)
    await house.agent("Reader", ["text.stats"])
    await house.agent("Writer", ["template.render"])
    (house.files / "note.txt").write_text("three little words")
    run_id = await house.start(spec, {"path": str(house.files / "note.txt")})
    run = await house.ended(run_id)
    assert run.error is None
    assert (house.settings.workspaces_dir / run_id / "report.md").read_text() == "3 words"


EXAMPLES = re.findall(r"### `(\w+)`\n(?:(?!###).)*?```yaml\n(.*?)```\n\n```json\n(.*?)```", DOC, re.DOTALL)
TOOLS = {
    name: re.findall(r"`([\w.]+)`", tools) for name, tools in re.findall(r"an\s+agent\s+`(\w+)` \(tools ([^)]+)\)", DOC)
}


def test_every_step_type_has_an_example() -> None:
    known = {step.model_fields["type"].annotation.__args__[0] for step in Step.__origin__.__args__}
    assert {name for name, _, _ in EXAMPLES} == known
    for name, text, _ in EXAMPLES:
        assert yaml.safe_load(text)[0]["type"] == name


@pytest.mark.parametrize(("text", "output"), [each[1:] for each in EXAMPLES], ids=[each[0] for each in EXAMPLES])
@pytest.mark.asyncio(loop_scope="module")
async def test_the_example_of_each_step_type_gives_what_is_said(house: House, text: str, output: str) -> None:
    for name, tools in TOOLS.items():
        await house.agent(name, tools)
    spec = {
        "name": "example",
        "agents": [*TOOLS],
        "inputs": {"path": {"type": "string"}},
        "steps": yaml.safe_load(text),
    }
    agents = {name: agent(name, tools) for name, tools in TOOLS.items()}
    tools = {name: tool(name) for names in TOOLS.values() for name in names}
    assert validate_playbook(PlaybookSpec.model_validate(spec), agents=agents, tools=tools) == []
    (house.files / "note.txt").write_text("three little words")
    run = await house.ended(await house.start(spec, {"path": str(house.files / "note.txt")}))
    assert run.error is None
    assert is_within(json.loads(output), run.output), run.output


async def test_the_tool_of_ones_own_is_a_tool(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(block("python"), names)
    output = await names["greet"].call({"name": "you"}, ToolContext(workspace=tmp_path))
    assert output == {"greeting": "Hello you"}


def test_the_tables_name_every_tool_function_and_bound() -> None:
    for name in builtin_tools():
        assert f"| `{name}` |" in DOC, name
    for name in [*_FUNCTIONS, *FILTERS]:
        assert name in DOC, name
    assert f"| {MAX_STEP_OUTPUT_BYTES // 1024**2} MiB |" in DOC
    numbers = (MAX_ROUNDS, MAX_OUTPUT_CHARACTERS, MAX_TASKS_OF_RUN, MAX_TEXT_CHARACTERS, MAX_CONDITION_CHARACTERS)
    for number in numbers:
        assert f"{number:,}" in DOC
