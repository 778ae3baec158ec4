"""What can be asked of an agent, and what is said of a task beside its parameters."""

from __future__ import annotations

from typing import Final

from playcall.dashboard.input_form import Field, field_of
from playcall.models import Agent, InputSpec, InputType

__all__ = ["ABOUT", "operations_of"]


def _field(name: str, label: str, spec: InputSpec, hint: str) -> Field:
    made = field_of(name, spec)
    return Field(name, made.ask, required=False, hint=hint, initial=made.initial, label=label, spec=spec)


ABOUT: Final = (
    _field("description", "description", InputSpec(type=InputType.STRING, required=False), "For people; shown with it"),
    _field(
        "timeout_seconds",
        "timeout",
        InputSpec(type=InputType.FLOAT, required=False),
        "Seconds after which it fails; empty for the backend's own limit",
    ),
)
"""Of any task, as fields."""


def operations_of(agent: Agent) -> tuple[str, ...]:
    """The names of its tools. One with a model takes any prompt as well, which is typed."""
    return tuple(sorted(agent.tools, key=str.casefold))
