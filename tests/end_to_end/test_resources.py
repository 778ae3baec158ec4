"""Playbooks, agents, tools and tasks over a real socket: the same on both faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playcall.errors import (
    AgentNotFoundError,
    BuiltinToolError,
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NameTakenError,
    PlaybookInvalidError,
    PlaybookNotFoundError,
    TaskNotCancellableError,
    TaskNotFoundError,
    ToolFailedError,
    ToolNotFoundError,
    VersionMismatchError,
)

from .conftest import playbook_of

Namer = Callable[[str], str]


async def test_a_playbook_lives_from_creation_to_deletion(client: Any, agent: Any, name: Namer) -> None:
    made = await client.playbooks.create(playbook_of(agent, name("plan"), {"use": "text.stats", "text": "hello"}))
    assert await client.playbooks.get(made.id) == made

    changed = await client.playbooks.update(made.id, {"description": "better"}, if_match=made.version)
    assert (changed.description, changed.version) == ("better", made.version + 1)
    with pytest.raises(VersionMismatchError):
        await client.playbooks.update(made.id, {"description": "late"}, if_match=made.version)

    other = playbook_of(agent, name("plan"), {"use": "wait", "seconds": 0})
    replaced = await client.playbooks.replace(made.id, other)
    assert (replaced.name, replaced.description) == (other["name"], "")

    await client.playbooks.delete(made.id)
    with pytest.raises(PlaybookNotFoundError) as caught:
        await client.playbooks.get(made.id)
    assert caught.value.request_id


async def test_lists_come_page_by_page_and_are_filtered(client: Any, agent: Any, name: Namer) -> None:
    stem = name("listed")
    made = [
        await client.playbooks.create(playbook_of(agent, f"{stem} {letter}", {"use": "wait", "seconds": 0}))
        for letter in "abcde"
    ]
    found = [playbook.id async for playbook in client.playbooks.list(text=stem, page_size=2)]
    assert found == [playbook.id for playbook in made]
    few = [playbook.id async for playbook in client.playbooks.list(text=stem, tag="end-to-end", max_items=3)]
    assert few == found[:3]
    assert [playbook.id async for playbook in client.playbooks.list(text=stem, tag="other")] == []


async def test_a_playbook_is_created_from_a_file(client: Any, agent: Any, name: Namer, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    title = name("from a file")
    file.write_text(
        f"name: {title}\nagents: ['{agent.name}']\nsteps:\n"
        f"  - {{id: s, type: standard, agent: '{agent.name}', operation: wait, parameters: {{seconds: 0}}}}\n"
    )
    made = await client.playbooks.create_from_file(file)
    assert made.name == title


async def test_a_wrong_playbook_is_refused_with_the_line(client: Any, agent: Any, name: Namer) -> None:
    text = (
        f"name: {name('wrong')}\nagents: ['{agent.name}']\nsteps:\n"
        f"  - id: s\n    type: standard\n    agent: '{agent.name}'\n    operation: no.such.tool\n"
    )
    with pytest.raises(PlaybookInvalidError) as caught:
        await client.playbooks.create_from_yaml(text)
    (problem,) = caught.value.errors
    assert problem.loc[-1] == "operation"
    assert problem.line == 7


async def test_an_agent_lives_from_creation_to_deletion(client: Any, name: Namer) -> None:
    title = name("agent")
    made = await client.agents.create({"name": title, "tools": ["wait"]})
    with pytest.raises(NameTakenError):
        await client.agents.create({"name": title})
    with pytest.raises(InvalidRequestError):
        await client.agents.create({"name": name("agent"), "tools": ["no.such.tool"]})

    changed = await client.agents.update(made.id, {"tools": ["wait", "text.stats"]}, if_match=1)
    assert changed.tools == ["wait", "text.stats"]
    assert (await client.agents.stop(made.id)).state == "stopped"
    assert (await client.agents.start(made.id)).state == "ready"
    assert made.id in [agent.id async for agent in client.agents.list()]

    await client.agents.delete(made.id)
    with pytest.raises(AgentNotFoundError):
        await client.agents.get(made.id)


async def test_a_tool_lives_from_registration_to_deletion(client: Any, name: Namer, tree: Path) -> None:
    title = name("sizes").replace(" ", "_")
    spec = {"name": title, "kind": "installed", "implementation": "source.sizes", "defaults": {"path": str(tree)}}
    made = await client.tools.register(spec)
    assert "path" in made.parameters["properties"]

    result = await client.tools.execute(made.id, {"top": 1}, wait_seconds=20)
    assert result.finished
    assert result.output["files"] == 2
    with pytest.raises(ToolFailedError):
        await client.tools.execute(made.id, {"path": "/etc"}, wait_seconds=20)
    assert (await client.tools.health(made.id)).healthy

    changed = await client.tools.update(made.id, {"defaults": {"path": str(tree), "top": 1}})
    assert changed.defaults["top"] == 1
    assert made.id in [tool.id async for tool in client.tools.list(kind="installed")]
    await client.tools.delete(made.id)
    with pytest.raises(ToolNotFoundError):
        await client.tools.get(made.id)


async def test_a_builtin_tool_belongs_to_the_backend(client: Any) -> None:
    builtin = [tool async for tool in client.tools.list(kind="builtin")]
    assert "wait" in {tool.name for tool in builtin}
    with pytest.raises(BuiltinToolError):
        await client.tools.delete(builtin[0].id)


async def test_a_task_of_ones_own_is_done_and_kept(client: Any, agent: Any) -> None:
    spec = {"agent": agent.name, "operation": "text.stats", "parameters": {"text": "to be or not to be"}}
    made = await client.tasks.create(spec)
    async with client.events.subscribe(f"task:{made.id}", start="start") as feed:
        types = [event.type async for event in feed]
    assert types[0] == "task.created"
    assert types[-1] == "task.completed"
    done = await client.tasks.get(made.id)
    assert done.output["words"] == 6
    with pytest.raises(TaskNotCancellableError):
        await client.tasks.cancel(made.id)
    assert [task.id async for task in client.agents.tasks(agent.id)] == [made.id]
    assert [task.id async for task in client.tasks.list(agent=agent.id)] == [made.id]

    await client.tasks.delete(made.id)
    with pytest.raises(TaskNotFoundError):
        await client.tasks.get(made.id)


async def test_a_queued_task_is_changed_and_cancelled(client: Any, agent: Any) -> None:
    await client.agents.stop(agent.id)  # what is queued for it waits
    made = await client.tasks.create({"agent": agent.name, "operation": "wait", "parameters": {"seconds": 60}})
    changed = await client.tasks.update(made.id, {"parameters": {"seconds": 61}}, if_match=made.version)
    assert changed.parameters == {"seconds": 61}
    await client.tasks.cancel(made.id)
    async with client.events.subscribe(f"task:{made.id}", start="start") as feed:
        types = [event.type async for event in feed]
    assert types[-1] == "task.cancelled"


async def test_the_same_key_makes_the_same_thing_once(client: Any, name: Namer) -> None:
    title, key = name("once"), name("key")
    first = await client.agents.create({"name": title}, idempotency_key=key)
    again = await client.agents.create({"name": title}, idempotency_key=key)
    assert again == first
    with pytest.raises(IdempotencyKeyReusedError):
        await client.agents.create({"name": name("other")}, idempotency_key=key)
