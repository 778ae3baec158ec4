"""A process with an engine, to be killed: `kill_child.py FOLDER DATABASE_URL` (or `-` for a file of SQLite's).

The first one starts a run of each step type, and says `held` when each has come to the operation in its middle, which waits;
every later one works until all runs have ended, and then prints their outputs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from playcall.models import JsonObject
from playcall.server.engine import calls
from playcall.server.tools import AnyTool, Parameters, ToolContext, tool
from playcall.server.tools.failure import ToolFailure
from tests.server.engine.conftest import House, close_house, move_in, open_house
from tests.server.engine.marks import append
from tests.server.engine.steps.seven import SEVEN, playbook

HELD = {
    "standard": "only", "work_in_parallel": "both", "self_feedback_loop": "round-2", "partner_feedback_loop": "judge-1",
    "process": "second", "versus": "judge", "handoff": "taken",
}  # fmt: skip
"""The operation at which each type is killed."""
DONE_BEFORE = {
    "standard": 0, "work_in_parallel": 0, "self_feedback_loop": 1, "partner_feedback_loop": 1, "process": 2, "versus": 2,
    "handoff": 1,
}  # fmt: skip
"""Operations that have ended by then; of the process, one that failed and was tried again."""


class MarkParameters(Parameters):
    id: str
    type: str
    folder: str


@tool("mark", MarkParameters)
async def mark(parameters: MarkParameters, context: ToolContext) -> JsonObject:
    """Notes each beginning; in the first process it stays at what `HELD` says."""
    folder = Path(parameters.folder)
    marks = folder / f"{parameters.type}.marks"
    append(marks, f"{parameters.id} {context.idempotency_key}")
    if parameters.id == "first" and marks.read_text().count("first ") == 1:
        raise ToolFailure("not_yet", "the first try")
    if parameters.id == HELD[parameters.type] and not (folder / "killed").exists():
        await asyncio.sleep(600)
    return {"id": parameters.id, "winner": 1}


def only_mark(implementation: str) -> AnyTool:
    return mark


async def begin(house: House, folder: Path) -> dict[str, str]:
    await house.tool("mark", implementation="mark")
    for name in "ab":
        await house.agent(name, ["mark"])
    runs: dict[str, str] = {}
    for kind in SEVEN:

        def parameters(id: str, kind: str = kind) -> JsonObject:
            return {"id": id, "type": kind, "folder": str(folder)}

        runs[kind] = await house.start({"agents": ["a", "b"], "steps": [playbook(kind, "mark", parameters)]})
    return runs


async def until_held(house: House, folder: Path, runs: dict[str, str]) -> None:
    async with asyncio.timeout(60):
        for kind, run_id in runs.items():
            marks = folder / f"{kind}.marks"
            held = 2 if kind == "work_in_parallel" else 1
            while True:
                ended = [task for task in await house.tasks(run_id) if task.ended_at is not None]
                begun = marks.read_text().splitlines() if marks.exists() else []
                if len(ended) == DONE_BEFORE[kind] and sum(x.split()[0] == HELD[kind] for x in begun) == held:
                    break
                await asyncio.sleep(0.02)


async def main(folder: Path, url: str) -> None:
    calls.installed_tool = only_mark
    known = folder / "runs.json"
    house = await open_house(folder, database_url=None if url == "-" else url, lease_seconds=2.0)
    if not known.exists():
        house = await move_in(house)
        runs = await begin(house, folder)
        await until_held(house, folder, runs)
        known.write_text(json.dumps([house.owner, runs]))
        print("held", flush=True)
        await asyncio.sleep(600)
    owner, runs = json.loads(known.read_text())
    house = House(house.database, house.engine, house.settings, owner)
    ended = {kind: await house.ended(run_id) for kind, run_id in runs.items()}
    print(json.dumps({kind: [run.status, run.output] for kind, run in ended.items()}), flush=True)
    await close_house(house)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
