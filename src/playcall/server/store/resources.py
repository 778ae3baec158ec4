"""From rows to what the wire carries."""

from __future__ import annotations

from playcall.models import Agent, AgentId, Playbook, PlaybookId, Tool, ToolId

from .tables.agents import AgentRow
from .tables.playbooks import PlaybookRow
from .tables.tools import ToolRow

__all__ = ["agent_of", "playbook_of", "tool_of"]


def playbook_of(row: PlaybookRow) -> Playbook:
    return Playbook.model_validate(
        {
            "id": PlaybookId(row.id),
            "version": row.version,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "name": row.name,
            "description": row.description,
            "tags": row.tags,
            "inputs": row.inputs,
            "agents": row.agents,
            "steps": row.steps,
        }
    )


def agent_of(row: AgentRow) -> Agent:
    return Agent(
        id=AgentId(row.id),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        name=row.name,
        type=row.type,
        description=row.description,
        instructions=row.instructions,
        model=row.model,
        tools=row.tools,
        state=row.state,
    )


def tool_of(row: ToolRow) -> Tool:
    """Without `secret_headers`: they are never shown."""
    return Tool(
        id=ToolId(row.id),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        name=row.name,
        kind=row.kind,
        description=row.description,
        parameters=row.parameters,
        defaults=row.defaults,
        implementation=row.implementation,
        url=row.url,
        method=row.method,
        timeout_seconds=row.timeout_seconds,
    )
