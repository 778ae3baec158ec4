"""Everything that crosses the wire, shared by client and backend.

One file a noun; imports nothing else of playcall. Each is read when one of its names is first used (PEP 562): a client of
somebody else's backend needs none of the nouns, and they are a third of what it would load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .account import ApiKey, ApiKeySpec, Health, Me, NewApiKey, Scope, TokenPair
    from .agent import Agent, AgentPatch, AgentSpec, AgentState
    from .base import JsonObject, Open, RequestModel, Resource, WireModel
    from .cursor import Cursor
    from .event import AnyEvent, Event, KnownEvent, UnknownEvent
    from .ids import AgentId, ApiKeyId, EventId, PlaybookId, RunId, StepId, TaskId, ToolId, UserId
    from .page import Page
    from .playbook import (
        InputSpec,
        InputType,
        Playbook,
        PlaybookPatch,
        PlaybookSpec,
        PlaybookValidation,
        RunRequest,
        UnknownInput,
        UnknownStep,
    )
    from .problem import FieldProblem, Problem
    from .run import Artifact, LogLevel, LogLine, Run, RunStatus, RunStep, RunWish, StepStatus
    from .step import Step
    from .struct import WireStruct
    from .task import Failure, Task, TaskPatch, TaskSpec, TaskStatus
    from .tool import Tool, ToolCall, ToolHealth, ToolKind, ToolPatch, ToolResult, ToolSpec

__all__ = [
    "Agent",
    "AgentId",
    "AgentPatch",
    "AgentSpec",
    "AgentState",
    "AnyEvent",
    "ApiKey",
    "ApiKeyId",
    "ApiKeySpec",
    "Artifact",
    "Cursor",
    "Event",
    "EventId",
    "Failure",
    "FieldProblem",
    "Health",
    "InputSpec",
    "InputType",
    "JsonObject",
    "KnownEvent",
    "LogLevel",
    "LogLine",
    "Me",
    "NewApiKey",
    "Open",
    "Page",
    "Playbook",
    "PlaybookId",
    "PlaybookPatch",
    "PlaybookSpec",
    "PlaybookValidation",
    "Problem",
    "RequestModel",
    "Resource",
    "Run",
    "RunId",
    "RunRequest",
    "RunStatus",
    "RunStep",
    "RunWish",
    "Scope",
    "Step",
    "StepId",
    "StepStatus",
    "Task",
    "TaskId",
    "TaskPatch",
    "TaskSpec",
    "TaskStatus",
    "TokenPair",
    "Tool",
    "ToolCall",
    "ToolHealth",
    "ToolId",
    "ToolKind",
    "ToolPatch",
    "ToolResult",
    "ToolSpec",
    "UnknownEvent",
    "UnknownInput",
    "UnknownStep",
    "UserId",
    "WireModel",
    "WireStruct",
]

_HOMES = {
    "Agent": "agent",
    "AgentId": "ids",
    "AgentPatch": "agent",
    "AgentSpec": "agent",
    "AgentState": "agent",
    "AnyEvent": "event",
    "ApiKey": "account",
    "ApiKeyId": "ids",
    "ApiKeySpec": "account",
    "Artifact": "run",
    "Cursor": "cursor",
    "Event": "event",
    "EventId": "ids",
    "Failure": "task",
    "FieldProblem": "problem",
    "Health": "account",
    "InputSpec": "playbook",
    "InputType": "playbook",
    "JsonObject": "base",
    "KnownEvent": "event",
    "LogLevel": "run",
    "LogLine": "run",
    "Me": "account",
    "NewApiKey": "account",
    "Open": "base",
    "Page": "page",
    "Playbook": "playbook",
    "PlaybookId": "ids",
    "PlaybookPatch": "playbook",
    "PlaybookSpec": "playbook",
    "PlaybookValidation": "playbook",
    "Problem": "problem",
    "RequestModel": "base",
    "Resource": "base",
    "Run": "run",
    "RunId": "ids",
    "RunRequest": "playbook",
    "RunStatus": "run",
    "RunStep": "run",
    "RunWish": "run",
    "Scope": "account",
    "Step": "step",
    "StepId": "ids",
    "StepStatus": "run",
    "Task": "task",
    "TaskId": "ids",
    "TaskPatch": "task",
    "TaskSpec": "task",
    "TaskStatus": "task",
    "TokenPair": "account",
    "Tool": "tool",
    "ToolCall": "tool",
    "ToolHealth": "tool",
    "ToolId": "ids",
    "ToolKind": "tool",
    "ToolPatch": "tool",
    "ToolResult": "tool",
    "ToolSpec": "tool",
    "UnknownEvent": "event",
    "UnknownInput": "playbook",
    "UnknownStep": "playbook",
    "UserId": "ids",
    "WireModel": "base",
    "WireStruct": "struct",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
