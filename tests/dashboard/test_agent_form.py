"""An agent's form sends what was typed, and of a change only what was changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from playcall.dashboard.agent_form import changes_of, fields_of_agent, spec_of
from playcall.dashboard.input_form import Ask, read
from playcall.errors import InvalidRequestError
from playcall.models import Agent

from .desk import Desk

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGENT = Agent.model_validate(
    {
        "id": "a", "version": 3, "created_at": NOW, "updated_at": NOW, "name": "Clerk", "type": "worker", "state": "ready",
        "description": "Keeps", "instructions": "Be\nbrief", "model": "m", "tools": ["wait", "gone"],
    }
)  # fmt: skip


def as_shown(agent: Agent) -> dict[str, object]:
    """What the form holds before anything is typed."""
    return {each.name: each.initial for each in fields_of_agent(["wait", "shell"], agent)}


def changes(**typed: object) -> dict[str, Any]:
    fields = fields_of_agent(["wait", "shell"], AGENT)
    reading = read(fields, {**as_shown(AGENT), **typed})
    assert not reading.problems
    return changes_of(AGENT, reading.values)


def test_a_form_that_was_not_touched_changes_nothing() -> None:
    assert changes() == {}


def test_only_what_was_changed_is_sent() -> None:
    assert changes(description="Keeps the ledgers", tools=["wait"]) == {
        "description": "Keeps the ledgers",
        "tools": ["wait"],
    }


def test_what_was_emptied_is_sent_as_empty_and_the_model_as_none() -> None:
    assert changes(description="", model="", tools=[]) == {"description": "", "model": None, "tools": []}


def test_a_tool_that_is_not_there_any_more_can_still_be_seen_and_taken_away() -> None:
    (tools,) = [each for each in fields_of_agent(["wait", "shell"], AGENT) if each.ask is Ask.SEVERAL]
    assert tools.shown_choices == ("gone", "shell", "wait")
    assert tools.initial == ("wait", "gone")


def test_a_new_agent_is_what_was_typed_and_the_name_has_to_be(desk: Desk) -> None:
    fields = fields_of_agent(["wait", "shell"])
    assert read(fields, {"name": "", "type": "worker"}).problems == {"name": "a value is required"}
    typed = {"name": "New", "type": "worker", "description": "", "instructions": "", "model": "", "tools": ["wait"]}
    made = desk.client.agents.create(spec_of(read(fields, typed).values))
    assert (made.name, made.tools, made.model) == ("New", ["wait"], None)
    again = {**as_shown(made), "name": "Newer"}
    changed = desk.client.agents.update(made.id, changes_of(made, read(fields_of_agent(["wait"], made), again).values))
    assert (changed.name, changed.tools) == ("Newer", ["wait"])


def test_what_the_backend_refuses_is_at_a_field_that_there_is(desk: Desk) -> None:
    names = {each.name for each in fields_of_agent([])}
    for wrong in ({"name": "x" * 1_000}, {"name": "New", "tools": ["nothing"]}, {"name": "New", "type": "x" * 1_000}):
        with pytest.raises(InvalidRequestError) as refused:
            desk.client.agents.create(wrong)
        assert {each.loc[1] for each in refused.value.errors} <= names
