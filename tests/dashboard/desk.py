"""What a test of the dashboard has on the backend: a user of its own, an agent that can do what is to be seen, and gates."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playcall import ApiKey, Playcall
from playcall.models import Run
from playcall.models.event import TaskProgress

from .installed_tools import TOOLS

__all__ = ["AGENT", "Desk", "Gate", "sit_down"]

AGENT = "Clerk"


@dataclass(frozen=True)
class Gate:
    """A folder that `show.gate` looks into: it goes on mark by mark, when the test says so."""

    folder: Path

    def open(self, mark: int) -> None:
        (self.folder / str(mark)).touch()


@dataclass(frozen=True)
class Desk:
    """`client` is of the same user as `api_key`."""

    url: str
    api_key: str = field(repr=False)
    client: Playcall
    gate: Gate

    def run(self, name: str, *steps: dict[str, Any], **fields: Any) -> Run:
        """Begins a playbook of these steps, each `{"use": OPERATION, …its parameters}`, and of more `fields`."""
        spec = {
            "name": name,
            "agents": [AGENT],
            "steps": [
                {
                    "id": f"s{number}",
                    "type": "standard",
                    "agent": AGENT,
                    "operation": step["use"],
                    "parameters": {key: value for key, value in step.items() if key != "use"},
                }
                for number, step in enumerate(steps, 1)
            ],
            **fields,
        }
        playbook = self.client.playbooks.create(spec)
        return self.client.playbooks.run(playbook.id)

    def at_gate(self, name: str, *before: dict[str, Any], marks: int = 1, **fields: Any) -> Run:
        """As `run`, with a gate of so many marks after these steps; returns when it waits there."""
        gate = {"use": "show.gate", "folder": str(self.gate.folder), "marks": marks}
        run = self.run(name, *before, gate, **fields)
        for event in self.client.runs.watch(run.id, start="start"):
            if isinstance(event, TaskProgress) and event.data.message.startswith("mark"):
                return self.client.runs.get(run.id)
        raise AssertionError("the run ended before its gate")

    def ended(self, run: Run) -> Run:
        return self.client.runs.wait(run.id, timeout_seconds=120)


def sit_down(url: str, api_key: str, folder: Path) -> Desk:
    """Registers the tools and the agent. The client is the caller's to close."""
    client = Playcall(url, auth=ApiKey(api_key), deadline_seconds=60)
    for name in TOOLS:
        client.tools.register({"name": name, "kind": "installed", "implementation": name})
    client.agents.create({"name": AGENT, "tools": [*TOOLS, "wait", "template.render", "files.write", "files.read"]})
    gate = folder / "gate"
    gate.mkdir()
    return Desk(url, api_key, client, Gate(gate))
