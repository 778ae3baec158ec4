"""The ids of the contract: opaque strings, given by the backend, never reused."""

from __future__ import annotations

from typing import NewType

PlaybookId = NewType("PlaybookId", str)
RunId = NewType("RunId", str)
StepId = NewType("StepId", str)
"""A step's `id` within its playbook; unique there only."""
AgentId = NewType("AgentId", str)
TaskId = NewType("TaskId", str)
ToolId = NewType("ToolId", str)
ApiKeyId = NewType("ApiKeyId", str)
UserId = NewType("UserId", str)
EventId = NewType("EventId", str)
