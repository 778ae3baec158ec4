"""A process with an engine, to be killed: `crash_child.py FOLDER`.

The first one starts a run of steps that each append `begin ID` and `end ID` to FOLDER/marks; every one works until the
run has ended, and then prints its status.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playcall.server.engine import calls
from playcall.server.tools import AnyTool, Parameters, ToolContext, tool
from tests.server.engine.conftest import House, close_house, move_in, open_house
from tests.server.engine.marks import append

STEPS = 6
STEP_SECONDS = 0.15


class MarkParameters(Parameters):
    id: str
    marks: str


@tool("mark", MarkParameters)
async def mark(parameters: MarkParameters, context: ToolContext) -> dict[str, str]:
    """Appends a line before and after its work."""
    append(Path(parameters.marks), f"begin {parameters.id} {context.idempotency_key}")
    context.progress(0, 1)
    await asyncio.sleep(STEP_SECONDS)
    append(Path(parameters.marks), f"end {parameters.id} {context.idempotency_key}")
    return {"id": parameters.id}


def only_mark(implementation: str) -> AnyTool:
    return mark


async def main(folder: Path) -> None:
    calls.installed_tool = only_mark
    known = folder / "run"
    house = await open_house(folder)
    if not known.exists():
        house = await move_in(house)
        await house.agent("a", ["mark"])
        await house.tool("mark", implementation="mark")
        steps = [
            {
                "id": f"s{n}",
                "type": "standard",
                "agent": "a",
                "operation": "mark",
                "parameters": {"id": f"s{n}", "marks": str(folder / "marks")},
            }
            for n in range(STEPS)
        ]
        run_id = await house.start({"agents": ["a"], "steps": steps})
        known.write_text(f"{house.owner} {run_id}")
    owner, run_id = known.read_text().split()
    house = House(house.database, house.engine, house.settings, owner)
    run = await house.ended(run_id)
    print(run.status, flush=True)
    await close_house(house)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
