"""Tools: what an agent can do."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

from pydantic import Field, PlainSerializer, SecretStr, StringConstraints

from .base import JsonObject, Open, RequestModel, Resource, WireModel
from .ids import TaskId, ToolId
from .names import Seconds

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]


class ToolKind(StrEnum):
    BUILTIN = "builtin"
    """Comes with the backend, for everybody; cannot be changed."""
    INSTALLED = "installed"
    """A Python function that an installed package offers by entry point, registered under a name with defaults."""
    HTTP = "http"
    """An HTTP endpoint of one's own, called with the parameters as JSON."""


def _shown(headers: dict[str, SecretStr]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in headers.items()}


SecretHeaders: TypeAlias = Annotated[
    dict[str, SecretStr], PlainSerializer(_shown, return_type=dict[str, str], when_used="json")
]
"""Hidden in every repr, and in no answer; shown only in the JSON of the request that registers them."""


class ToolSpec(RequestModel, frozen=True):
    """Registers a tool. `name` is unique for its owner.

    `installed` needs `implementation`, the name of an entry point; `http` needs `url`. `defaults` are parameters that
    every call starts from. `secret_headers` are sent to `url` and never shown again.
    """

    name: ToolName
    kind: ToolKind
    description: str = ""
    implementation: str | None = None
    url: str | None = None
    method: str = "POST"
    secret_headers: SecretHeaders = {}
    parameters: JsonObject | None = None
    defaults: JsonObject = {}
    timeout_seconds: Seconds | None = None


class ToolPatch(RequestModel, frozen=True):
    """The fields to change; one that is not sent stays as it is."""

    description: str | None = None
    url: str | None = None
    method: str | None = None
    secret_headers: SecretHeaders | None = None
    parameters: JsonObject | None = None
    defaults: JsonObject | None = None
    timeout_seconds: Seconds | None = None


class Tool(Resource, frozen=True):
    """A registered tool; `parameters` is a JSON schema (draft 2020-12) of what it takes."""

    id: ToolId
    name: str
    kind: Open[ToolKind]
    description: str = ""
    parameters: JsonObject = {}
    defaults: JsonObject = {}
    implementation: str | None = None
    url: str | None = None
    method: str | None = None
    timeout_seconds: float | None = None


class ToolHealth(WireModel, frozen=True):
    """Whether a tool could be called when it was last looked at."""

    healthy: bool
    message: str = ""
    checked_at: datetime
    latency_ms: float | None = None


class ToolCall(RequestModel, frozen=True):
    """Calls a tool directly. If it has not ended after `wait_seconds`, the answer names a task that goes on."""

    parameters: JsonObject = {}
    wait_seconds: Annotated[float, Field(ge=0, le=30)] = 5.0


class ToolResult(WireModel, frozen=True):
    """What a direct call gave. `task_id` names the task that did it; `finished` is false while that goes on."""

    finished: bool
    output: Any = None
    task_id: TaskId
