"""The steps of a playbook, by their types."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from .base import JsonObject, RequestModel
from .names import Identifier, Iterations, Name, Operation, Seconds

END = "end"
"""As a `next`: the run ends here, whatever follows in the list."""


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


class LoopOperation(RequestModel, frozen=True):
    """An operation of a loop with parameters of its own; without any it gets the step's, like one that is only named."""

    operation: Name
    parameters: JsonObject = {}


class SelfFeedbackStep(_Step, frozen=True):
    """One agent repeats its operations until the condition holds, or the iterations are used up.

    The condition is looked at after each round of all operations.
    """

    type: Literal["self_feedback_loop"]
    agent: Name
    operations: Annotated[list[Name | LoopOperation], Field(min_length=1, max_length=256)]
    termination_condition: str | None = None
    iterations: Iterations


class PartnerOperation(RequestModel, frozen=True):
    """As `LoopOperation`; `operation` is `role:operation`."""

    operation: Operation
    parameters: JsonObject = {}


class PartnerFeedbackStep(_Step, frozen=True):
    """Two or more roles alternate over `operations` (each `role:operation`); `roles` says which agent plays which.

    The condition is looked at after each round of all operations.
    """

    type: Literal["partner_feedback_loop"]
    roles: Annotated[dict[Identifier, Name], Field(min_length=2, max_length=32)]
    operations: Annotated[list[Operation | PartnerOperation], Field(min_length=2, max_length=256)]
    termination_condition: str | None = None
    iterations: Iterations


class GoTo(RequestModel, frozen=True):
    """The run goes on at this step, or is at its `end`."""

    go_to: Identifier


class ProcessOperation(RequestModel, frozen=True):
    """One operation of a process; skipped unless `condition` holds. Without parameters of its own it gets the step's.

    `failure_action`: `stop` fails the step; `continue` goes on with the next operation; `retry` tries the operation again,
    as the step's `retry` says, and then stops; `{go_to: STEP}` fails the step, and the run goes on at that one.
    """

    agent: Name
    operation: Name
    parameters: JsonObject = {}
    condition: str | None = None
    failure_action: Literal["stop", "continue", "retry"] | GoTo = "stop"


class ProcessStep(_Step, frozen=True):
    """A sequence of operations. `retry` is for those whose `failure_action` is `retry`; what is done is not done again."""

    type: Literal["process"]
    operations: Annotated[list[ProcessOperation], Field(min_length=1, max_length=256)]


class VersusStep(_Step, frozen=True):
    """Two or more operations do the same at once; the judge picks one.

    Without `judge_parameters` the judge gets `candidates` (each with `agent`, `operation` and `output`) and `criteria`.
    """

    type: Literal["versus"]
    agents: Annotated[list[Operation], Field(min_length=2, max_length=256)]
    judge: Operation
    judge_parameters: JsonObject = {}
    evaluation_criteria: Annotated[list[str], Field(min_length=1, max_length=100)]


class Handoff(RequestModel, frozen=True):
    """Who takes over if `condition` holds of the primary's `output`. Without parameters it gets the step's."""

    condition: str
    agent: Name
    operation: Name
    parameters: JsonObject = {}


class CompletionAction(RequestModel, frozen=True):
    """What is done with the `output` of whoever answered. Without parameters it gets the step's."""

    agent: Name
    operation: Name
    parameters: JsonObject = {}


class HandoffStep(_Step, frozen=True):
    """A primary agent, then the first matching handoff, then the completion action."""

    type: Literal["handoff"]
    agent: Name
    operation: Name
    handoff_conditions: Annotated[list[Handoff], Field(min_length=1, max_length=256)]
    completion_action: CompletionAction | None = None


Step: TypeAlias = Annotated[
    StandardStep | ParallelStep | SelfFeedbackStep | PartnerFeedbackStep | ProcessStep | VersusStep | HandoffStep,
    Field(discriminator="type"),
]
