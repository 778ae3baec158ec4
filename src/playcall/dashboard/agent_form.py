"""The form of an agent: a new one's, and the changes to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from playcall.dashboard.input_form import Ask, Field, field_of
from playcall.models import Agent, InputSpec, InputType, JsonObject

__all__ = ["changes_of", "fields_of_agent", "spec_of"]

_ABOUT: Final = {
    "name": "What playbooks and tasks call it; unique among your agents",
    "type": "What you call its kind; it means nothing to the backend",
    "description": "What it is for",
    "instructions": "What its model is told before each prompt",
    "model": "Leave it empty for an agent that only uses tools",
}
_LONG: Final = frozenset({"instructions"})


def fields_of_agent(tools: Sequence[str], agent: Agent | None = None) -> tuple[Field, ...]:
    """Filled in with `agent`, if there is one. `tools` are the names to choose from."""
    fields = [_text(name, about, agent) for name, about in _ABOUT.items()]
    chosen = () if agent is None else tuple(agent.tools)
    names = tuple(sorted({*tools, *chosen}, key=str.casefold))
    spec = InputSpec(type=InputType.LIST, description="What it can do: an operation of it is the name of one of them")
    fields.append(Field("tools", Ask.SEVERAL, required=False, hint="", initial=chosen, shown_choices=names, spec=spec))
    return tuple(fields)


def spec_of(values: Mapping[str, object]) -> JsonObject:
    """What `agents.create` takes."""
    return {name: value for name, value in values.items() if value != ""}


def changes_of(agent: Agent, values: Mapping[str, object]) -> JsonObject:
    """What `agents.update` takes: only what was changed of `agent`, so that what others change meanwhile stands."""
    typed: dict[str, Any] = {"model": values.get("model") or None, **{k: v for k, v in values.items() if k != "model"}}
    return {name: value for name, value in typed.items() if value != getattr(agent, name)}


def _text(name: str, about: str, agent: Agent | None) -> Field:
    held = ("worker" if name == "type" else "") if agent is None else getattr(agent, name)
    spec = InputSpec(type=InputType.STRING, description=about, default=held or None, required=name == "name")
    field = field_of(name, spec)
    ask = Ask.LINES if name in _LONG else field.ask
    return Field(name, ask, field.required, hint="", initial=field.initial, spec=spec)
