"""Playbooks: what is to be done, by which agents, in which steps."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, cast

from pydantic import Field, StringConstraints, model_serializer, model_validator

from .base import JsonObject, RequestModel, Resource, WireModel
from .ids import PlaybookId
from .names import Identifier, Name
from .problem import FieldProblem
from .step import Step


class InputType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    LIST = "list"
    OBJECT = "object"


class InputSpec(RequestModel, frozen=True):
    """One typed parameter of a playbook; required unless it has a default.

    `min` and `max` bound a number's value, or the length of a string or list.
    """

    type: InputType
    description: str = ""
    default: Any = None
    required: bool | None = None
    choices: list[Any] | None = None
    min: float | None = None
    max: float | None = None

    @property
    def is_required(self) -> bool:
        return self.default is None if self.required is None else self.required


class PlaybookSpec(RequestModel, frozen=True):
    """A playbook as its author writes it, in YAML or JSON."""

    name: Name
    description: str = ""
    tags: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = []
    inputs: dict[Identifier, InputSpec] = {}
    agents: Annotated[list[Name], Field(min_length=1)]
    steps: Annotated[list[Step], Field(min_length=1, max_length=2_000)]


class PlaybookPatch(RequestModel, frozen=True):
    """The fields to change; one that is not sent stays as it is."""

    name: Name | None = None
    description: str | None = None
    tags: list[str] | None = None
    inputs: dict[Identifier, InputSpec] | None = None
    agents: list[Name] | None = None
    steps: list[Step] | None = None


class _AsItCame(WireModel, frozen=True):
    """Something of a type that this version does not know, or cannot read: `raw` has all of it, and is sent back."""

    type: str
    raw: JsonObject

    @model_validator(mode="before")
    @classmethod
    def _keep_all(cls, value: object) -> object:
        """Everything that came, beside the fields that are always there."""
        if not isinstance(value, dict):
            return value
        came = cast("JsonObject", value)
        return {**{name: came.get(name) for name in cls.model_fields if name != "raw"}, "raw": came}

    @model_serializer
    def _as_it_came(self) -> JsonObject:
        return self.raw


class UnknownStep(_AsItCame, frozen=True):
    """A step of a type that this version does not know, or cannot read, as it came."""

    id: str


class UnknownInput(_AsItCame, frozen=True):
    """A parameter of a type that this version does not know, or cannot read, as it came."""


class PlaybookValidation(WireModel, frozen=True):
    """What is wrong with a playbook; `valid` if nothing is."""

    valid: bool
    errors: list[FieldProblem] = []


class Playbook(Resource, frozen=True):
    """A stored playbook."""

    id: PlaybookId
    name: str
    description: str = ""
    tags: list[str] = []
    inputs: dict[str, Annotated[InputSpec | UnknownInput, Field(union_mode="left_to_right")]] = {}
    agents: list[str]
    steps: list[Annotated[Step | UnknownStep, Field(union_mode="left_to_right")]]


class RunRequest(RequestModel, frozen=True):
    """Starts a run: values for the playbook's inputs."""

    inputs: JsonObject = {}
