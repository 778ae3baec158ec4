"""The example that uses every step type, on the project's own documentation."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from playcall.models import PlaybookSpec
from playcall.server.documents import read_yaml
from playcall.server.engine import validate_playbook
from tests.server.engine.conftest import House
from tests.server.engine.test_validate import agent, tool

from .seven import SEVEN

ROOT = Path(__file__).parents[4]
TEXT = (ROOT / "examples" / "playbooks" / "every_step.yaml").read_text()
AGENTS = {
    name: [tool.strip() for tool in tools.split(",")]
    for name, tools in re.findall(r"^#   (\w+) {2,}(.+)$", TEXT, re.MULTILINE)
}


def test_it_has_every_type_and_nothing_is_wrong_with_it() -> None:
    spec = PlaybookSpec.model_validate(read_yaml(TEXT.encode()).value)
    assert {step.type for step in spec.steps} == set(SEVEN)
    assert set(AGENTS) == set(spec.agents)
    tools = {name: tool(name) for names in AGENTS.values() for name in names}
    agents = {name: agent(name, names) for name, names in AGENTS.items()}
    assert validate_playbook(spec, agents=agents, tools=tools) == []


@pytest.mark.asyncio(loop_scope="package")
async def test_it_reports_on_the_projects_own_documentation(house: House) -> None:
    for name, tools in AGENTS.items():
        await house.agent(name, tools)
    folder = house.files / "docs"
    folder.mkdir()
    for file in sorted((ROOT / "docs").glob("*.md"))[:6]:
        shutil.copy(file, folder)
    (folder / "notes.md").write_text("TODO: say more\n")
    spec: Any = yaml.safe_load(TEXT)
    run_id = await house.start(spec, {"folder": str(folder)})
    run = await house.ended(run_id)
    assert run.error is None
    rows = await house.steps(run_id)
    assert {row.status for row in rows.values()} == {"completed"}

    files = sorted(folder.glob("*.md"))
    words = sum(len(re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", file.read_text())) for file in files)
    largest = max(files, key=lambda file: file.stat().st_size)
    assert [f["path"] for f in rows["list"].output["files"]] == [file.name for file in files]
    assert rows["largest"].output["path"] == str(largest)
    assert rows["largest"].output["text"] == largest.read_text()
    assert rows["words"].output["iterations"] == len(files)
    assert int(rows["words"].output["output"]["text"]) == words
    assert rows["title"].output["output"]["words"] <= 8
    assert rows["open_ends"].output["answered_by"]["agent"] == "Writer"
    assert [r["status"] for r in rows["table"].output] == ["failed", "skipped", "completed"]
    assert rows["told"].output["operation"] == "csv.profile"

    workspace = house.settings.workspaces_dir / run_id
    listed = list(csv.DictReader((workspace / "files.csv").read_text().splitlines()))
    assert [(row["file"], int(row["bytes"])) for row in listed] == [(f.name, f.stat().st_size) for f in files]
    assert "- notes.md:1 TODO: say more\n" in (workspace / "open-ends.md").read_text()
    assert {"file": "notes.md", "line": 1, "text": "TODO: say more"} in json.loads(
        (workspace / "open-ends.json").read_text()
    )
    report = (workspace / "report.md").read_text()
    assert report.startswith("# About ")
    assert f"{len(files)} files with {words} words; the largest is {largest}." in report
    assert all(f"- {file.name} (" in report for file in files)
