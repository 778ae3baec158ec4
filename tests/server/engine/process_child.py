"""A process of several on one database, to be stopped and killed: `process_child.py FOLDER URL`.

It works until SIGTERM. Its tool appends `begin ID KEY` to FOLDER/marks, holds while FOLDER/hold-ID is there, and appends
`end ID KEY`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from playcall.server.engine import Engine, calls
from playcall.server.settings import Settings
from playcall.server.store.database import Database
from playcall.server.tools import AnyTool, Parameters, ToolContext, tool
from tests.server.engine.marks import append

LEASE_SECONDS = 1.5


class HoldParameters(Parameters):
    id: str
    folder: str
    stubborn: bool = False


@tool("hold", HoldParameters)
async def hold(parameters: HoldParameters, context: ToolContext) -> dict[str, str]:
    """Works while it is told to; a stubborn one does so whoever cancels it."""
    folder = Path(parameters.folder)
    append(folder / "marks", f"begin {parameters.id} {context.idempotency_key}")
    while (folder / f"hold-{parameters.id}").exists():
        with contextlib.suppress(*[asyncio.CancelledError] if parameters.stubborn else []):
            await asyncio.sleep(0.02)
    append(folder / "marks", f"end {parameters.id} {context.idempotency_key}")
    return {"id": parameters.id}


def only_hold(implementation: str) -> AnyTool:
    return hold


def settings_in(folder: Path) -> Settings:
    return Settings(data_dir=folder / "data", lease_seconds=LEASE_SECONDS, max_at_once=3)


async def main(folder: Path, url: str) -> None:
    calls.installed_tool = only_hold
    database = await Database.create(url)
    engine = Engine(database=database, settings=settings_in(folder))
    await engine.launch()
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    print("launched", flush=True)
    await asked.wait()
    await engine.shutdown()
    await database.close()
    print("ended", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
