"""The names of the logs."""

from __future__ import annotations

from typing import Final

from .ids import AgentId, RunId, TaskId

PLAYBOOKS: Final = "playbooks"
AGENTS: Final = "agents"
TASKS: Final = "tasks"
TOOLS: Final = "tools"
RUNS: Final = "runs"

COLLECTIONS: Final = frozenset({PLAYBOOKS, AGENTS, TASKS, TOOLS, RUNS})
"""Low-rate topics, one log for each owner: created, changed, deleted, with the whole resource."""


def run_topic(run_id: RunId | str) -> str:
    return f"run:{run_id}"


def task_topic(task_id: TaskId | str) -> str:
    return f"task:{task_id}"


def agent_topic(agent_id: AgentId | str) -> str:
    return f"agent:{agent_id}"
