"""What docs/playbooks.md shows is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from playcall.models import PlaybookSpec
from playcall.server.engine.conditions import _FUNCTIONS
from playcall.server.tools import ToolContext, builtin_tools
from playcall.server.tools.templating import FILTERS, MAX_OUTPUT_CHARACTERS, MAX_ROUNDS

from .conftest import House

DOC = (Path(__file__).parents[3] / "docs" / "playbooks.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOC, re.DOTALL)
    assert found is not None
    return found.group(1)


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
    for number in (MAX_ROUNDS, MAX_OUTPUT_CHARACTERS):
        assert f"{number:,}" in DOC
