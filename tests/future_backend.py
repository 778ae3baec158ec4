"""A backend of a later version: a proxy in front of the real one that has learned new things.

    async with FutureBackend(backend.url) as future:
        async with AsyncPlaycall(future.url, auth=…) as client: ...

It speaks as docs/versions.md allows a later `/api/v1` to speak. What is new there could not happen today; so it stands in
for something that can, by the tables below: said in the new words on the way out, and understood on the way in, so that a
client may send back what it read. What must stay, stays: ids, cursors, seqs, versions, and the user's own data.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self, TypeAlias

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, MultiDict
from yarl import URL

__all__ = ["CODES", "EVENT_TYPES", "NEWS", "STRANGE", "VALUES", "FutureBackend", "newer", "newer_event", "older"]

Json: TypeAlias = Any  # whatever JSON may be

NEWS: Final[dict[str, Json]] = {
    "x_mood": {"deep": [{"deeper": None}, [1.5, True]], "": "an empty name"},
    "model_config": {"extra": "forbid"},
    "self": 10**30,
    "größe": None,
}
"""The fields that every object has learned."""

VALUES: Final = {
    "status": {"completed": "concluded", "queued": "admitted"},
    "state": {"created": "dozing", "ready": "awake"},
    "kind": {"builtin": "native"},
    "level": {"info": "notice"},
    "scope": {"full": "everything"},
    "wish": {"cancel": "halt"},
    "reason": {"epoch": "era", "finished": "shelved"},
}
"""New words, by field: of the enumerations, and why a subscription ends. `concluded` is how a run, step or task ends."""

STEP_TYPE: Final = ("standard", "guided")
GUIDED: Final = "s2"
"""The steps with this id are of a type that is new."""

EVENT_TYPES: Final = {
    "run.completed": "run.concluded",
    "run.step.finished": "run.step.concluded",
    "agent.changed": "agent.mood.changed",
}
STRANGE: Final = {"": [[], {}, None, "x" * 1_000], "run": "not an object", "steps": {"1": -0.5}}
"""What stands in the payload of an event of a new type, over what stood there."""

CODES: Final = {
    "playbook_not_found": (404, "playbook_archived"),
    "name_taken": (409, "name_reserved"),
    "version_mismatch": (412, "branch_diverged"),
    "tool_not_found": (451, "tool_withdrawn"),
    "run_not_found": (410, "run_forgotten"),
    "invalid_request": (422, "request_unwelcome"),
}
"""New reasons to say no, some under a status that has no class, in place of those that a test can bring about."""

OWN_DATA: Final = frozenset({"parameters", "defaults", "default", "choices", "output"})
NAMED: Final = frozenset({"inputs", "checks", "roles", "at"})
"""Objects whose names are somebody's data, so that a name added there is no field."""

HEADERS: Final = {
    "X-Mood": "serene",
    "Server-Timing": "mood;dur=0.1",
    "Deprecation": "@1688169599",
    "Sunset": "Sun, 30 Jun 2030 23:59:59 GMT",
    "Link": '</docs/mood>; rel="deprecation"',
}
PER_CONNECTION: Final = frozenset({"host", "connection", "transfer-encoding", "content-length", "accept-encoding"})
WEATHER: Final = "weather"
"""A topic that this backend refuses with a code of its own."""


# --- the vocabulary ---------------------------------------------------------------------------------------------------


def newer(value: Json) -> Json:
    """`value` as a later version would say it."""
    if isinstance(value, list):
        return [newer(each) for each in value]
    if not isinstance(value, dict):
        return value
    said: dict[str, Json] = {}
    for name, each in value.items():
        if name in NAMED:
            # A playbook's inputs are described by objects of ours, a run's are the user's.
            ours = name == "inputs" and "steps" in value
            said[name] = {key: newer(one) for key, one in each.items()} if ours and each else each
        elif name in OWN_DATA:
            said[name] = each
        elif name in VALUES and isinstance(each, str):
            said[name] = VALUES[name].get(each, each)
        else:
            said[name] = newer(each)
    if (said.get("id"), said.get("type")) == (GUIDED, STEP_TYPE[0]):
        said["type"] = STEP_TYPE[1]
    return {**said, **NEWS}


def older(value: Json) -> Json:
    """The inverse of `newer`, for what a client sends."""
    if isinstance(value, list):
        return [older(each) for each in value]
    if not isinstance(value, dict):
        return value
    said = {name: older(each) for name, each in value.items() if name not in NEWS}
    for name, words in VALUES.items():
        for old, new in words.items():
            if said.get(name) == new:
                said[name] = old
    if said.get("type") == STEP_TYPE[1]:
        said["type"] = STEP_TYPE[0]
    return said


def newer_event(event: dict[str, Json]) -> dict[str, Json]:
    said: dict[str, Json] = newer(event)
    if event["type"] in EVENT_TYPES:
        said["type"] = EVENT_TYPES[event["type"]]
        said["data"] = {**said["data"], **STRANGE}
    return said


def newer_frame(frame: dict[str, Json]) -> dict[str, Json]:
    said: dict[str, Json] = newer(frame)
    if frame["op"] == "events":
        said["events"] = [newer_event(each) for each in frame["events"]]
    return said


def newer_problem(status: int, problem: dict[str, Json]) -> tuple[int, dict[str, Json]]:
    status, code = CODES.get(problem["code"], (status, problem["code"]))
    errors = problem.get("errors")
    said = newer(problem) | {"type": f"https://backend.test/problems/{code}", "status": status, "code": code}
    if errors:
        said["errors"] = [*newer(errors), {"whole": "resource", "why": "a mistake that no field made"}]
    return status, said


# --- the server -------------------------------------------------------------------------------------------------------


class FutureBackend:
    """The proxy, on a port of its own and on the running loop."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        app = web.Application(client_max_size=2**24)
        app.router.add_get("/api/v1/ws", self._socket)
        app.router.add_route("*", "/{path:.*}", self._request)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    @property
    def url(self) -> str:
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    def _headers(self, request: web.Request) -> CIMultiDict[str]:
        return CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in PER_CONNECTION
        )

    async def _request(self, request: web.Request) -> web.Response:
        query: MultiDict[str] = MultiDict((name, older({name: value})[name]) for name, value in request.query.items())
        body = await request.read()
        if request.content_type == "application/json" and body:
            body = json.dumps(older(json.loads(body))).encode()
        async with self._session.request(
            request.method,
            URL(self._upstream + request.raw_path.partition("?")[0], encoded=True).with_query(query),
            headers={**self._headers(request), "Accept-Encoding": "identity"},
            data=body,
            allow_redirects=False,
        ) as answer:
            content, status = await answer.read(), answer.status
            if content and answer.content_type == "application/problem+json":
                status, problem = newer_problem(status, json.loads(content))
                content = json.dumps(problem).encode()
            elif content and answer.content_type == "application/json":
                content = json.dumps(self._answer(json.loads(content))).encode()
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in PER_CONNECTION]
            return web.Response(status=status, body=content, headers=CIMultiDict([*kept, *HEADERS.items()]))

    @staticmethod
    def _answer(value: Json) -> Json:
        if isinstance(value, dict) and "frames" in value:  # a page of events
            return newer(value) | {"frames": [newer_frame(each) for each in value["frames"]]}
        if isinstance(value, dict) and "next_cursor" in value:
            return newer(value) | {"total": 10**6, "previous_cursor": None, "links": [{"rel": "first", "href": "/"}]}
        return newer(value)

    # --- the socket ---------------------------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        credentials = {
            name: value for name, value in request.headers.items() if name.lower() in ("authorization", "x-api-key")
        }
        upstream = await self._session.ws_connect(
            f"{self._upstream}/api/v1/ws", protocols=("playcall.v1",), headers=credentials, max_msg_size=0
        )
        client = web.WebSocketResponse(protocols=("playcall.v1",), max_msg_size=0)
        await client.prepare(request)

        over: set[str] = set()

        async def to_client(text: str) -> AsyncIterator[Json]:
            frame = json.loads(text)
            yield {"op": "weather", "sid": "s1", "events": "none of yours", "v": 2}
            if frame["op"] == "events" and frame["events"] and frame["events"][-1].get("terminal"):
                over.add(frame["sid"])
            if frame["op"] != "ended" or frame["sid"] not in over:  # the terminal event has said it
                yield newer_frame(frame)

        async def to_upstream(text: str) -> AsyncIterator[Json]:
            frame = json.loads(text)
            if frame["op"] == "subscribe" and frame["topic"] == WEATHER:
                refusal = {
                    "op": "error",
                    "id": frame["id"],
                    "sid": frame["sid"],
                    "code": "overcast",
                    "message": "no view",
                }
                await client.send_json(refusal | NEWS)
            elif frame["op"] == "subscribe" and frame.get("types"):
                names = {new: old for old, new in EVENT_TYPES.items()}
                yield frame | {"types": [names.get(each, each) for each in frame["types"]]}
            else:
                yield frame

        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(_pump(upstream, client, to_client))
            pumps.create_task(_pump(client, upstream, to_upstream))
        return client


_Socket: TypeAlias = web.WebSocketResponse | aiohttp.ClientWebSocketResponse[bool]


async def _pump(source: _Socket, sink: _Socket, say: Callable[[str], AsyncIterator[Json]]) -> None:
    """Passes frames on until one end closes, then closes the other in the same way."""
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            async for frame in say(message.data):
                try:
                    await sink.send_json(frame)
                except ConnectionError:
                    return  # it has left
    code = source.close_code
    await sink.close(code=1011 if code in (None, 1006) else code)  # RFC 6455 section 7.4.1: 1006 is never sent
