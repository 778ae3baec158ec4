"""Every service method, both faces: what it sends, what it gives, and the error of each way that it can be refused."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from playcall import RetryPolicy
from playcall.errors import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PlaycallError,
    RateLimitedError,
    ServerError,
    ServiceUnavailableError,
    StatusError,
    UnreadableAnswerError,
    VersionMismatchError,
)
from playcall.models.agent import AgentPatch, AgentSpec
from playcall.models.cursor import Cursor
from playcall.models.playbook import PlaybookPatch
from playcall.models.task import TaskPatch, TaskSpec
from playcall.models.tool import ToolPatch
from playcall.services.run_service import RunSnapshot
from playcall.testing import MockAnswer, MockRequest
from tests.both_faces import FACES, items, playcall, value
from tests.models.examples import MODELS, SPEC, STEPS

ONCE = RetryPolicy(attempts=1)
PREFIX = "/api/v1"


def example(name: str) -> Any:
    type_, instance = MODELS[name]
    return json.loads(TypeAdapter(type_).dump_json(instance))


def page(name: str) -> Any:
    return {"items": [example(name), example(name)], "next_cursor": None}


@dataclass(frozen=True)
class Method:
    """One service method: how it is called, what goes out, what comes back, and what that becomes."""

    name: str
    call: Callable[[Any], Any]
    sends: tuple[str, str]
    answer: Any
    gives: Any
    body: Any = None
    query: dict[str, str] | None = None
    listing: bool = False

    def __str__(self) -> str:
        return self.name


def one(name: str) -> Any:
    return MODELS[name][1]


def method(
    name: str, call: Callable[[Any], Any], sends: str, model: str | None = None, body: Any = None, **more: Any
) -> Method:
    verb, path = sends.split(" ")
    answer = None if model is None else example(model)
    return Method(name, call, (verb, PREFIX + path), answer, None if model is None else one(model), body, **more)


def listing(name: str, call: Callable[[Any], Any], path: str, model: str, **query: str) -> Method:
    return Method(
        name,
        call,
        ("GET", PREFIX + path),
        page(model),
        [one(model), one(model)],
        query={"limit": "100", **query},
        listing=True,
    )


SPEC_JSON = {"name": "n", "agents": ["a"], "steps": [{"id": "x", "type": "standard", "agent": "a", "operation": "o"}]}
PLAYBOOK_SPEC = MODELS["playbook_spec"][1]

METHODS = [
    listing("playbooks.list", lambda c: c.playbooks.list(), "/playbooks", "playbook"),
    listing(
        "playbooks.list filtered",
        lambda c: c.playbooks.list(text="a b", tag="t", agent="x"),
        "/playbooks",
        "playbook",
        q="a b",
        tag="t",
        agent="x",
    ),
    method("playbooks.get", lambda c: c.playbooks.get("pb_1"), "GET /playbooks/pb_1", "playbook"),
    method("playbooks.create", lambda c: c.playbooks.create(SPEC_JSON), "POST /playbooks", "playbook", SPEC_JSON),
    method(
        "playbooks.create a model",
        lambda c: c.playbooks.create(PLAYBOOK_SPEC),
        "POST /playbooks",
        "playbook",
        json.loads(PLAYBOOK_SPEC.model_dump_json(exclude_unset=True, by_alias=True)),
    ),
    method(
        "playbooks.create_from_yaml", lambda c: c.playbooks.create_from_yaml("name: n"), "POST /playbooks", "playbook"
    ),
    method(
        "playbooks.validate",
        lambda c: c.playbooks.validate(SPEC_JSON),
        "POST /playbooks/validate",
        "playbook_validation",
        SPEC_JSON,
    ),
    method(
        "playbooks.validate yaml",
        lambda c: c.playbooks.validate("name: n"),
        "POST /playbooks/validate",
        "playbook_validation",
    ),
    method(
        "playbooks.update",
        lambda c: c.playbooks.update("pb_1", PlaybookPatch(description="d"), if_match=2),
        "PATCH /playbooks/pb_1",
        "playbook",
        {"description": "d"},
    ),
    method(
        "playbooks.replace",
        lambda c: c.playbooks.replace("pb_1", SPEC_JSON, if_match=2),
        "PUT /playbooks/pb_1",
        "playbook",
        SPEC_JSON,
    ),
    method("playbooks.delete", lambda c: c.playbooks.delete("pb_1", if_match=2), "DELETE /playbooks/pb_1"),
    method(
        "playbooks.run",
        lambda c: c.playbooks.run("pb_1", inputs={"path": "."}),
        "POST /playbooks/pb_1/runs",
        "run",
        {"inputs": {"path": "."}},
    ),
    method("playbooks.run bare", lambda c: c.playbooks.run("pb_1"), "POST /playbooks/pb_1/runs", "run", {"inputs": {}}),
    listing("runs.list", lambda c: c.runs.list(), "/runs", "run"),
    listing(
        "runs.list filtered",
        lambda c: c.runs.list(status="running", playbook="p"),
        "/runs",
        "run",
        status="running",
        playbook="p",
    ),
    method("runs.get", lambda c: c.runs.get("run_1"), "GET /runs/run_1", "run"),
    method("runs.delete", lambda c: c.runs.delete("run_1"), "DELETE /runs/run_1"),
    *(
        method(f"runs.{verb}", lambda c, verb=verb: getattr(c.runs, verb)("run_1"), f"POST /runs/run_1/{verb}", "run")  # type: ignore[misc]
        for verb in ("cancel", "pause", "resume", "retry")
    ),
    listing("runs.steps", lambda c: c.runs.steps("run_1"), "/runs/run_1/steps", "run_step"),
    listing(
        "runs.logs", lambda c: c.runs.logs("run_1", level="warning"), "/runs/run_1/logs", "log_line", level="warning"
    ),
    listing("runs.artifacts", lambda c: c.runs.artifacts("run_1"), "/runs/run_1/artifacts", "artifact"),
    method(
        "runs.upload_artifact",
        lambda c: c.runs.upload_artifact("run_1", "in/a b.csv", b"1,2"),
        "PUT /runs/run_1/artifacts/in/a%20b.csv",
        "artifact",
    ),
    listing("agents.list", lambda c: c.agents.list(), "/agents", "agent"),
    method("agents.get", lambda c: c.agents.get("agt/1"), "GET /agents/agt%2F1", "agent"),
    method(
        "agents.create",
        lambda c: c.agents.create(AgentSpec(name="Reader", tools=["files.list"])),
        "POST /agents",
        "agent",
        {"name": "Reader", "tools": ["files.list"]},
    ),
    method(
        "agents.update",
        lambda c: c.agents.update("a", AgentPatch(model=None), if_match=2),
        "PATCH /agents/a",
        "agent",
        {"model": None},
    ),
    method("agents.delete", lambda c: c.agents.delete("a"), "DELETE /agents/a"),
    method("agents.start", lambda c: c.agents.start("a"), "POST /agents/a/start", "agent"),
    method("agents.stop", lambda c: c.agents.stop("a"), "POST /agents/a/stop", "agent"),
    listing("agents.tasks", lambda c: c.agents.tasks("a"), "/agents/a/tasks", "task"),
    *(
        listing(f"{noun}.list newest first", each, f"/{noun}", noun.removesuffix("s"), order="newest")
        for noun, each in {
            "playbooks": lambda c: c.playbooks.list(newest_first=True),
            "runs": lambda c: c.runs.list(newest_first=True),
            "agents": lambda c: c.agents.list(newest_first=True),
            "tasks": lambda c: c.tasks.list(newest_first=True),
            "tools": lambda c: c.tools.list(newest_first=True),
        }.items()
    ),
    listing(
        "agents.tasks newest first",
        lambda c: c.agents.tasks("a", newest_first=True),
        "/agents/a/tasks",
        "task",
        order="newest",
    ),
    listing(
        "tasks.list",
        lambda c: c.tasks.list(status="queued", agent="a", run="r"),
        "/tasks",
        "task",
        status="queued",
        agent="a",
        run="r",
    ),
    method("tasks.get", lambda c: c.tasks.get("t"), "GET /tasks/t", "task"),
    method(
        "tasks.create",
        lambda c: c.tasks.create(TaskSpec(agent="a", operation="o")),
        "POST /tasks",
        "task",
        {"agent": "a", "operation": "o"},
    ),
    method(
        "tasks.update",
        lambda c: c.tasks.update("t", TaskPatch(description="d"), if_match=1),
        "PATCH /tasks/t",
        "task",
        {"description": "d"},
    ),
    method("tasks.delete", lambda c: c.tasks.delete("t"), "DELETE /tasks/t"),
    method("tasks.cancel", lambda c: c.tasks.cancel("t"), "POST /tasks/t/cancel", "task"),
    listing("tools.list", lambda c: c.tools.list(kind="http"), "/tools", "tool", kind="http"),
    method("tools.get", lambda c: c.tools.get("t"), "GET /tools/t", "tool"),
    method(
        "tools.register",
        lambda c: c.tools.register(MODELS["tool_spec"][1]),
        "POST /tools",
        "tool",
        {
            "name": "mine",
            "kind": "http",
            "url": "https://tools.example/run",
            "secret_headers": {"X-Secret": "s3"},
        },
    ),
    method(
        "tools.update",
        lambda c: c.tools.update("t", ToolPatch(description="d"), if_match=1),
        "PATCH /tools/t",
        "tool",
        {"description": "d"},
    ),
    method("tools.delete", lambda c: c.tools.delete("t"), "DELETE /tools/t"),
    method("tools.health", lambda c: c.tools.health("t"), "GET /tools/t/health", "tool_health"),
    method(
        "tools.execute",
        lambda c: c.tools.execute("t", {"path": "."}, wait_seconds=2),
        "POST /tools/t/execute",
        "tool_result",
        {"parameters": {"path": "."}, "wait_seconds": 2.0},
    ),
    method(
        "tools.execute bare", lambda c: c.tools.execute("t"), "POST /tools/t/execute", "tool_result", {"parameters": {}}
    ),
    method("account.me", lambda c: c.account.me(), "GET /auth/me", "me"),
    listing("account.api_keys", lambda c: c.account.api_keys(), "/auth/api-keys", "api_key"),
    method(
        "account.create_api_key",
        lambda c: c.account.create_api_key({"name": "laptop"}),
        "POST /auth/api-keys",
        "new_api_key",
        {"name": "laptop"},
    ),
    method("account.revoke_api_key", lambda c: c.account.revoke_api_key("k"), "DELETE /auth/api-keys/k"),
]

EVERY_METHOD = pytest.mark.parametrize("method", METHODS, ids=str)

PLAYBOOK_FILE = Path(__file__).parents[2] / "src/playcall/cli/playbooks/source-report.yaml"
OF_ANOTHER_KIND = [
    method(
        "playbooks.create_from_file",
        lambda c: c.playbooks.create_from_file(PLAYBOOK_FILE),
        "POST /playbooks",
        "playbook",
    ),
    method("runs.read_artifact", lambda c: c.runs.read_artifact("run_1", "a.txt"), "GET /runs/run_1/artifacts/a.txt"),
    method(
        "runs.download_artifact",
        lambda c: c.runs.download_artifact("run_1", "a.txt", Path(tempfile.gettempdir()) / "never.txt"),
        "GET /runs/run_1/artifacts/a.txt",
    ),
    method("runs.watch", lambda c: c.runs.watch("run_1"), "GET /runs/run_1", "run", listing=True),
    method("runs.wait", lambda c: c.runs.wait("run_1"), "GET /runs/run_1", "run"),
]
"""What these give is tested in tests of their own; how they are refused, with all others."""


async def result(method: Method, client: Any) -> Any:
    called = method.call(client)
    return await items(called) if method.listing else await value(called)


def test_the_table_has_every_method_of_every_service() -> None:
    from playcall.faces import call, stream
    from playcall.services.account_service import AccountService
    from playcall.services.agent_service import AgentService
    from playcall.services.playbook_service import PlaybookService
    from playcall.services.run_service import RunService
    from playcall.services.task_service import TaskService
    from playcall.services.tool_service import ToolService

    services = {
        "playbooks": PlaybookService,
        "runs": RunService,
        "agents": AgentService,
        "tasks": TaskService,
        "tools": ToolService,
        "account": AccountService,
    }
    there = {
        f"{name}.{member}"
        for name, service in services.items()
        for member in dir(service)
        if not member.startswith("_") and isinstance(getattr(service, member), call | stream)
    }
    assert there == {each.name.split(" ")[0] for each in METHODS} | {each.name for each in OF_ANOTHER_KIND}


@FACES
@EVERY_METHOD
async def test_what_goes_out_and_what_it_becomes(method: Method, blocking: bool) -> None:
    def handler(request: MockRequest) -> MockAnswer:
        return MockAnswer(204) if method.answer is None else MockAnswer(json=method.answer)

    async with playcall(blocking, handler) as client:
        assert await result(method, client) == method.gives
        [request] = client._api.engine.transport.requests
    assert (request.method, request.path) == method.sends
    assert request.query == (method.query or {})
    if method.body is not None:
        assert request.json() == method.body
        assert request.headers["Content-Type"] == "application/json"
    assert ("Idempotency-Key" in request.headers) is (request.method != "GET")
    assert "X-Request-ID" in request.headers
    assert 59_000 < int(request.headers["X-Request-Timeout-Ms"]) <= 60_000
    if ".update" in method.name or ".replace" in method.name or method.name == "playbooks.delete":
        assert request.headers["If-Match"] in ('"1"', '"2"')


ANSWERS: dict[str, tuple[MockAnswer, type[PlaycallError]]] = {
    "401": (MockAnswer(401, json={"detail": "no"}), AuthenticationError),
    "403": (MockAnswer(403, json={"detail": "no"}), PermissionDeniedError),
    "404": (MockAnswer(404, json={"detail": "no"}), NotFoundError),
    "409": (MockAnswer(409, json={"detail": "no"}), ConflictError),
    "412": (MockAnswer(412, json={"detail": "no"}), VersionMismatchError),
    "422": (MockAnswer(422, json={"detail": [{"loc": ["body"], "msg": "no", "type": "x"}]}), InvalidRequestError),
    "429": (MockAnswer(429, json={"detail": "no"}), RateLimitedError),
    "500": (MockAnswer(500, body="<h1>oops"), ServerError),
    "503": (MockAnswer(503, json={"detail": "no"}), ServiceUnavailableError),
    "malformed": (
        MockAnswer(200, body='{"items": [{"id": ', headers={"Content-Type": "application/json"}),
        UnreadableAnswerError,
    ),
    "another shape": (MockAnswer(200, json={"id": 7, "items": {"not": "a list"}}), UnreadableAnswerError),
}


@FACES
@pytest.mark.parametrize("method", [*METHODS, *OF_ANOTHER_KIND], ids=str)
async def test_each_refusal_is_its_error(method: Method, blocking: bool) -> None:
    current = ""

    async with playcall(blocking, lambda request: ANSWERS[current][0], retry=ONCE) as client:
        for current, (answer, kind) in ANSWERS.items():
            if (
                method.answer is None
                and answer.status == 200
                and (method in OF_ANOTHER_KIND or current == "another shape")
            ):
                continue  # nothing is read from the answer of a delete, and a file may be anything
            with pytest.raises(kind) as caught:
                await result(method, client)
            error: Any = caught.value
            assert type(error) is kind, current
            assert f"{method.sends[0]} {method.sends[1].removeprefix(PREFIX)}" in error.message, current
            assert error.method == method.sends[0]
            assert len(error.attempts) == 1, current
            if isinstance(error, StatusError):
                assert error.may_have_happened is (answer.status >= 500 and error.method != "GET"), current


@FACES
async def test_a_resource_s_own_code_gives_its_own_class(blocking: bool) -> None:
    from playcall.errors import AgentBusyError, InputsInvalidError, NameTakenError, PlaybookNotFoundError

    cases: list[tuple[int, str, Callable[[Any], Any], type[PlaycallError]]] = [
        (404, "playbook_not_found", lambda c: c.playbooks.get("x"), PlaybookNotFoundError),
        (422, "inputs_invalid", lambda c: c.playbooks.run("x"), InputsInvalidError),
        (409, "agent_busy", lambda c: c.agents.delete("x"), AgentBusyError),
        (409, "name_taken", lambda c: c.agents.create({"name": "x"}), NameTakenError),
    ]
    answer = MockAnswer(500)
    async with playcall(blocking, lambda request: answer) as client:
        for status, code, call, kind in cases:
            answer = MockAnswer(status, json={"title": "t", "status": status, "code": code})
            with pytest.raises(kind):
                await value(call(client))


@FACES
async def test_a_lost_update_names_the_version_that_was_expected(blocking: bool) -> None:
    async with playcall(blocking, lambda request: MockAnswer(412, json={"code": "version_mismatch"})) as client:
        with pytest.raises(VersionMismatchError) as caught:
            await value(client.agents.update("a", {"name": "n"}, if_match=7))
        assert caught.value.expected == 7
        with pytest.raises(VersionMismatchError) as caught:
            await value(client.agents.update("a", {"name": "n"}))
        assert caught.value.expected is None


@FACES
async def test_an_id_that_is_none_is_refused_before_anything_is_sent(blocking: bool) -> None:
    from playcall.errors import InvalidArgumentError

    async with playcall(blocking, lambda request: MockAnswer(500)) as client:
        for call in (
            lambda: client.playbooks.get(""),
            lambda: client.runs.cancel(".."),
            lambda: client.agents.delete(None),
            lambda: client.account.revoke_api_key("a\nb"),
        ):
            with pytest.raises(InvalidArgumentError):
                await value(call())
        assert client._api.engine.transport.requests == []


@FACES
async def test_a_caller_s_own_key_is_sent_by_every_command_that_takes_one(blocking: bool) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda c: c.playbooks.create(SPEC_JSON, idempotency_key="mine"),
        lambda c: c.playbooks.create_from_yaml("a: b", idempotency_key="mine"),
        lambda c: c.playbooks.update("x", {}, idempotency_key="mine"),
        lambda c: c.playbooks.replace("x", SPEC_JSON, idempotency_key="mine"),
        lambda c: c.playbooks.delete("x", idempotency_key="mine"),
        lambda c: c.playbooks.run("x", idempotency_key="mine"),
        lambda c: c.runs.cancel("x", idempotency_key="mine"),
        lambda c: c.runs.upload_artifact("x", "a", b"1", idempotency_key="mine"),
        lambda c: c.agents.start("x", idempotency_key="mine"),
        lambda c: c.tasks.create({"agent": "a", "operation": "o"}, idempotency_key="mine"),
        lambda c: c.tools.execute("x", idempotency_key="mine"),
    ]
    async with playcall(blocking, lambda request: MockAnswer(404)) as client:
        for call in calls:
            with pytest.raises(NotFoundError):
                await value(call(client))
        requests = client._api.engine.transport.requests
        assert [request.headers["Idempotency-Key"] for request in requests] == ["mine"] * len(calls)


# --- files ------------------------------------------------------------------------------------------------------------


@FACES
@pytest.mark.parametrize(
    ("name", "media"),
    [("a.yaml", "application/yaml"), ("a.YML", "application/yaml"), ("a.json", "application/json")],
)
async def test_a_playbook_file_goes_as_it_is_with_its_media_type(
    blocking: bool, tmp_path: Path, name: str, media: str
) -> None:
    file = tmp_path / name
    file.write_bytes(b"name: \xc3\xa9\n")
    async with playcall(blocking, lambda request: MockAnswer(json=example("playbook"))) as client:
        assert await value(client.playbooks.create_from_file(file)) == one("playbook")
        [request] = client._api.engine.transport.requests
    assert request.body == b"name: \xc3\xa9\n"
    assert request.headers["Content-Type"] == media


@FACES
async def test_a_playbook_file_that_cannot_be_read_is_an_argument_error(blocking: bool, tmp_path: Path) -> None:
    from playcall.errors import InvalidArgumentError

    (tmp_path / "folder.yaml").mkdir()
    async with playcall(blocking, lambda request: MockAnswer(500)) as client:
        for name in ("missing.yaml", "folder.yaml", "a.txt"):
            with pytest.raises(InvalidArgumentError, match=name.split(".")[0]):
                await value(client.playbooks.create_from_file(str(tmp_path / name)))


@FACES
async def test_an_artifact_is_read_whole_or_written_to_a_file(blocking: bool, tmp_path: Path) -> None:
    content = b"\x00\xff" * 100_000

    def handler(request: MockRequest) -> MockAnswer:
        assert request.path == "/api/v1/runs/run_1/artifacts/out/a%20b.bin"
        assert request.headers["Accept"] == "*/*"
        return MockAnswer(body=content)

    async with playcall(blocking, handler) as client:
        assert await value(client.runs.read_artifact("run_1", "out/a b.bin")) == content
        target = tmp_path / "a.bin"
        assert await value(client.runs.download_artifact("run_1", "out/a b.bin", str(target))) == target
    assert target.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target]


@FACES
async def test_a_download_that_fails_leaves_what_was_there(blocking: bool, tmp_path: Path) -> None:
    from playcall.errors import ArtifactNotFoundError, ConnectionLostError, InvalidArgumentError

    target = tmp_path / "a.bin"
    target.write_bytes(b"before")
    answer = MockAnswer(body=b"x" * 100_000, breaks_after=70_000)
    async with playcall(blocking, lambda request: answer) as client:
        with pytest.raises(ConnectionLostError, match="broke off"):
            await value(client.runs.download_artifact("r", "a", target))
        answer = MockAnswer(404, json={"code": "artifact_not_found"})
        with pytest.raises(ArtifactNotFoundError):
            await value(client.runs.download_artifact("r", "a", target))
        with pytest.raises(InvalidArgumentError, match="cannot be written"):
            await value(client.runs.download_artifact("r", "a", tmp_path / "no" / "such" / "folder"))
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


# --- runs that are watched --------------------------------------------------------------------------------------------

ENDED = {**example("run"), "status": "completed", "ended_at": "2026-01-01T00:00:00Z"}


@FACES
async def test_a_run_that_has_ended_is_one_terminal_snapshot(blocking: bool) -> None:
    answer = MockAnswer(json=ENDED, headers={"X-Event-Cursor": "e1:9"})
    async with playcall(blocking, lambda request: answer) as client:
        [snapshot] = await items(client.runs.watch("run_1"))
        assert isinstance(snapshot, RunSnapshot)
        assert snapshot.terminal
        assert snapshot.cursor == Cursor("e1", 9)
        assert snapshot.data.run.status == "completed"
        assert await items(client.runs.watch("run_1", start=Cursor("e1", 9))) == []
        assert (await value(client.runs.wait("run_1", check=True))).id == "run_1"


@FACES
@pytest.mark.parametrize("header", ["", "nonsense", ":3", "e1:-1"])
async def test_a_snapshot_without_a_usable_cursor_is_unreadable(blocking: bool, header: str) -> None:
    answer = MockAnswer(json=ENDED, headers={"X-Event-Cursor": header})
    async with playcall(blocking, lambda request: answer) as client:
        with pytest.raises(UnreadableAnswerError) as caught:
            await items(client.runs.watch("run_1"))
        assert caught.value.field == "X-Event-Cursor"


@FACES
async def test_waiting_with_a_check_for_a_failed_run_raises_with_the_run(blocking: bool) -> None:
    from playcall.errors import RunFailedError

    failed = {**ENDED, "status": "failed", "error": {"code": "tool_failed", "message": "disk on fire"}}
    answer = MockAnswer(json=failed, headers={"X-Event-Cursor": "e1:9"})
    async with playcall(blocking, lambda request: answer) as client:
        assert (await value(client.runs.wait("run_1"))).status == "failed"
        with pytest.raises(RunFailedError, match="disk on fire") as caught:
            await value(client.runs.wait("run_1", check=True))
        assert caught.value.run.status == "failed"


def test_the_examples_used_here_are_whole() -> None:
    assert SPEC["agents"]
    assert STEPS
