"""What no honest client sends: each is refused with a clear answer, on both databases, and nothing fails over it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from playcall.server.settings import Settings
from tests.server.conftest import Api, RunningServer
from tests.server.routes.test_artifacts import new_run

PLAYBOOK = {"name": "P", "agents": ["A"], "steps": [{"id": "s", "type": "standard", "agent": "A", "operation": "o"}]}
HUGE = 10**30


def _cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _place(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@dataclass(frozen=True)
class Bad:
    """`path` is sent as it is. `loc` is where the answer says that it lies, None where it says nothing of that."""

    name: str
    method: str
    path: str
    status: int
    code: str
    loc: list[str | int] | None = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def _json(name: str, body: bytes, status: int, code: str, loc: list[str | int] | None = None) -> Bad:
    return Bad(name, "POST", "/agents", status, code, loc, body, {"Content-Type": "application/json"})


CASES = [
    # NUL: PostgreSQL cannot keep it
    _json("NUL in a text", rb'{"name": "a\u0000b"}', 422, "invalid_request", ["body", "name"]),
    _json("NUL in a key", rb'{"name": "a", "x\u0000": 1}', 422, "invalid_request", ["body", "x"]),
    _json("NUL deep within", rb'{"name": "a", "tools": ["b", "\u0000"]}', 422, "invalid_request", ["body", "tools", 1]),
    _json("a raw NUL", b'{"name": "a\x00b"}', 400, "invalid_json"),
    Bad(
        *("NUL in YAML", "POST", "/playbooks", 422, "playbook_invalid", ["body"]),
        body=b'name: "a\\0b"\nagents: [A]\nsteps: []\n',
        headers={"Content-Type": "application/yaml"},
    ),
    Bad(
        *("NUL in a key of YAML", "POST", "/playbooks/validate", 200, ""),
        body=b'"na\\0me": b\n',
        headers={"Content-Type": "application/yaml"},
    ),
    Bad(
        *("NUL in a form", "POST", "/auth/token", 422, "invalid_request", ["body", "username"]),
        body=b"grant_type=password&username=a%00b&password=c",
        headers={"Content-Type": "application/x-www-form-urlencoded", "X-API-Key": ""},
    ),
    Bad("NUL in a path", "GET", "/agents/a%00b", 422, "invalid_request", ["path", "agent_id"]),
    Bad("NUL in a query", "GET", "/playbooks?q=a%00b", 422, "invalid_request", ["query", "q"]),
    Bad("NUL in a query that nobody reads", "GET", "/playbooks?zz=%00", 422, "invalid_request", ["query", "zz"]),
    Bad("NUL in a topic", "GET", "/events?topic=run:%00", 422, "invalid_request", ["query", "topic"]),
    Bad(
        "NUL in a place",
        "GET",
        f"/agents?cursor={_cursor('2026-01-01T00:00:00+00:00', chr(0), 'x')}",
        422,
        "invalid_request",
        ["query", "cursor"],
    ),
    # texts that are none
    _json("a lone surrogate", rb'{"name": "\ud800"}', 400, "invalid_json"),
    _json("half a character", b'{"name": "\xc3"}', 400, "invalid_json"),
    Bad(
        *("YAML that is not UTF-8", "POST", "/playbooks", 422, "playbook_invalid", ["body"]),
        body=b"name: \xff\n",
        headers={"Content-Type": "application/yaml"},
    ),
    # shapes
    _json("no body", b"", 422, "invalid_request", ["body"]),
    _json("a list", b"[]", 422, "invalid_request"),
    _json("null", b"null", 422, "invalid_request", ["body"]),
    _json("deep nesting", b'{"name":' * 100 + b"1" + b"}" * 100, 400, "invalid_json"),
    _json("very deep nesting", b"[" * 500_000, 400, "invalid_json"),
    _json("NaN", b'{"name": NaN}', 400, "invalid_json"),
    _json("infinity", b'{"name": 1e999}', 400, "invalid_json"),
    _json("a number of 5,000 digits", b'{"name": ' + b"9" * 5_000 + b"}", 400, "invalid_json"),
    Bad(
        "another media type",
        "POST",
        "/playbooks",
        415,
        "unsupported_media_type",
        body=b"x",
        headers={"Content-Type": "text/html"},
    ),
    Bad(
        "a media type that is none",
        "POST",
        "/playbooks",
        415,
        "unsupported_media_type",
        body=b"{}",
        headers={"Content-Type": ";;;"},
    ),
    # numbers
    *(
        Bad(f"limit {value}", "GET", f"/agents?limit={value}", 422, "invalid_request", ["query", "limit"])
        for value in ("-1", "0", "1001", str(HUGE), "-9223372036854775809", "1.5", "inf", "nan", "", "%EF%BC%91", "1e2")
    ),
    *(
        Bad(
            f"wait {value}",
            "GET",
            f"/events?topic=runs&wait_seconds={value}",
            422,
            "invalid_request",
            ["query", "wait_seconds"],
        )
        for value in ("-1", "61", "inf", "nan", "1e999")
    ),
    Bad("a deadline below none", "GET", "/agents", 400, "invalid_header", headers={"X-Request-Timeout-Ms": "-1"}),
    Bad("a deadline beyond all", "GET", "/agents", 400, "invalid_header", headers={"X-Request-Timeout-Ms": str(HUGE)}),
    # cursors of lists
    *(
        Bad(f"the cursor {name}", "GET", f"/agents?cursor={cursor}", 422, "invalid_request", ["query", "cursor"])
        for name, cursor in {
            "is a word": "nonsense",
            "is empty": "",
            "is no list": _cursor(),
            "has no zone": _cursor("2026-01-01T00:00:00", "agt_1", "x"),
            "is of the year 1": _cursor("0001-01-01T00:00:00+14:00", "agt_1", "x"),
            "is of the year 9999": _cursor("9999-12-31T23:59:59-14:00", "agt_1", "x"),
            "has a number for a time": _cursor(HUGE, "agt_1", "x"),
            "has another filter": _cursor("2026-01-01T00:00:00+00:00", "agt_1", "x"),
            "is nested": _place("[" * 900),
        }.items()
    ),
    # cursors of events
    *(
        Bad(
            f"the cursor {text[:20]}",
            "GET",
            f"/events?topic=runs&from={text}",
            422,
            "invalid_request",
            ["query", "from"],
        )
        for text in ("x", ":1", "e:", "e:-1", "e:1.5", f"e:{2**53 + 1}", "e:%D9%A1", "a%20b:1", "e:f:g", f"e:{HUGE}")
    ),
    Bad("a topic that is none", "GET", "/events?topic=nonsense", 403, "forbidden"),
    Bad("a topic too long", "GET", f"/events?topic={'x' * 101}", 422, "invalid_request", ["query", "topic"]),
    # paths
    Bad("a path that is none", "GET", "/agents/a/b/c", 404, "not_found"),
    Bad("an escaped slash", "GET", "/agents/a%2Fb%2Fc", 404, "not_found"),
    Bad("a very long id", "GET", f"/agents/{'a' * 5_000}", 404, "agent_not_found"),
    Bad("an id that is not UTF-8", "GET", "/agents/%FF%FE", 404, "agent_not_found"),
    Bad("a method that nobody takes", "DELETE", "/agents", 405, "method_not_allowed"),
    # the same twice
    Bad("two limits, one of them wrong", "GET", "/agents?limit=1&limit=-1", 422, "invalid_request", ["query", "limit"]),
    # headers
    Bad(
        "an empty idempotency key",
        "POST",
        "/agents",
        400,
        "invalid_idempotency_key",
        body=b"{}",
        headers={"Idempotency-Key": " "},
    ),
    Bad(
        "a long idempotency key",
        "POST",
        "/agents",
        400,
        "invalid_idempotency_key",
        body=b"{}",
        headers={"Idempotency-Key": "x" * 256},
    ),
    Bad("both credentials", "GET", "/agents", 400, "ambiguous_credentials", headers={"Authorization": "Bearer x"}),
    Bad("a body beyond the limit", "POST", "/agents", 413, "body_too_large", body=b'"' + b"x" * 10_000_000 + b'"'),
    Bad(
        "too large to be kept",
        "POST",
        "/agents",
        413,
        "resource_too_large",
        body=json.dumps({"name": "big", "description": "x" * 70_000}).encode(),
    ),
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server on each database."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("bad"), port=0)
    if request.param == "postgresql":
        postgresql = request.getfixturevalue("postgresql")
        url = postgresql.new_database(migrated=False).replace("postgresql+asyncpg", "postgresql")
        settings = Settings(data_dir=settings.data_dir, port=0, database_url=url)
    else:
        request.getfixturevalue("sqlite")
    with RunningServer(settings) as running:
        yield running


@pytest_asyncio.fixture
async def api(either: RunningServer) -> AsyncIterator[Api]:
    user = await either.new_user()
    async with aiohttp.ClientSession() as session:
        yield Api(either, session, user)


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
async def test_it_is_refused_with_a_clear_answer(api: Api, bad: Bad) -> None:
    url = URL(f"{api.server.url}/api/v1{bad.path}", encoded=True)
    headers = {name: value for name, value in {**api.headers, **bad.headers}.items() if value}
    if bad.body is not None:
        headers.setdefault("Content-Type", "application/json")
    async with api.session.request(
        bad.method, url, data=None if bad.body is None else io.BytesIO(bad.body), headers=headers
    ) as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem.get("code", "")) == (bad.status, bad.code), problem
    if bad.loc is not None:
        assert bad.loc in [error["loc"] for error in problem["errors"]], problem


async def test_nothing_was_kept_of_what_was_refused(api: Api) -> None:
    for noun in ("agents", "playbooks", "tools", "tasks"):
        assert (await api.ok("GET", f"/{noun}"))["items"] == [] or noun == "tools"


@pytest.mark.parametrize("number", [2**31, 2**53 + 1, 2**63, 10**30, 10**300], ids="{:.0e}".format)
async def test_a_number_of_any_size_that_is_the_callers_own_comes_back_as_it_was(api: Api, number: int) -> None:
    spec = {"name": f"n{number % 97}", "kind": "http", "url": "https://tools.example/", "defaults": {"n": number}}
    made = await api.ok("POST", "/tools", json=spec)
    assert (await api.ok("GET", f"/tools/{made['id']}"))["defaults"] == {"n": number}


@pytest.mark.parametrize("place", ["2147483648", "99999999999", "9" * 18, "9" * 19])
async def test_places_beyond_every_column_are_refused_or_empty(api: Api, place: str) -> None:
    """The place in a run's steps and log is a number that goes into a comparison with a column."""
    run_id = await new_run(api)
    for part in ("steps", "logs"):
        answer = await api("GET", f"/runs/{run_id}/{part}?cursor={_place(place)}")
        if len(place) < 19:
            assert (answer.status, answer.json["items"]) == (200, [])
        else:
            assert (answer.status, answer.json["code"]) == (422, "invalid_request")


LONG = "x" * 201
TOO_LONG = [
    ("/agents", {"name": LONG}, "name"),
    ("/agents", {"name": "A", "type": LONG}, "type"),
    ("/tools", {"name": LONG, "kind": "http", "url": "https://tools.example/"}, "name"),
    ("/tools", {"name": "T", "kind": "http", "url": "https://tools.example/", "method": LONG}, "method"),
    ("/playbooks", {**PLAYBOOK, "name": LONG}, "name"),
    ("/playbooks", {**PLAYBOOK, "tags": [LONG]}, "tags"),
    ("/auth/api-keys", {"name": LONG}, "name"),
]


@pytest.mark.parametrize(("path", "spec", "field_name"), TOO_LONG)
async def test_a_text_that_is_longer_than_is_kept_is_refused(
    api: Api, path: str, spec: dict[str, Any], field_name: str
) -> None:
    """PostgreSQL holds a column to its length, where SQLite does not."""
    answer = await api("POST", path, json=spec)
    assert answer.status == 422, answer
    assert field_name in [error["loc"][1] for error in answer.json["errors"]]


async def test_nul_in_the_topic_of_a_subscription_is_no_topic(api: Api) -> None:
    async with api.session.ws_connect(f"{api.server.url}/api/v1/ws", headers=api.headers) as socket:
        await socket.send_json({"op": "hello", "v": 1})
        frame = {"op": "subscribe", "id": 1, "sid": "a", "topic": "run:\0", "from": "head", "limit": 1}
        await socket.send_json(frame)
        ops = [(await socket.receive_json())["op"] for _ in range(2)]
    assert ops[0] == "welcome"
    assert ops[1] in ("error", "ended")


async def test_characters_of_all_planes_come_back_as_they_were(api: Api) -> None:
    text = "".join(map(chr, (1, 0x7F, 0x80, 0xD7FF, 0xE000, 0xFFFE, 0xFFFF, 0x1F600, 0x10FFFF)))
    made = await api.ok("POST", "/agents", json={"name": "All", "description": text})
    assert (await api.ok("GET", f"/agents/{made['id']}"))["description"] == text
