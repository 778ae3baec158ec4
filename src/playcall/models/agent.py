"""Agents: who does the work."""

from __future__ import annotations

from enum import StrEnum

from .base import Open, RequestModel, Resource
from .ids import AgentId
from .playbook import Name


class AgentState(StrEnum):
    CREATED = "created"
    READY = "ready"
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


class AgentSpec(RequestModel, frozen=True):
    """An agent as its owner describes it. `name` is unique for its owner; `tools` are names of tools.

    An operation of this agent is the name of one of its tools; with a `model`, it may also be a prompt.
    """

    name: Name
    type: str = "worker"
    description: str = ""
    instructions: str = ""
    model: str | None = None
    tools: list[Name] = []


class AgentPatch(RequestModel, frozen=True):
    """The fields to change; one that is not sent stays as it is."""

    name: Name | None = None
    type: str | None = None
    description: str | None = None
    instructions: str | None = None
    model: str | None = None
    tools: list[Name] | None = None


class Agent(Resource, frozen=True):
    """A stored agent. A stopped agent takes no new work: what is queued for it waits until it is started."""

    id: AgentId
    name: str
    type: str
    description: str = ""
    instructions: str = ""
    model: str | None = None
    tools: list[str] = []
    state: Open[AgentState]
