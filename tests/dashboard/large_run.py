"""A run of thousands of steps and tens of thousands of log lines, which is still going on.

A small run is begun by the client, and stops at a gate. Then the server's own code, in this process as a second one on the
same SQLite file, adds to it what a long run would have left behind: the rows of the steps, and their events. That takes
seconds, and the run itself minutes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import update

from playcall import Playcall
from playcall.loop_thread import LoopThread
from playcall.models import LogLevel, Run
from playcall.models.event import TaskProgress
from playcall.server.engine.announce import announce_log, announce_run, announce_step
from playcall.server.settings import DATABASE_FILE
from playcall.server.store.database import Database
from playcall.server.store.tables import RunRow, RunStepRow
from playcall.testing import LiveBackend

from .installed_tools import LEVELS

__all__ = ["begin_large_run"]

STEPS_AT_ONCE: Final = 50
SECONDS_A_STEP: Final = 2


def begin_large_run(backend: LiveBackend, client: Playcall, agent: str, gate: Path, *, steps: int, lines: int) -> Run:
    """A run that waits for the file `1` in `gate`, with its last but one step of `steps`, after `lines` log lines.

    Args:
        agent: Has the tools `show.gate` and `wait`.
    """
    playbook = client.playbooks.create(
        {
            "name": f"Reconciliation of {steps:,} accounts",
            "agents": [agent],
            "tags": ["large"],
            "steps": [
                _step("first", agent, "wait", {"seconds": 0}),
                _step("gate", agent, "show.gate", {"folder": str(gate)}),
                _step("last", agent, "wait", {"seconds": 0}),
            ],
        }
    )
    run = client.playbooks.run(playbook.id)
    for event in client.runs.watch(run.id, start="start"):
        if isinstance(event, TaskProgress) and event.data.step_id == "gate":
            break
    LoopThread.shared().call(_grow, backend.data_dir / DATABASE_FILE, run.id, steps, lines)
    return client.runs.get(run.id)


def _step(id: str, agent: str, operation: str, parameters: dict[str, object]) -> dict[str, object]:
    return {"id": id, "type": "standard", "agent": agent, "operation": operation, "parameters": parameters}


async def _grow(file: Path, run_id: str, steps: int, lines: int) -> None:
    """Puts the steps between the first and the gate."""
    added = steps - 3
    database = Database.at(f"sqlite+aiosqlite:///{file}")
    try:
        async with database.write() as tx:
            run = await tx.session.get_one(RunRow, run_id)
            began = run.created_at - timedelta(seconds=added * SECONDS_A_STEP)
            mine = RunStepRow.run_id == run_id
            await tx.session.execute(
                update(RunStepRow).where(mine, RunStepRow.position > 0).values(position=RunStepRow.position + added)
            )
            await tx.session.execute(
                update(RunStepRow).where(mine, RunStepRow.id == "first").values(started_at=began, ended_at=began)
            )
            run.created_at = run.started_at = began
            run.steps_total = steps
            run.version += 1
        for first in range(0, added, STEPS_AT_ONCE):
            some = range(first, min(first + STEPS_AT_ONCE, added))
            async with database.write() as tx:
                run = await tx.session.get_one(RunRow, run_id)
                for number in some:
                    row = _row(run_id, number, began + timedelta(seconds=number * SECONDS_A_STEP))
                    tx.session.add(row)
                    announce_step(tx, run, row, "started")
                    for line in range(number * lines // added, (number + 1) * lines // added):
                        level = LogLevel(LEVELS[line % len(LEVELS)])
                        said = f"line {line} of the quarterly report has been read, and its figures agree"
                        announce_log(tx, run.owner_id, run_id, level, said, step_id=row.id, task_id=None)
                    row.status, row.ended_at = "completed", row.started_at + timedelta(seconds=SECONDS_A_STEP)
                    announce_step(tx, run, row, "finished")
                run.steps_finished += len(some)
                run.version += 1
                announce_run(tx, run, "changed")
    finally:
        await database.close()


def _row(run_id: str, number: int, began: datetime) -> RunStepRow:
    return RunStepRow(
        run_id=run_id,
        id=f"account_{number:04}",
        position=number + 1,
        type="standard",
        description=f"Reconciles account {number}",
        status="running",
        attempt=1,
        started_at=began,
    )
