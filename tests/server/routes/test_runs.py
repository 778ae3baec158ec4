"""Runs over HTTP, on a real server with its engine."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from playcall.server.engine import Engine
from playcall.server.settings import Settings
from tests.server.conftest import Api, RunningServer


@pytest.fixture(scope="module")
def engine_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("engine")
    (folder / "files").mkdir()
    settings = Settings(data_dir=folder / "data", port=0, read_roots=(folder / "files",))
    settings.data_dir.mkdir()
    with RunningServer(settings, engine=lambda database, s: Engine(database=database, settings=s)) as running:
        yield running


@pytest_asyncio.fixture
async def api(engine_server: RunningServer) -> AsyncIterator[Api]:
    user = await engine_server.new_user()
    async with aiohttp.ClientSession() as session:
        yield Api(engine_server, session, user)


def step(id: str, operation: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "standard", "agent": "a", "operation": operation, "parameters": parameters, **more}


async def playbook(api: Api, *steps: dict[str, Any], **more: Any) -> str:
    tools = sorted({s["operation"] for s in steps})
    await api.agent("a", *tools)
    made = await api.ok("POST", "/playbooks", json={"name": "p", "agents": ["a"], "steps": list(steps), **more})
    return str(made["id"])


async def until(api: Api, topic: str, type: str) -> list[dict[str, Any]]:
    """Every event of the topic up to one of the type, by long poll."""
    seen: list[dict[str, Any]] = []
    start = "start"
    async with asyncio.timeout(30):
        while not any(event["type"] == type for event in seen):
            page = await api("GET", "/events", params={"topic": topic, "from": start, "wait_seconds": "5"})
            assert page.status == 200, page
            seen += [event for frame in page.json["frames"] if frame["op"] == "events" for event in frame["events"]]
            start = page.headers["X-Event-Cursor"]
    return seen


async def test_a_run_is_started_watched_and_read(api: Api) -> None:
    report = step("report", "files.write", {"path": "sub/r.md", "content": "# {{ inputs.title }}"})
    playbook_id = await playbook(api, report, inputs={"title": {"type": "string"}})
    started = await api("POST", f"/playbooks/{playbook_id}/runs", json={"inputs": {"title": "é"}})
    assert started.status == 201
    run_id = started.json["id"]
    assert started.headers["Location"] == f"/api/v1/runs/{run_id}"
    assert started.json["status"] == "queued"
    events = await until(api, f"run:{run_id}", "run.completed")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))

    got = await api("GET", f"/runs/{run_id}")
    assert got.json["status"] == "completed"
    assert got.headers["X-Event-Cursor"].endswith(f":{len(events)}")
    unchanged = await api("GET", f"/runs/{run_id}", headers={"If-None-Match": got.headers["ETag"]})
    assert unchanged.status == 304
    assert unchanged.headers["X-Event-Cursor"] == got.headers["X-Event-Cursor"]

    steps = await api.ok("GET", f"/runs/{run_id}/steps")
    assert [(s["id"], s["status"]) for s in steps["items"]] == [("report", "completed")]
    artifacts = await api.ok("GET", f"/runs/{run_id}/artifacts")
    content = "# é".encode()
    assert artifacts["items"][0]["name"] == "sub/r.md"
    assert artifacts["items"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    file = await api("GET", f"/runs/{run_id}/artifacts/sub/r.md")
    assert file.json == content
    assert file.headers["Content-Length"] == str(len(content))
    assert file.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert file.headers["Content-Disposition"].startswith("attachment")
    again = await api("GET", f"/runs/{run_id}/artifacts/sub/r.md", headers={"If-None-Match": file.headers["ETag"]})
    assert again.status == 304
    for name in ("nope", "..%2F..%2Fplaycall.sqlite3", "sub"):
        assert (await api("GET", f"/runs/{run_id}/artifacts/{name}")).status == 404

    listed = await api.ok("GET", "/runs", params={"status": "completed", "playbook": playbook_id})
    assert [run["id"] for run in listed["items"]] == [run_id]
    assert (await api.ok("GET", "/runs", params={"status": "failed"}))["items"] == []


async def test_what_a_run_leaves_is_nobody_elses(api: Api) -> None:
    playbook_id = await playbook(api, step("s", "files.write", {"path": "r", "content": "x"}))
    run = await api.ok("POST", f"/playbooks/{playbook_id}/runs")
    await until(api, f"run:{run['id']}", "run.completed")
    task = (await api.ok("GET", "/tasks", params={"run": run["id"]}))["items"][0]
    other = await api.other()
    paths = ["", "/steps", "/logs", "/artifacts", "/artifacts/r"]
    for path in paths:
        answer = await other("GET", f"/runs/{run['id']}{path}")
        assert (answer.status, answer.json["code"]) == (404, "run_not_found")
    for act in ("cancel", "pause", "resume", "retry"):
        assert (await other("POST", f"/runs/{run['id']}/{act}")).status == 404
    assert (await other("DELETE", f"/runs/{run['id']}")).status == 404
    assert (await other("POST", f"/playbooks/{playbook_id}/runs")).json["code"] == "playbook_not_found"
    assert (await other("GET", f"/tasks/{task['id']}")).status == 404
    assert (await other("GET", f"/agents/{task['agent_id']}/tasks")).status == 404
    assert (await other.ok("GET", "/tasks"))["items"] == []


async def test_inputs_that_do_not_fit_are_each_named(api: Api) -> None:
    inputs = {"n": {"type": "integer", "min": 1}, "path": {"type": "string"}}
    playbook_id = await playbook(api, step("s", "wait", {"seconds": 0}), inputs=inputs)
    answer = await api("POST", f"/playbooks/{playbook_id}/runs", json={"inputs": {"n": 0, "pth": "."}})
    assert (answer.status, answer.json["code"]) == (422, "inputs_invalid")
    found = [(tuple(e["loc"]), e["type"], e.get("suggestion")) for e in answer.json["errors"]]
    assert found == [
        (("body", "inputs", "pth"), "input_unknown", "path"),
        (("body", "inputs", "n"), "input_invalid", None),
        (("body", "inputs", "path"), "input_missing", None),
    ]
    assert (await api.ok("GET", "/runs"))["items"] == []


async def test_a_key_starts_one_run_for_ever(api: Api) -> None:
    playbook_id = await playbook(api, step("s", "wait", {"seconds": 0}))
    key = {"Idempotency-Key": "start-1"}
    answers = await asyncio.gather(
        *(api("POST", f"/playbooks/{playbook_id}/runs", json={"inputs": {}}, headers=key) for _ in range(5))
    )
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len((await api.ok("GET", "/runs"))["items"]) == 1


async def test_a_run_is_paused_resumed_cancelled_retried_and_deleted(api: Api) -> None:
    first = step("first", "wait", {"seconds": 0.4})
    playbook_id = await playbook(api, first, step("second", "wait", {"seconds": 600}))
    run_id = (await api.ok("POST", f"/playbooks/{playbook_id}/runs"))["id"]
    await until(api, f"run:{run_id}", "task.started")
    assert (await api.ok("POST", f"/runs/{run_id}/pause"))["wish"] == "pause"
    await until(api, f"run:{run_id}", "run.paused")
    refused = await api("DELETE", f"/runs/{run_id}")
    assert (refused.status, refused.json["code"]) == (409, "run_not_ended")
    assert (await api("POST", f"/runs/{run_id}/retry")).json["code"] == "run_not_ended"
    stale = await api("POST", f"/runs/{run_id}/resume", headers={"If-Match": '"1"'})
    assert (stale.status, stale.json["code"]) == (412, "version_mismatch")
    assert (await api.ok("POST", f"/runs/{run_id}/resume"))["status"] == "running"
    # The second step is running by now or will be: cancelling stops it either way.
    cancelled = await api.ok("POST", f"/runs/{run_id}/cancel")
    assert cancelled["wish"] == "cancel"
    await until(api, f"run:{run_id}", "run.cancelled")
    for act in ("cancel", "pause", "resume"):
        answer = await api("POST", f"/runs/{run_id}/{act}")
        assert (answer.status, answer.json["code"]) == (409, "run_ended")
    retried = await api("POST", f"/runs/{run_id}/retry")
    assert retried.status == 201
    assert retried.json["retry_of"] == run_id
    await until(api, f"run:{retried.json['id']}", "task.started")
    await api.ok("POST", f"/runs/{retried.json['id']}/cancel")
    await until(api, f"run:{retried.json['id']}", "run.cancelled")
    steps = (await api.ok("GET", f"/runs/{retried.json['id']}/steps"))["items"]
    assert [s["status"] for s in steps] == ["reused", "cancelled"]
    assert (await api("DELETE", f"/runs/{run_id}")).status == 204
    assert (await api("GET", f"/runs/{run_id}")).status == 404
    assert (await api.ok("GET", "/tasks", params={"run": run_id}))["items"] == []
    assert (await until(api, "runs", "run.deleted"))[-1]["data"] == {"run_id": run_id}


async def test_the_log_of_a_run_is_its_log_events_by_level_and_page(api: Api) -> None:
    retry = {"attempts": 4, "delay_seconds": 0}
    playbook_id = await playbook(api, step("s", "files.read", {"path": "no"}, retry=retry))
    run_id = (await api.ok("POST", f"/playbooks/{playbook_id}/runs"))["id"]
    events = await until(api, f"run:{run_id}", "run.failed")
    page = await api.ok("GET", f"/runs/{run_id}/logs", params={"limit": "2"})
    lines = page["items"]
    assert page["next_cursor"]
    rest = await api.ok("GET", f"/runs/{run_id}/logs", params={"limit": "2", "cursor": page["next_cursor"]})
    assert rest["next_cursor"] is None
    lines += rest["items"]
    assert [line["seq"] for line in lines] == [e["seq"] for e in events if e["type"] == "run.log"]
    assert [line["message"].split(" (")[0] for line in lines] == [f"attempt {n} failed" for n in (1, 2, 3)]
    assert {line["level"] for line in lines} == {"warning"}
    assert (await api.ok("GET", f"/runs/{run_id}/logs", params={"level": "error"}))["items"] == []
    bad = await api("GET", f"/runs/{run_id}/artifacts", params={"cursor": "%%%"})
    assert (bad.status, bad.json["errors"][0]["type"]) == (422, "invalid_cursor")
    for place in ("--5", "-5", "", "\u0665", "9" * 30, "1.5"):
        cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
        for noun in ("logs", "steps"):
            bad = await api("GET", f"/runs/{run_id}/{noun}", params={"cursor": cursor})
            assert (bad.status, bad.json["errors"][0]["type"]) == (422, "invalid_cursor"), place


async def test_steps_and_artifacts_come_in_pages(api: Api) -> None:
    steps = [step(f"s{n}", "files.write", {"path": f"f{n}", "content": "x"}) for n in range(3)]
    playbook_id = await playbook(api, *steps)
    run_id = (await api.ok("POST", f"/playbooks/{playbook_id}/runs"))["id"]
    await until(api, f"run:{run_id}", "run.completed")
    for path, field, expected in (("steps", "id", ["s0", "s1", "s2"]), ("artifacts", "name", ["f0", "f1", "f2"])):
        found: list[str] = []
        cursor: str | None = None
        while True:
            params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = await api.ok("GET", f"/runs/{run_id}/{path}", params=params)
            found += [item[field] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == expected


async def test_tasks_of_ones_own_are_made_changed_cancelled_and_deleted(api: Api) -> None:
    agent = await api.agent("worker", "wait", "text.stats")
    spec = {"agent": "worker", "operation": "text.stats", "parameters": {"text": "a b"}}
    made = await api("POST", "/tasks", json=spec)
    assert made.status == 201
    await until(api, f"task:{made.json['id']}", "task.completed")
    got = await api("GET", f"/tasks/{made.json['id']}")
    assert got.json["output"]["words"] == 2
    assert got.headers["X-Event-Cursor"].endswith(":3")
    noted = await api.ok("PATCH", f"/tasks/{made.json['id']}", json={"description": "done"})
    assert noted["description"] == "done"
    late = await api("PATCH", f"/tasks/{made.json['id']}", json={"parameters": {}})
    assert (late.status, late.json["code"]) == (409, "task_not_editable")

    await api.ok("POST", f"/agents/{agent['id']}/stop")
    waiting = await api.ok(
        "POST", "/tasks", json={"agent": agent["id"], "operation": "wait", "parameters": {"seconds": 1}}
    )
    changed = await api.ok("PATCH", f"/tasks/{waiting['id']}", json={"parameters": {"seconds": 600}})
    assert changed["version"] == 2
    wrong = await api("PATCH", f"/tasks/{waiting['id']}", json={"parameters": {"seconds": -1}})
    assert wrong.json["errors"][0]["loc"] == ["body", "parameters", "seconds"]
    busy = await api("DELETE", f"/tasks/{waiting['id']}")
    assert (busy.status, busy.json["code"]) == (409, "task_not_ended")
    await api.ok("POST", f"/agents/{agent['id']}/start")
    events = await until(api, f"task:{waiting['id']}", "task.progress")
    assert next(e["data"]["total"] for e in events if e["type"] == "task.progress") == 600, "as it was changed to"
    assert (await api.ok("POST", f"/tasks/{waiting['id']}/cancel"))["status"] == "running"
    await until(api, f"task:{waiting['id']}", "task.cancelled")
    ended = await api("POST", f"/tasks/{waiting['id']}/cancel")
    assert (ended.status, ended.json["code"]) == (409, "task_not_cancellable")

    of_agent = await api.ok("GET", f"/agents/{agent['id']}/tasks", params={"status": "cancelled"})
    assert [t["id"] for t in of_agent["items"]] == [waiting["id"]]
    mine = await api.ok("GET", "/tasks", params={"agent": agent["id"], "status": "completed"})
    assert [t["id"] for t in mine["items"]] == [made.json["id"]]
    assert (await api("DELETE", f"/tasks/{waiting['id']}")).status == 204
    assert (await api("GET", f"/tasks/{waiting['id']}")).status == 404


async def test_a_task_that_cannot_be_is_refused_with_its_field(api: Api) -> None:
    await api.agent("worker", "text.stats")
    nobody = await api("POST", "/tasks", json={"agent": "nobody", "operation": "x"})
    assert (nobody.status, nobody.json["code"]) == (404, "agent_not_found")
    unknown = await api("POST", "/tasks", json={"agent": "worker", "operation": "text.stat"})
    assert unknown.json["errors"][0]["suggestion"] == "text.stats"
    wrong = await api(
        "POST", "/tasks", json={"agent": "worker", "operation": "text.stats", "parameters": {"text": 1, "x": 2}}
    )
    assert sorted(e["loc"][-1] for e in wrong.json["errors"]) == ["text", "x"]


async def test_a_runs_task_goes_with_its_run(api: Api) -> None:
    playbook_id = await playbook(api, step("s", "wait", {"seconds": 600}))
    run_id = (await api.ok("POST", f"/playbooks/{playbook_id}/runs"))["id"]
    await until(api, f"run:{run_id}", "task.started")
    task = (await api.ok("GET", "/tasks", params={"run": run_id}))["items"][0]
    assert (await api("POST", f"/tasks/{task['id']}/cancel")).json["code"] == "task_not_cancellable"
    assert (await api("PATCH", f"/tasks/{task['id']}", json={"parameters": {}})).json["code"] == "task_not_editable"
    assert (await api("DELETE", f"/agents/{task['agent_id']}")).json["code"] == "agent_busy"
    await api.ok("POST", f"/runs/{run_id}/cancel")
    await until(api, f"run:{run_id}", "run.cancelled")
    assert (await api("DELETE", f"/tasks/{task['id']}")).json["code"] == "task_of_run"


async def builtin(api: Api, name: str) -> str:
    tools = (await api.ok("GET", "/tools", params={"kind": "builtin"}))["items"]
    return str(next(tool["id"] for tool in tools if tool["name"] == name))


async def test_a_tool_is_called_directly(api: Api) -> None:
    stats = await builtin(api, "text.stats")
    key = {"Idempotency-Key": "call-1"}
    result = await api.ok("POST", f"/tools/{stats}/execute", json={"parameters": {"text": "a b"}}, headers=key)
    assert (result["finished"], result["output"]["words"]) == (True, 2)
    task = await api.ok("GET", f"/tasks/{result['task_id']}")
    assert (task["agent"], task["operation"]) == (None, "text.stats")
    again = await api.ok("POST", f"/tools/{stats}/execute", json={"parameters": {"text": "a b"}}, headers=key)
    assert again == result, "the same call is the same task"

    wait = await builtin(api, "wait")
    long = await api.ok("POST", f"/tools/{wait}/execute", json={"parameters": {"seconds": 600}, "wait_seconds": 0})
    assert long["finished"] is False
    await api.ok("POST", f"/tasks/{long['task_id']}/cancel")
    read = await builtin(api, "files.read")
    failed = await api("POST", f"/tools/{read}/execute", json={"parameters": {"path": "no"}})
    assert (failed.status, failed.json["code"]) == (422, "tool_failed")
    assert failed.json["failure"]["code"] == "not_found"
    wrong = await api("POST", f"/tools/{read}/execute", json={"parameters": {}})
    assert wrong.json["errors"][0]["loc"] == ["body", "parameters", "path"]
    assert (await api("POST", "/tools/tol_none/execute", json={})).json["code"] == "tool_not_found"


async def test_a_tools_health_is_looked_at(api: Api) -> None:
    health = await api.ok("GET", f"/tools/{await builtin(api, 'wait')}/health")
    assert health["healthy"] is True
    mine = await api.ok("POST", "/tools", json={"name": "mine", "kind": "installed", "implementation": "source.sizes"})
    assert (await api.ok("GET", f"/tools/{mine['id']}/health"))["healthy"] is True
    inwards = await api.ok("POST", "/tools", json={"name": "in", "kind": "http", "url": "http://127.0.0.1:9/x"})
    health = await api.ok("GET", f"/tools/{inwards['id']}/health")
    assert health["healthy"] is False
    assert "not a public address" in health["message"]
    called = await api("POST", f"/tools/{inwards['id']}/execute", json={"parameters": {"a": 1}})
    assert called.json["failure"]["code"] == "address_refused"
