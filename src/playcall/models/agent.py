"""Agents: who does the work."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

from pydantic import StringConstraints

from .base import Open, RequestModel, Resource
from .ids import AgentId
from .names import Name

AgentType: TypeAlias = Annotated[str, StringConstraints(max_length=200)]
"""What its owner calls its kind; it means nothing to the backend."""


class AgentState(StrEnum):
    """`error`: its last three operations failed because what they need is not there; it works on, and one that
    completes ends the state, as a start does."""

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
    type: AgentType = "worker"
    description: str = ""
    instructions: str = ""
    model: str | None = None
    tools: list[Name] = []


class AgentPatch(RequestModel, frozen=True):
    """The fields to change; one that is not sent stays as it is."""

    name: Name | None = None
    type: AgentType | None = None
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
