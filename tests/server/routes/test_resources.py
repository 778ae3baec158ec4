"""Agents and tools: stored, changed, listed, and never two of a name."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from sqlalchemy import select, update

from playcall.server.clock import utc_now
from playcall.server.paging import _fingerprint
from playcall.server.store.tables import AgentRow, TaskRow

from ..conftest import Api


async def test_an_agents_life_is_told_in_its_topic_and_in_the_collection(api: Api) -> None:
    agent = await api.agent("Writer")
    assert (agent["state"], agent["version"]) == ("created", 1)
    path = f"/agents/{agent['id']}"
    assert (await api.ok("POST", f"{path}/start"))["state"] == "ready"
    assert (await api.ok("POST", f"{path}/start"))["version"] == 2, "what is so already is no change"
    assert (await api.ok("POST", f"{path}/stop"))["state"] == "stopped"
    assert (await api.ok("PATCH", path, json={"name": "Author", "model": "m"}))["version"] == 4
    replaced = await api.ok("PUT", path, json={"name": "Author"})
    assert (replaced["model"], replaced["state"], replaced["version"]) == (None, "stopped", 5)
    assert (await api("DELETE", path)).status == 204
    own, collection = await api.events(f"agent:{agent['id']}"), await api.events("agents")
    assert [event["type"] for event in own] == [
        "agent.created", *["agent.changed"] * 4, "agent.deleted",
    ]  # fmt: skip
    assert [event["id"] for event in own] == [event["id"] for event in collection], "one id in both topics"
    assert [event["data"]["agent"]["version"] for event in own[:-1]] == [1, 2, 3, 4, 5]
    assert own[-1]["terminal"] is True
    assert "terminal" not in collection[-1]


async def test_a_name_is_taken_once(api: Api) -> None:
    await api.agent("Writer")
    second = await api.agent("Reader")
    for answer in (
        await api("POST", "/agents", json={"name": "Writer"}),
        await api("PATCH", f"/agents/{second['id']}", json={"name": "Writer"}),
    ):
        assert (answer.status, answer.json["code"]) == (409, "name_taken")
    await api.tool("report")
    for name in ("report", "text.stats"):
        answer = await api("POST", "/tools", json={"name": name, "kind": "http", "url": "http://a.example"})
        assert (answer.status, answer.json["code"]) == (409, "name_taken"), "built-in names included"


async def test_a_version_is_an_etag_both_ways(api: Api) -> None:
    agent = await api.agent()
    path = f"/agents/{agent['id']}"
    first = await api("GET", path)
    assert first.headers["ETag"] == '"1"'
    for tag in ('"1"', 'W/"1"', '"9", "1"', "*"):
        unchanged = await api("GET", path, headers={"If-None-Match": tag})
        assert (unchanged.status, unchanged.json) == (304, b"")
        assert unchanged.headers["X-Event-Cursor"] == first.headers["X-Event-Cursor"]
    assert (await api("GET", path, headers={"If-None-Match": '"2"'})).status == 200
    changed = await api("PATCH", path, json={"type": "x"}, headers={"If-Match": '"1"'})
    assert changed.headers["ETag"] == '"2"'
    for method in ("PATCH", "DELETE"):
        lost = await api(method, path, json={}, headers={"If-Match": '"1"'})
        assert (lost.status, lost.json["code"], lost.json["current_version"]) == (412, "version_mismatch", 2)
    assert (await api("DELETE", path, headers={"If-Match": '"2"'})).status == 204


async def test_the_cursor_of_a_read_goes_on_where_the_state_was_read(api: Api) -> None:
    agent = await api.agent()
    one = await api("GET", f"/agents/{agent['id']}")
    collection = await api("GET", "/agents")
    await api.ok("POST", f"/agents/{agent['id']}/start")
    for topic, read in ((f"agent:{agent['id']}", one), ("agents", collection)):
        events = await api.events(topic, **{"from": read.headers["X-Event-Cursor"]})
        assert [event["type"] for event in events] == ["agent.changed"]


async def test_pages_follow_each_other_and_a_cursor_goes_with_its_filters(api: Api) -> None:
    names = [f"agent {n}" for n in range(5)]
    for name in names:
        await api.agent(name)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await api("GET", "/agents", params={"limit": 2, **cursor})
        seen += [item["name"] for item in answer.json["items"]]
        assert ("X-Event-Cursor" in answer.headers) == (not cursor), "only the first page carries the cursor"
        if answer.json["next_cursor"] is None:
            break
        cursor = {"cursor": answer.json["next_cursor"]}
    assert seen == names
    refused = await api("GET", "/agents", params={**cursor, "state": "ready"})
    assert (refused.status, refused.json["errors"][0]["type"]) == (422, "invalid_cursor")
    assert (await api("GET", "/tools", params=cursor)).status == 422
    assert len((await api.ok("GET", "/agents?state=created"))["items"]) == 5


async def test_a_list_is_read_from_its_newest_end_as_well(api: Api) -> None:
    names = [f"agent {n}" for n in range(5)]
    for name in names:
        await api.agent(name)
    seen: list[str] = []
    place: dict[str, str] = {}
    while True:
        answer = await api.ok("GET", "/agents", params={"limit": 2, "order": "newest", **place})
        seen += [item["name"] for item in answer["items"]]
        if answer["next_cursor"] is None:
            break
        place = {"cursor": answer["next_cursor"]}
        await api.agent(f"made meanwhile, after {place}")  # it belongs before what was read, and moves nothing
    assert seen == names[::-1]
    refused = await api("GET", "/agents", params={"limit": 2, **place})
    assert (refused.status, refused.json["errors"][0]["type"]) == (422, "invalid_cursor"), (
        "an order has its own cursors"
    )
    assert (await api("GET", "/agents", params={"order": "best"})).status == 422


async def test_what_was_made_at_one_moment_comes_in_one_order_from_either_end(api: Api) -> None:
    async def ids(order: str) -> list[str]:
        read: list[str] = []
        place: dict[str, str] = {}
        while True:
            page = await api.ok("GET", "/agents", params={"limit": 2, "order": order, **place})
            read += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                return read
            place = {"cursor": page["next_cursor"]}

    made = [(await api.agent(f"agent {n}"))["id"] for n in range(5)]

    async def at_one_moment() -> None:
        async with api.server.core.database.write() as tx:
            await tx.session.execute(update(AgentRow).where(AgentRow.id.in_(made)).values(created_at=utc_now()))

    await api.server.acall(at_one_moment())
    assert await ids("oldest") == sorted(made)
    assert await ids("newest") == sorted(made, reverse=True)


async def test_an_agents_tools_must_exist(api: Api) -> None:
    answer = await api("POST", "/agents", json={"name": "a", "tools": ["text.stats", "nope"]})
    assert [error["loc"] for error in answer.json["errors"]] == [["body", "tools", 1]]
    agent = await api.agent()
    assert (await api("PATCH", f"/agents/{agent['id']}", json={"tools": ["nope"]})).status == 422


async def test_null_is_no_value_for_a_field_that_needs_one(api: Api) -> None:
    agent = await api.agent()
    answer = await api("PATCH", f"/agents/{agent['id']}", json={"name": None, "model": None})
    assert [error["loc"] for error in answer.json["errors"]] == [["body", "name"]]


async def set_task(api: Api, agent: Any, status: str) -> None:
    """The agent has one task, of this status."""

    async def merge() -> None:
        async with api.server.core.database.write() as tx:
            now = utc_now()
            await tx.session.merge(
                TaskRow(
                    id=f"tsk_{api.user.id}",
                    owner_id=api.user.id,
                    version=1,
                    created_at=now,
                    updated_at=now,
                    agent_id=agent["id"],
                    agent=agent["name"],
                    operation="x",
                    parameters={},
                    description="",
                    status=status,
                )
            )

    await api.server.acall(merge())


async def test_an_agent_with_open_tasks_cannot_be_deleted(api: Api) -> None:
    agent = await api.agent()
    await set_task(api, agent, "running")
    answer = await api("DELETE", f"/agents/{agent['id']}")
    assert (answer.status, answer.json["code"]) == (409, "agent_busy")
    await set_task(api, agent, "completed")
    assert (await api("DELETE", f"/agents/{agent['id']}")).status == 204


async def test_starting_an_agent_at_work_leaves_it_at_work(api: Api) -> None:
    """Stopped in the middle of it, or not: it is not free before its task has ended."""
    agent = await api.agent()
    path = f"/agents/{agent['id']}"

    async def begin() -> None:
        async with api.server.core.database.write() as tx:
            row = (await tx.session.execute(select(AgentRow).where(AgentRow.id == agent["id"]))).scalar_one()
            row.state = "running"

    await api.server.acall(begin())
    await set_task(api, agent, "running")
    started = await api.ok("POST", f"{path}/start")
    assert (started["state"], started["version"]) == ("running", 1), "nothing has changed"
    assert (await api.ok("POST", f"{path}/stop"))["state"] == "stopped"
    assert (await api.ok("POST", f"{path}/start"))["state"] == "running"
    await api.ok("POST", f"{path}/stop")
    await set_task(api, agent, "completed")
    assert (await api.ok("POST", f"{path}/start"))["state"] == "ready"


async def test_a_change_of_kind_alone_is_a_change(api: Api) -> None:
    """In Python 1, 1.0 and true are equal; in JSON they are not."""
    made = await api.ok("POST", "/tools", json={
        "name": "t", "kind": "http", "url": "https://tools.example/t", "defaults": {"a": [1], "b": 2},
    })  # fmt: skip
    path = f"/tools/{made['id']}"
    for version, value in enumerate((True, 1.0, 1), 2):
        changed = await api.ok("PATCH", path, json={"defaults": {"a": [value], "b": 2}})
        assert (changed["version"], repr(changed["defaults"]["a"])) == (version, repr([value]))
        assert repr((await api.ok("GET", path))["defaults"]["a"]) == repr([value]), "it has been stored"
    assert (await api.ok("PATCH", path, json={"defaults": {"b": 2, "a": [1]}}))["version"] == 4


async def test_a_tool_is_registered_changed_and_deleted_and_never_shows_its_secrets(api: Api) -> None:
    spec = {
        "name": "mail", "kind": "http", "url": "https://mail.example/send", "method": "put",
        "secret_headers": {"X-Token": "hush-hush"}, "parameters": {"type": "object", "required": ["to"]},
    }  # fmt: skip
    created = await api("POST", "/tools", json=spec)
    assert (created.status, created.json["method"], created.json["parameters"]) == (201, "PUT", spec["parameters"])
    path = f"/tools/{created.json['id']}"
    changed = await api.ok("PATCH", path, json={"secret_headers": {"X-Token": "hush"}, "method": "post"})
    assert (changed["version"], changed["method"]) == (2, "POST")
    listed = await api("GET", "/tools?kind=http")
    assert [tool["name"] for tool in listed.json["items"]] == ["mail"]
    agent = await api.agent("Mailer", "mail")
    used = await api("DELETE", path)
    assert (used.status, used.json["code"], used.json["agents"]) == (409, "tool_in_use", ["Mailer"])
    await api.ok("DELETE", f"/agents/{agent['id']}")
    await api.ok("DELETE", path)
    events = await api.events("tools")
    assert [event["type"] for event in events] == ["tool.created", "tool.changed", "tool.deleted"]
    assert "hush" not in str([created.json, changed, listed.json, events])


async def test_a_builtin_tool_is_everybodys_and_stays_as_it_is(api: Api) -> None:
    tool = await api.ok("GET", "/tools/tol_builtin")
    assert (tool["kind"], tool["name"]) == ("builtin", "text.stats")
    for method in ("PATCH", "DELETE"):
        answer = await api(method, "/tools/tol_builtin", json={})
        assert (answer.status, answer.json["code"]) == (409, "tool_builtin")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"kind": "builtin"}, "kind"),
        ({"kind": "http"}, "url"),
        ({"kind": "http", "url": "ftp://a.example"}, "url"),
        ({"kind": "http", "url": "https://user:word@a.example"}, "url"),
        ({"kind": "http", "url": "https://[a"}, "url"),
        ({"kind": "http", "url": "https://a.example", "method": "BREW"}, "method"),
        ({"kind": "http", "url": "https://a.example", "implementation": "x"}, "implementation"),
        ({"kind": "http", "url": "https://a.example", "secret_headers": {"X": "a\r\nb"}}, "secret_headers"),
        ({"kind": "installed"}, "implementation"),
        ({"kind": "installed", "implementation": "no.such"}, "implementation"),
        ({"kind": "installed", "implementation": "no.such", "url": "https://a.example"}, "url"),
        ({"kind": "installed", "implementation": "no.such", "secret_headers": {"X": "y"}}, "secret_headers"),
    ],
)
async def test_a_tool_that_makes_no_sense_is_refused_by_its_field(api: Api, spec: dict[str, Any], field: str) -> None:
    answer = await api("POST", "/tools", json={"name": "t", **spec})
    assert answer.status == 422
    assert field in {error["loc"][1] for error in answer.json["errors"]}


async def test_only_an_http_tool_takes_a_url(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playcall.server.routes.tools.installed_names", lambda: ["pkg.tool"])
    monkeypatch.setattr("playcall.server.routes.tools.installed_parameters", lambda _name: {"type": "object", "x": 1})
    tool = await api.ok("POST", "/tools", json={"name": "t", "kind": "installed", "implementation": "pkg.tool"})
    assert tool["parameters"] == {"type": "object", "x": 1}
    answer = await api("PATCH", f"/tools/{tool['id']}", json={"url": "https://a.example"})
    assert answer.json["errors"][0]["loc"] == ["body", "url"]


async def test_what_would_not_fit_its_event_is_not_stored(api: Api) -> None:
    answer = await api("POST", "/agents", json={"name": "a", "instructions": "x" * 70_000})
    assert (answer.status, answer.json["code"]) == (413, "resource_too_large")
    assert (await api.ok("GET", "/agents"))["items"] == []


@pytest.mark.parametrize(
    "place",
    [
        ["0001-01-01T00:00:00+23:00", "x"],
        ["9999-12-31T23:59:59-23:00", "x"],
        ["2026-01-01T00:00:00+00:00", "\ud800"],
        ["2026-01-01T00:00:00+00:00", "\x00"],
        ["2026-01-01T00:00:00", "x"],
        ["2026-01-01T00:00:00+00:00", 1],
        [1, 2],
        1e400,
    ],
)
async def test_a_cursor_that_no_list_gave_is_refused(api: Api, place: object) -> None:
    """With the right filters or not: it never gets as far as the database."""
    if isinstance(place, list):
        place = [*place, _fingerprint({"of": "agents", "state": None})]
    cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")
    answer = await api("GET", "/agents", params={"cursor": cursor})
    assert (answer.status, answer.json["errors"][0]["type"]) == (422, "invalid_cursor")
