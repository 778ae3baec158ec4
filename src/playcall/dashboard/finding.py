"""Which playbooks, runs, tasks and tools are looked for: what is typed and chosen above a list, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from playcall.models import Playbook, Run, Task, Tool

__all__ = ["PlaybookWish", "RunWish", "TaskWish", "ToolWish", "agents_of", "how_many", "tags_of"]


@dataclass(frozen=True, slots=True)
class PlaybookWish:
    """Text in the name or description, whatever its case; a tag; an agent. What is empty or None is not asked for."""

    text: str = ""
    tag: str | None = None
    agent: str | None = None

    def fits(self, playbook: Playbook) -> bool:
        text = self.text.strip().casefold()
        return (
            (text in playbook.name.casefold() or text in playbook.description.casefold())
            and (self.tag is None or self.tag in playbook.tags)
            and (self.agent is None or self.agent in playbook.agents)
        )


@dataclass(frozen=True, slots=True)
class RunWish:
    """A status; a playbook, by its id."""

    status: str | None = None
    playbook_id: str | None = None

    def fits(self, run: Run) -> bool:
        return (self.status is None or run.status == self.status) and (
            self.playbook_id is None or run.playbook_id == self.playbook_id
        )


def tags_of(playbooks: Iterable[Playbook]) -> Sequence[str]:
    return sorted({tag for playbook in playbooks for tag in playbook.tags})


def agents_of(playbooks: Iterable[Playbook]) -> Sequence[str]:
    return sorted({agent for playbook in playbooks for agent in playbook.agents})


@dataclass(frozen=True, slots=True)
class TaskWish:
    """A status; an agent, by its id; a run, by its id."""

    status: str | None = None
    agent_id: str | None = None
    run_id: str | None = None

    def fits(self, task: Task) -> bool:
        return (
            (self.status is None or task.status == self.status)
            and (self.agent_id is None or task.agent_id == self.agent_id)
            and (self.run_id is None or task.run_id == self.run_id)
        )


@dataclass(frozen=True, slots=True)
class ToolWish:
    """Text in the name or description, whatever its case; a kind."""

    text: str = ""
    kind: str | None = None

    def fits(self, tool: Tool) -> bool:
        text = self.text.strip().casefold()
        return (text in tool.name.casefold() or text in tool.description.casefold()) and (
            self.kind is None or tool.kind == self.kind
        )


def how_many(found: int, noun: str, *, more: bool, shown: int) -> str:
    """`1 run`, `300 runs, the newest 200 are shown`, `1,000 runs or more, the newest 200 are shown`

    Args:
        more: Whether there may be older ones that were not looked at.
        shown: So many at most.
    """
    counted = f"{found:,} {noun}{'' if found == 1 else 's'}{' or more' if more else ''}"
    return f"{counted}, the newest {shown} are shown" if found > shown else counted
