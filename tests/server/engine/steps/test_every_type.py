"""What holds of every step type: it can be paused behind, cancelled within, and retried."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from playcall.models import JsonObject
from playcall.server.engine import calls
from playcall.server.store.tables import RunRow
from playcall.server.tools import AnyTool, Parameters, ToolContext, tool
from playcall.server.tools.failure import ToolFailure
from tests.server.engine.conftest import House
from tests.server.engine.test_run_flow import retry

from .seven import SEVEN, playbook

pytestmark = pytest.mark.asyncio(loop_scope="package")

OPERATIONS = {
    "standard": 1, "work_in_parallel": 2, "self_feedback_loop": 3, "partner_feedback_loop": 4, "process": 3, "versus": 3,
    "handoff": 3,
}  # fmt: skip


def _named(id: str) -> JsonObject:
    return {"id": id}


class Gate:
    """An installed tool that waits, fails or passes, as a test wants; it notes each call's id and key."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = asyncio.Event()
        self.fails = False
        self.calls: list[tuple[str, str]] = []

        class GateParameters(Parameters):
            id: str

        @tool("gate", GateParameters)
        async def gate(parameters: GateParameters, context: ToolContext) -> JsonObject:
            """Waits at the gate."""
            self.calls.append((parameters.id, context.idempotency_key))
            await self.opened.wait()
            if self.fails and parameters.id in ("only", "both", "round-3", "judge-2", "last", "completion"):
                raise ToolFailure("closed", "the gate is closed")
            return {"id": parameters.id, "winner": 0}

        def only_gate(implementation: str) -> AnyTool:
            return gate

        monkeypatch.setattr(calls, "installed_tool", only_gate)

    async def runs(self, house: House) -> dict[str, str]:
        await house.tool("gate", implementation="gate")
        for name in "ab":
            await house.agent(name, ["gate"])
        after = {"id": "after", "type": "standard", "agent": "a", "operation": "gate", "parameters": {"id": "after"}}
        return {
            kind: await house.start({"agents": ["a", "b"], "steps": [playbook(kind, "gate", _named), after]})
            for kind in SEVEN
        }  # fmt: skip

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.calls) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def act(house: House, name: str, run_id: str) -> None:
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, run_id, with_for_update=True)
        assert row is not None
        await getattr(house.engine.commands, name)(tx, row)


FIRST_AT_ONCE = sum(2 if kind in ("work_in_parallel", "versus") else 1 for kind in SEVEN)


async def test_a_pause_waits_for_the_step_and_a_resume_goes_on_behind_it(house: House, gate: Gate) -> None:
    runs = await gate.runs(house)
    await gate.until_begun(FIRST_AT_ONCE)
    for run_id in runs.values():
        await act(house, "pause_run", run_id)
    gate.opened.set()
    for kind, run_id in runs.items():
        await house.until_event(f"run:{run_id}", "run.paused")
        rows = await house.steps(run_id)
        assert (rows["s"].status, rows["after"].status) == ("completed", "pending"), kind
        await act(house, "resume_run", run_id)
    for kind, run_id in runs.items():
        run = await house.ended(run_id)
        assert (run.status, run.error) == ("completed", None), kind
        assert len(await house.tasks(run_id)) == OPERATIONS[kind] + 1, f"{kind}: nothing was done twice"


async def test_a_cancellation_stops_what_runs_and_begins_nothing_more(house: House, gate: Gate) -> None:
    runs = await gate.runs(house)
    await gate.until_begun(FIRST_AT_ONCE)
    for kind, run_id in runs.items():
        await act(house, "cancel_run", run_id)
        house.engine.stop_work(run_id)
        run = await house.ended(run_id)
        assert run.status == "cancelled", kind
        assert {task.status for task in await house.tasks(run_id)} == {"cancelled"}, kind
        assert {i: r.status for i, r in (await house.steps(run_id)).items()} == {"s": "cancelled", "after": "skipped"}
    assert len(gate.calls) == FIRST_AT_ONCE


async def test_a_retry_of_the_run_does_the_failed_step_again_from_its_start(house: House, gate: Gate) -> None:
    gate.opened.set()
    gate.fails = True
    runs = await gate.runs(house)
    failed: dict[str, Any] = {kind: await house.ended(run_id) for kind, run_id in runs.items()}
    for kind, run in failed.items():
        assert run.error is not None, kind
        assert (run.status, run.error["code"]) == ("failed", "closed"), kind
    gate.fails = False
    for kind, run in failed.items():
        again = await house.ended(await retry(house, run.id))
        assert (again.status, again.error) == ("completed", None), kind
        tasks = await house.tasks(again.id)
        assert len(tasks) == OPERATIONS[kind] + 1, kind
        keys = [key for _, key in gate.calls if key.startswith(f"{again.id}:s:")]
        assert len(keys) == len(set(keys)) == OPERATIONS[kind], f"{kind}: each operation has a key of its own"


async def test_a_new_attempt_does_everything_again_with_the_same_keys(house: House, gate: Gate) -> None:
    gate.opened.set()
    gate.fails = True
    await house.tool("gate", implementation="gate")
    for name in "ab":
        await house.agent(name, ["gate"])
    for kind in SEVEN:
        step = {**playbook(kind, "gate", _named), "retry": {"attempts": 2, "delay_seconds": 0}}
        run = await house.ended(await house.start({"agents": ["a", "b"], "steps": [step]}))
        assert run.error is not None, kind
        attempts = 1 if kind == "process" else 2
        tasks = sorted(await house.tasks(run.id), key=lambda task: (task.attempt, task.place))
        each = [[t.effect for t in tasks if t.attempt == n] for n in range(1, attempts + 1)]
        assert all(effects == each[0] for effects in each), kind
        assert len(tasks) == sum(map(len, each)), kind
