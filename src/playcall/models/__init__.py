"""Everything that crosses the wire, shared by client and backend.

One file a noun; imports nothing else of playcall.
"""

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
]
