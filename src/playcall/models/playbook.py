"""Playbooks: what is to be done, by which agents, in which steps."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import Field, StringConstraints, field_validator, model_serializer, model_validator

from .base import JsonObject, RequestModel, Resource, WireModel
from .ids import PlaybookId
from .problem import FieldProblem

Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Identifier: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
"""A name that templates and conditions can refer to."""
Operation: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^:\s][^:]*:[^:\s][^:]*$", max_length=300)]
"""`Agent:operation`."""
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400)]
Iterations: TypeAlias = Annotated[int, Field(ge=1, le=1_000)]

END = "end"
"""As a `next`: the run ends here, whatever follows in the list."""


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


class StepRetry(RequestModel, frozen=True):
    """How often a step is tried, first attempt included, and the pause between, doubled each time."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    delay_seconds: Annotated[float, Field(ge=0, le=3_600)] = 1.0


class NextCondition(RequestModel, frozen=True):
    """Go to step `next` if `condition` holds; the first that holds wins."""

    condition: str
    next: Identifier


class _Step(RequestModel, frozen=True):
    """What all steps share.

    Without `next` and `next_conditions` the step that follows in the list comes next; `next: end` ends the run.
    """

    id: Identifier
    description: str = ""
    parameters: JsonObject = {}
    next: Identifier | None = None
    next_conditions: list[NextCondition] = []
    timeout_seconds: Seconds | None = None
    retry: StepRetry | None = None


class StandardStep(_Step, frozen=True):
    """One agent, one operation."""

    type: Literal["standard"]
    agent: Name
    operation: Name


class InputDistribution(RequestModel, frozen=True):
    """How parallel operations share the parameter `field`.

    `split` cuts the list into consecutive parts, `round_robin` deals it out, `duplicate` gives it to each whole.
    """

    mode: Literal["split", "duplicate", "round_robin"]
    field: Identifier | None = None

    @model_validator(mode="after")
    def _field_for_sharing(self) -> InputDistribution:
        if self.mode != "duplicate" and self.field is None:
            raise ValueError(f"{self.mode} needs `field`: the name of the parameter (a list) to share out")
        return self


class OutputAggregation(RequestModel, frozen=True):
    """How the outputs of parallel operations become one.

    `append`: a list, in the order of `agents`. `merge`: one object; where two write the same key, objects are merged,
    lists joined, and of other values the later in the order of `agents` stays. `filter`: as `append`, keeping those for
    which `condition` holds (`output` and `index` are its names).
    """

    mode: Literal["merge", "append", "filter"]
    condition: str | None = None

    @model_validator(mode="after")
    def _condition_for_filter(self) -> OutputAggregation:
        if (self.mode == "filter") != (self.condition is not None):
            raise ValueError("`condition` belongs to mode filter, and mode filter needs it")
        return self


class ParallelStep(_Step, frozen=True):
    """Several operations at once."""

    type: Literal["work_in_parallel"]
    agents: Annotated[list[Operation], Field(min_length=1, max_length=256)]
    input_distribution: InputDistribution = InputDistribution(mode="duplicate")
    output_aggregation: OutputAggregation = OutputAggregation(mode="append")

    @field_validator("input_distribution", "output_aggregation", mode="before")
    @classmethod
    def _mode_alone(cls, value: object) -> object:
        """`merge` is short for `{mode: merge}`."""
        return {"mode": value} if isinstance(value, str) else value


class SelfFeedbackStep(_Step, frozen=True):
    """One agent repeats its operations until the condition holds, or the iterations are used up."""

    type: Literal["self_feedback_loop"]
    agent: Name
    operations: Annotated[list[Name], Field(min_length=1)]
    termination_condition: str | None = None
    iterations: Iterations


class PartnerFeedbackStep(_Step, frozen=True):
    """Two roles alternate over `operations` (each `role:operation`)."""

    type: Literal["partner_feedback_loop"]
    roles: Annotated[dict[Identifier, Name], Field(min_length=2)]
    operations: Annotated[list[Operation], Field(min_length=2)]
    termination_condition: str | None = None
    iterations: Iterations


class GoTo(RequestModel, frozen=True):
    go_to: Identifier


class ProcessOperation(RequestModel, frozen=True):
    """One operation of a process; skipped unless `condition` holds."""

    agent: Name
    operation: Name
    parameters: JsonObject = {}
    condition: str | None = None
    failure_action: Literal["stop", "continue", "retry"] | GoTo = "stop"


class ProcessStep(_Step, frozen=True):
    """A sequence of operations."""

    type: Literal["process"]
    operations: Annotated[list[ProcessOperation], Field(min_length=1)]


class VersusStep(_Step, frozen=True):
    """Two or more operations do the same; the judge picks one."""

    type: Literal["versus"]
    agents: Annotated[list[Operation], Field(min_length=2)]
    judge: Operation
    evaluation_criteria: Annotated[list[str], Field(min_length=1)]


class Handoff(RequestModel, frozen=True):
    condition: str
    agent: Name
    operation: Name
    parameters: JsonObject = {}


class CompletionAction(RequestModel, frozen=True):
    agent: Name
    operation: Name
    parameters: JsonObject = {}


class HandoffStep(_Step, frozen=True):
    """A primary agent, then the first matching handoff, then the completion action."""

    type: Literal["handoff"]
    agent: Name
    operation: Name
    handoff_conditions: Annotated[list[Handoff], Field(min_length=1)]
    completion_action: CompletionAction | None = None


Step: TypeAlias = Annotated[
    StandardStep | ParallelStep | SelfFeedbackStep | PartnerFeedbackStep | ProcessStep | VersusStep | HandoffStep,
    Field(discriminator="type"),
]


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
