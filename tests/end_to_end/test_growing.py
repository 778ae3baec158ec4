"""Today's client on a backend that has learned new things (docs/http-contract.md, «Growing»): the whole path works.

What the backend says is held against what the real one behind it says, asked directly.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from playcall import ApiKey, BaseAPIClient
from playcall.errors import (
    AgentNotFoundError,
    ConflictError,
    EventGapError,
    InvalidRequestError,
    NotFoundError,
    RealtimeError,
    RunFailedError,
    StatusError,
    TopicForbiddenError,
    VersionMismatchError,
)
from playcall.models import (
    AgentPatch,
    AgentState,
    Cursor,
    PlaybookPatch,
    RunStatus,
    StepStatus,
    TaskStatus,
    UnknownEvent,
    UnknownStep,
)
from playcall.models.event import RunCreated, RunStarted, RunStepStarted, TaskCompleted, TaskCreated
from playcall.models.step import StandardStep
from playcall.services.run_service import RunSnapshot
from playcall.testing import LiveBackend
from tests.future_backend import EVENT_TYPES, NEWS, WEATHER, FutureBackend, newer_event

from .conftest import playbook_of
from .faces import open_client

Namer = Callable[[str], str]


@pytest.fixture
async def client(backend: LiveBackend, face: str) -> AsyncIterator[Any]:
    """A client of the later version; `agent` and all else of this folder is made through it."""
    async with (
        FutureBackend(backend.url) as future,
        open_client(face, future.url, auth=ApiKey(backend.api_key), deadline_seconds=30) as made,
    ):
        yield made


@pytest.fixture
async def today(backend: LiveBackend) -> AsyncIterator[BaseAPIClient]:
    """The real backend, asked directly."""
    async with BaseAPIClient(f"{backend.url}/api/v1", auth=ApiKey(backend.api_key)) as api:
        yield api


@pytest.fixture
async def playbook(client: Any, agent: Any, name: Namer) -> Any:
    """Two quick steps, of which the second is of a type that is new."""
    steps = {"use": "text.stats", "text": "a b"}, {"use": "files.write", "path": "out.txt", "content": "done\n"}
    return await client.playbooks.create(playbook_of(agent, name("growing"), *steps))


async def log_of(today: BaseAPIClient, topic: str) -> list[dict[str, Any]]:
    """The topic's events as the real backend keeps them."""
    page = await today.get("/events", params={"topic": topic, "limit": 1_000})
    return [event for frame in page["frames"] for event in frame.get("events", [])]


# --- runs and their events --------------------------------------------------------------------------------------------


async def test_a_run_is_watched_to_an_end_that_is_new(client: Any, today: BaseAPIClient, playbook: Any) -> None:
    run = await client.playbooks.run(playbook.id)
    assert type(run.status) is str
    assert run.status == "admitted"
    async with asyncio.timeout(30):  # an end that is not understood would be waited for for ever
        seen = [event async for event in client.runs.watch(run.id, start="start")]
    last = seen[-1]
    assert isinstance(last, UnknownEvent)
    assert last.terminal
    assert last.type == "run.concluded"
    assert client.events.picture.reconnects == 0
    assert client.events.picture.repeated == 0

    log = await log_of(today, f"run:{run.id}")
    assert [(event.seq, event.id) for event in seen] == [(event["seq"], event["id"]) for event in log]
    unknown = [event for event in seen if isinstance(event, UnknownEvent)]
    as_sent = [newer_event(event) for event in log if event["type"] in EVENT_TYPES]
    assert [event.type for event in unknown] == ["run.step.concluded", "run.step.concluded", "run.concluded"]
    assert [(event.type, event.data) for event in unknown] == [(event["type"], event["data"]) for event in as_sent]
    known = {type(event) for event in seen} - {UnknownEvent}
    assert {RunCreated, RunStarted, RunStepStarted, TaskCreated, TaskCompleted} <= known
    assert [event.type for event in seen if not isinstance(event, UnknownEvent)] == [
        event["type"] for event in log if event["type"] not in EVENT_TYPES
    ]


async def test_a_known_event_is_typed_though_its_payload_has_grown(client: Any, playbook: Any) -> None:
    run = await client.playbooks.run(playbook.id)
    seen = [event async for event in client.runs.watch(run.id, start="start")]
    (started,) = [event for event in seen if isinstance(event, RunStarted)]
    assert started.data.run.id == run.id
    assert started.data.run.status is RunStatus.RUNNING
    done = [event for event in seen if isinstance(event, TaskCompleted)]
    assert [(event.data.task.step_id, event.data.task.status) for event in done] == [
        ("s1", "concluded"),
        ("s2", "concluded"),
    ]
    assert {type(event.data.task.status) for event in done} == {str}


async def test_a_watch_that_begins_with_the_state_ends_with_the_run(client: Any, playbook: Any) -> None:
    run = await client.playbooks.run(playbook.id)
    items = [item async for item in client.runs.watch(run.id)]
    assert isinstance(items[0], RunSnapshot)
    assert items[-1].terminal
    (after,) = [item async for item in client.runs.watch(run.id)]
    assert after.terminal
    assert after.data.run.status == "concluded"


async def test_a_run_is_waited_for_whatever_its_end_is_called(client: Any, playbook: Any) -> None:
    run = await client.playbooks.run(playbook.id)
    done = await client.runs.wait(run.id, timeout_seconds=30)
    assert type(done.status) is str
    assert done.status == "concluded"
    assert done.ended_at is not None
    assert done.output["artifact"] == "out.txt"
    with pytest.raises(RunFailedError, match="concluded"):  # «completed» it did not, as far as this client can tell
        await client.runs.wait(run.id, check=True)

    steps = [step async for step in client.runs.steps(run.id, page_size=1)]
    assert [(step.id, step.type, step.status) for step in steps] == [
        ("s1", "standard", "concluded"),
        ("s2", "guided", "concluded"),
    ]
    assert not any(isinstance(step.status, StepStatus) for step in steps)
    assert await client.runs.read_artifact(run.id, "out.txt") == b"done\n"
    # A new value is good as a filter too.
    assert [each.id async for each in client.runs.list(status="concluded", playbook=playbook.id)] == [run.id]


async def test_a_known_end_is_still_the_known_one(client: Any, agent: Any, name: Namer) -> None:
    waiting = await client.playbooks.create(playbook_of(agent, name("waiting"), {"use": "wait", "seconds": 60}))
    run = await client.playbooks.run(waiting.id)
    await client.runs.cancel(run.id)
    assert (await client.runs.wait(run.id, timeout_seconds=30)).status is RunStatus.CANCELLED


# --- subscriptions and handlers ---------------------------------------------------------------------------------------


async def test_handlers_get_what_their_pattern_matches_known_or_not(client: Any, agent: Any) -> None:
    every: queue.Queue[Any] = queue.Queue()
    unknown: queue.Queue[Any] = queue.Queue()
    everything = await client.events.on("agent.*", every.put)
    # The type is new, and so is no topic known to carry it; that of its noun is right.
    moods = await client.events.on("agent.mood.changed", unknown.put)
    await client.agents.update(agent.id, {"description": "a"})
    await client.agents.update(agent.id, {"description": "b"})
    await client.agents.delete(agent.id)
    for seen, count in (every, 3), (unknown, 2):
        events = [await asyncio.to_thread(seen.get, timeout=10) for _ in range(count)]
        assert [event.type for event in events][:2] == ["agent.mood.changed"] * 2
        assert [event.data["agent"]["description"] for event in events[:2]] == ["a", "b"]
        assert all(isinstance(event, UnknownEvent) for event in events[:2])
    assert events[-1].data["agent"]["id"] == agent.id
    everything.remove()
    moods.remove()
    assert not everything.errors


async def test_a_subscription_passes_over_frames_and_events_that_are_new(client: Any, name: Namer) -> None:
    async with client.events.subscribe("agents", start="head") as feed:
        made = await client.agents.create({"name": name("seen")})
        await client.agents.update(made.id, {"description": "changed"})
        await client.agents.delete(made.id)
        seen = []
        async for event in feed:
            seen.append(event)
            if len(seen) == 3:
                break
    assert [event.type for event in seen] == ["agent.created", "agent.mood.changed", "agent.deleted"]
    assert seen[0].data.agent == made
    assert seen[2].data.agent_id == made.id


async def test_a_subscription_that_ends_for_a_new_reason_has_ended(client: Any, playbook: Any) -> None:
    run = await client.playbooks.run(playbook.id)
    await client.runs.wait(run.id, timeout_seconds=30)
    (snapshot,) = [item async for item in client.runs.watch(run.id)]
    async with client.events.subscribe(f"run:{run.id}", start=snapshot.cursor) as feed:
        assert [event async for event in feed] == []


async def test_a_gap_for_a_new_reason_is_a_gap(client: Any, agent: Any) -> None:
    lost = Cursor("before", 7)
    with pytest.raises(EventGapError) as caught:
        async with client.events.subscribe("agents", start=lost):
            raise AssertionError("nothing can be said of what follows")
    assert (caught.value.code, caught.value.lost_after) == ("era", lost)
    async with client.events.subscribe("agents", start=lost, on_gap="yield") as feed:
        async for gap in feed:
            assert (gap.reason, gap.resume.seq) == ("era", 0)
            break


async def test_a_refused_subscription_says_why_in_the_backends_word(client: Any) -> None:
    with pytest.raises(RealtimeError, match="no view") as caught:
        async with client.events.subscribe(WEATHER):
            raise AssertionError("it must not open")
    assert type(caught.value) is RealtimeError
    assert caught.value.code == "overcast"
    with pytest.raises(TopicForbiddenError):
        async with client.events.subscribe("run:run_nothing", start="start"):
            raise AssertionError("there is nothing to see")


# --- resources --------------------------------------------------------------------------------------------------------


async def test_unknown_values_are_plain_strings_and_known_ones_are_members(client: Any, agent: Any) -> None:
    assert type(agent.state) is str
    assert agent.state == "dozing"
    assert (await client.agents.stop(agent.id)).state is AgentState.STOPPED
    queued = await client.tasks.create({"agent": agent.name, "operation": "wait", "parameters": {"seconds": 60}})
    assert type(queued.status) is str
    assert queued.status == "admitted"
    assert queued.parameters == {"seconds": 60}
    assert (await client.tasks.cancel(queued.id)).status is TaskStatus.CANCELLED
    assert (await client.agents.start(agent.id)).state == "awake"
    kinds = {tool.kind async for tool in client.tools.list()}
    assert "native" in kinds
    assert {type(kind) for kind in kinds if kind == "native"} == {str}
    me = await client.account.me()
    assert (me.scope, type(me.scope)) == ("everything", str)


async def test_lists_and_single_resources_are_read_as_they_are(client: Any, today: BaseAPIClient, agent: Any) -> None:
    stored = await today.get(f"/agents/{agent.id}")
    read = await client.agents.get(agent.id)
    assert read.model_dump(mode="json") == stored | {"state": "dozing"}
    listed = [each async for each in client.agents.list(page_size=2)]
    assert read in listed
    assert len({each.id for each in listed}) == len(listed)


async def test_an_update_by_a_model_of_ours_keeps_what_we_do_not_know(
    client: Any, today: BaseAPIClient, agent: Any, playbook: Any
) -> None:
    before = await today.get(f"/playbooks/{playbook.id}")
    changed = await client.playbooks.update(playbook.id, PlaybookPatch(description="new"), if_match=playbook.version)
    assert changed.version == playbook.version + 1
    after = await today.get(f"/playbooks/{playbook.id}")
    assert after["steps"] == before["steps"]
    assert after["description"] == "new"
    with pytest.raises(VersionMismatchError) as caught:
        await client.playbooks.update(playbook.id, PlaybookPatch(description="late"), if_match=playbook.version)
    assert type(caught.value) is VersionMismatchError
    assert caught.value.code == "branch_diverged"
    assert caught.value.expected == playbook.version
    renamed = await client.agents.update(agent.id, AgentPatch(type="poet"), if_match=agent.version)
    assert (renamed.type, renamed.tools) == ("poet", agent.tools)


async def test_a_step_of_a_new_type_is_sent_back_as_it_came(client: Any, today: BaseAPIClient, playbook: Any) -> None:
    known, unknown = playbook.steps
    assert type(known) is StandardStep
    assert type(unknown) is UnknownStep
    assert unknown.type == "guided"
    assert unknown.raw.items() >= NEWS.items()
    before = await today.get(f"/playbooks/{playbook.id}")
    await client.playbooks.update(playbook.id, {"steps": [unknown, known]})
    after = await today.get(f"/playbooks/{playbook.id}")
    assert after["steps"] == before["steps"][::-1]


# --- errors -----------------------------------------------------------------------------------------------------------


async def test_an_error_with_a_new_code_is_the_general_one_of_its_status(
    client: Any, agent: Any, name: Namer, playbook: Any
) -> None:
    with pytest.raises(NotFoundError, match="no playbook") as missing:
        await client.playbooks.get("nothing")
    assert type(missing.value) is NotFoundError
    assert (missing.value.status, missing.value.code) == (404, "playbook_archived")
    assert missing.value.request_id
    assert missing.value.request_id in str(missing.value)

    with pytest.raises(ConflictError) as taken:
        await client.agents.create({"name": agent.name})
    assert type(taken.value) is ConflictError
    assert taken.value.code == "name_reserved"
    assert not taken.value.may_have_happened

    with pytest.raises(InvalidRequestError) as wrong:
        await client.agents.create({"name": name("wrong"), "tools": ["no.such.tool"]})
    assert type(wrong.value) is InvalidRequestError
    assert wrong.value.code == "request_unwelcome"
    assert [problem.loc[:2] for problem in wrong.value.errors] == [["body", "tools"]]  # the one that can be read


@pytest.mark.parametrize(
    ("service", "status", "code"), [("tools", 451, "tool_withdrawn"), ("runs", 410, "run_forgotten")]
)
async def test_a_status_without_a_class_of_its_own_is_a_status_error(
    client: Any, service: str, status: int, code: str
) -> None:
    with pytest.raises(StatusError) as caught:
        await getattr(client, service).get("nothing")
    assert type(caught.value) is StatusError
    assert (caught.value.status, caught.value.code) == (status, code)
    assert len(caught.value.attempts) == 1


async def test_a_known_code_still_has_its_class(client: Any) -> None:
    with pytest.raises(AgentNotFoundError):
        await client.agents.get("nothing")
