"""Every error answer is a problem with a code and a request id."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .conftest import Api

PROBLEM = "application/problem+json"


async def _pieces() -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(40):
        yield b"a" * 50_000


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "not_found"),
        ("GET", "/playbooks/pbk_0", {}, 404, "playbook_not_found"),
        ("GET", "/agents/agt_0", {}, 404, "agent_not_found"),
        ("GET", "/tools/tol_0", {}, 404, "tool_not_found"),
        ("DELETE", "/auth/api-keys/key_0", {}, 404, "api_key_not_found"),
        ("PUT", "/health", {}, 405, "method_not_allowed"),
        ("GET", "/ws", {}, 426, "upgrade_required"),
        ("GET", "/agents?limit=0", {}, 422, "invalid_request"),
        ("GET", "/agents?limit=1001", {}, 422, "invalid_request"),
        ("GET", "/agents?cursor=%20%21", {}, 422, "invalid_request"),
        ("GET", "/agents?cursor=WzEsMiwzXQ", {}, 422, "invalid_request"),
        ("POST", "/agents", {"json": {}}, 422, "invalid_request"),
        ("POST", "/agents", {"json": {"name": "a", "nmae": 1}}, 422, "invalid_request"),
        ("POST", "/agents", {"data": b"{"}, 400, "invalid_json"),
        ("POST", "/agents", {"data": b'{"name": NaN}'}, 400, "invalid_json"),
        ("POST", "/agents", {"data": b'{"name": "\\ud800"}'}, 400, "invalid_json"),
        ("POST", "/agents", {"data": b"[" * 100_000}, 400, "invalid_json"),
        ("POST", "/agents", {"data": io.BytesIO(b"a" * 2_000_000)}, 413, "body_too_large"),
        ("POST", "/agents", {"data": _pieces()}, 413, "body_too_large"),
        (
            "POST",
            "/playbooks",
            {"data": b"x", "headers": {"Content-Type": "text/plain"}},
            415,
            "unsupported_media_type",
        ),
        ("GET", "/health", {"headers": {"X-Request-Timeout-Ms": "soon"}}, 400, "invalid_header"),
        ("GET", "/agents", {"headers": {"X-Request-Timeout-Ms": "0"}}, 504, "deadline_exceeded"),
        ("GET", "/agents", {"headers": {"X-API-Key": ""}}, 401, "unauthenticated"),
        ("GET", "/agents", {"headers": {"X-API-Key": "pk_wrong"}}, 401, "unauthenticated"),
        ("GET", "/agents", {"headers": {"X-API-Key": "", "Authorization": "Basic YTpi"}}, 401, "unauthenticated"),
        ("GET", "/agents", {"headers": {"Authorization": "Bearer x"}}, 400, "ambiguous_credentials"),
        ("GET", "/events?topic=run:0", {}, 403, "forbidden"),
        ("GET", "/events?topic=runs&from=x", {}, 422, "invalid_request"),
    ],
)
async def test_an_error_is_a_problem(
    api: Api, method: str, path: str, kwargs: dict[str, Any], status: int, code: str
) -> None:
    if "data" in kwargs:
        kwargs = {**kwargs, "headers": {"Content-Type": "application/json", **kwargs.get("headers", {})}}
    answer = await api(method, path, **kwargs)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json["status"] == status
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


async def test_a_field_problem_says_where(api: Api) -> None:
    answer = await api("POST", "/agents", json={"name": "a", "tools": ["x", 3]})
    assert [error["loc"] for error in answer.json["errors"]] == [["body", "tools", 1]]


async def test_a_callers_request_id_is_kept_if_it_is_plain(api: Api) -> None:
    kept = await api("GET", "/health", headers={"X-Request-ID": "abc-1"})
    assert kept.headers["X-Request-ID"] == "abc-1"
    replaced = await api("GET", "/health", headers={"X-Request-ID": "a b\tc"})
    assert replaced.headers["X-Request-ID"] != "a b\tc"


async def test_what_escapes_a_route_tells_the_caller_nothing_of_its_cause(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("the inner secret")

    monkeypatch.setattr("playcall.server.routes.agents.read_topic", fail)
    answer = await api("GET", "/agents")
    assert (answer.status, answer.json["code"]) == (500, "internal_error")
    assert "secret" not in str(answer.json)
    assert any(getattr(record, "request_id", None) == answer.json["request_id"] for record in caplog.records)


async def test_a_database_that_fails_is_503_with_retry_after(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    async def fail(*_args: object, **_kwargs: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("disk I/O error"))

    monkeypatch.setattr("playcall.server.routes.agents.read_topic", fail)
    answer = await api("GET", "/agents")
    assert (answer.status, answer.json["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "1"


async def test_a_deadline_that_passes_in_the_work_leaves_nothing_behind(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playcall.server.routes import agents

    flush_named = agents.flush_named

    async def slowly(*args: Any) -> None:
        await flush_named(*args)
        await asyncio.sleep(0.25)

    monkeypatch.setattr(agents, "flush_named", slowly)
    answer = await api("POST", "/agents", json={"name": "late"}, headers={"X-Request-Timeout-Ms": "200"})
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
    assert (await api.ok("GET", "/agents"))["items"] == []
    assert await api.events("agents") == []


async def test_health_and_readiness_need_no_credentials(api: Api) -> None:
    for path in ("/health", "/ready"):
        assert (await api("GET", path, headers={"X-API-Key": ""})).json["status"] == "ok"


async def test_a_server_that_cannot_read_its_database_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def fail(*_args: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("disk I/O error"))

    monkeypatch.setattr("playcall.server.store.database.Database.read", fail)
    answer = await api("GET", "/ready")
    assert (answer.status, answer.json["status"]) == (503, "unavailable")
    assert "database" in answer.json["checks"]
