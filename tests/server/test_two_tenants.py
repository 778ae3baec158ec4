"""Two tenants on one server with its engine: neither finds anything of the other's, by any route or topic.

What is walked comes from the server itself: each operation of its OpenAPI document, and each topic that the other tenant
has in the database. A route, a parameter or a body that this module does not know fails the walk, so that a new one is
entered in the tables below, and is not passed over.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import select

from playcall.models.topic import COLLECTIONS
from playcall.server.engine import Engine
from playcall.server.settings import Settings
from playcall.server.store.tables import TopicRow

from .conftest import Answer, Api, RunningServer
from .sockets.test_websocket import talking

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFIX = "/api/v1"
SAFE = ("get", "head", "options")
FILE = "report.txt"


# --- what each of them has ------------------------------------------------------------------------------------------------


@dataclass
class Tenant:
    """One of everything. `word` stands in all texts of theirs, and in nobody else's."""

    api: Api
    word: str
    params: dict[str, list[str]] = field(default_factory=dict)
    """What a path's parameter can name, by the parameter."""
    name: str = ""
    playbook: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    """A cursor of each list, by its path."""
    cursors: dict[str, str] = field(default_factory=dict)
    """Of the log, by topic."""
    topics: list[str] = field(default_factory=list)

    @property
    def secrets(self) -> set[str]:
        """What nobody else may see: every id, and the word."""
        ids = {value for name, values in self.params.items() if name != "name" for value in values}
        return ids | {self.word, self.api.user.id, self.api.user.name, self.api.user.key, self.api.user.read_key}

    def playbook_spec(self, **more: Any) -> dict[str, Any]:
        step = {
            "id": "work",
            "type": "standard",
            "agent": self.name,
            "operation": "wait",
            "parameters": {"seconds": 900},
        }
        return {"name": f"{self.word} plan", "description": self.word, "tags": [self.word], "agents": [self.name],
                "steps": [step], **more}  # fmt: skip


class Outside:
    """The endpoint of everybody's HTTP tools; it keeps whose secret came with which word."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        application = web.Application()
        application.router.add_route("*", "/act", self._act)
        self.server = TestServer(application)

    async def _act(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.method == "POST" else None
        self.calls.append((request.headers.get("X-Secret", ""), body))
        return web.json_response({"done": True})


async def furnish(api: Api, word: str, outside: Outside) -> Tenant:
    """The ids follow from what the server made, so that all of them are known."""
    it = Tenant(api, word, name=f"Agent-{word}")
    url = str(outside.server.make_url("/act"))
    tool = await api.ok("POST", "/tools", json={
        "name": "mail", "kind": "http", "url": url, "description": word, "secret_headers": {"X-Secret": f"secret of {word}"},
    })  # fmt: skip
    private = await api.ok("POST", "/tools", json={"name": f"tool_{word}", "kind": "http", "url": url})
    tools = ["mail", "wait", "text.stats", "files.read"]
    agent = await api.ok("POST", "/agents", json={"name": it.name, "instructions": word, "tools": tools})
    await api.ok("POST", f"/agents/{agent['id']}/start")
    waiting = await api.ok("POST", "/playbooks", json=it.playbook_spec(), headers={"Idempotency-Key": "the key"})
    step = {
        "id": "count",
        "type": "standard",
        "agent": it.name,
        "operation": "text.stats",
        "parameters": {"text": word},
    }
    short = await api.ok("POST", "/playbooks", json={"name": f"{word} short", "agents": [it.name], "steps": [step]})
    # The agent does one thing at a time: what is to end comes first.
    ended = await api.ok("POST", f"/playbooks/{short['id']}/runs", headers={"Idempotency-Key": "the key"})
    await until(api, f"/runs/{ended['id']}", "completed")
    stopped = await api.ok("POST", f"/playbooks/{waiting['id']}/runs")
    await api.ok("POST", f"/runs/{stopped['id']}/cancel")
    await until(api, f"/runs/{stopped['id']}", "cancelled")
    running = await api.ok("POST", f"/playbooks/{waiting['id']}/runs")
    await until(api, f"/runs/{running['id']}", "running")
    paused = await api.ok("POST", f"/playbooks/{waiting['id']}/runs")
    await api.ok("POST", f"/runs/{paused['id']}/pause", headers={"Idempotency-Key": "the key"})
    await api.ok("PUT", f"/runs/{running['id']}/artifacts/{FILE}", data=f"file of {word}".encode())
    own_task = await api.ok("POST", "/tasks", json={
        "agent": it.name, "operation": "mail", "parameters": {"to": word}, "description": word,
    })  # fmt: skip
    call = await api.ok("POST", f"/tools/{tool['id']}/execute", json={"parameters": {"from": word}, "wait_seconds": 20})
    key = await api.ok("POST", "/auth/api-keys", json={"name": word})
    tasks = [item["id"] for item in (await api.ok("GET", "/tasks"))["items"]]
    assert {own_task["id"], call["task_id"]} < set(tasks)
    it.playbook = waiting
    it.params = {
        "playbook_id": [waiting["id"], short["id"]],
        "run_id": [run["id"] for run in (running, ended, stopped, paused)],
        "agent_id": [agent["id"]],
        "task_id": tasks,
        "tool_id": [tool["id"], private["id"]],
        "key_id": [key["id"]],
        "name": [FILE],
    }
    for path in ("/playbooks", "/runs", "/tasks", "/tools"):
        page = await api("GET", path, params={"limit": 1})
        it.pages[path] = page.json["next_cursor"]
        it.cursors[path[1:]] = page.headers["X-Event-Cursor"]
    it.topics = await topics_of(api)
    return it


async def until(api: Api, path: str, status: str) -> None:
    async with asyncio.timeout(60):
        while (await api.ok("GET", path))["status"] != status:
            await asyncio.sleep(0.05)


async def topics_of(api: Api) -> list[str]:
    """All that the log has of a user, whatever kinds there are."""

    async def read() -> list[str]:
        async with api.server.core.database.read() as session:
            return list(
                (await session.execute(select(TopicRow.name).where(TopicRow.owner_id == api.user.id))).scalars()
            )

    return await api.server.acall(read())


@dataclass
class World:
    victim: Tenant
    intruder: Tenant
    outside: Outside
    document: dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    database_kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    url = None if database_kind == "sqlite" else request.getfixturevalue("postgresql").new_database(migrated=False)
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("tenants"),
        database_url=url,
        port=0,
        allow_private_addresses=True,
        requests_per_second=0,
        heartbeat_seconds=600,
    )
    outside = Outside()
    await outside.server.start_server()

    def engine(database: Any, fixed: Settings) -> Engine:
        return Engine(database=database, settings=fixed)

    server = RunningServer(settings, engine=engine)
    await asyncio.to_thread(server.__enter__)
    try:
        async with aiohttp.ClientSession() as session:
            victim = await furnish(Api(server, session, await server.new_user()), "quokka", outside)
            intruder = await furnish(Api(server, session, await server.new_user()), "wombat", outside)
            async with session.get(f"{server.url}/openapi.json") as response:
                document = await response.json()
            yield World(victim, intruder, outside, document)
    finally:
        await asyncio.to_thread(server.__exit__)
        await outside.server.close()


# --- the walk ------------------------------------------------------------------------------------------------------------


BODIES: Mapping[str, Any] = {
    # A good body for each operation on something of somebody's, so that nothing but the owner can be what is wrong.
    "playbooks.replace": lambda mine: mine.playbook_spec(name="stolen"),
    "playbooks.update": lambda _: {"name": "stolen"},
    "playbooks.run": lambda _: {"inputs": {}},
    "runs.upload_artifact": lambda _: b"stolen",
    "agents.replace": lambda _: {"name": "stolen"},
    "agents.update": lambda _: {"name": "stolen"},
    "tasks.update": lambda _: {"description": "stolen"},
    "tools.update": lambda _: {"description": "stolen"},
    "tools.execute": lambda _: {"parameters": {}, "wait_seconds": 0},
}
FILTERS: Mapping[str, str] = {"playbook": "playbook_id", "agent": "agent_id", "run": "run_id"}
"""Query parameters that take an id, and whose it is."""
WORDS = {"q", "tag"}
"""Query parameters that look for a text."""
PLAIN = {"limit", "order", "state", "status", "kind", "level"}
"""Query parameters that name nothing of anybody's."""
WITHOUT_OTHERS = {
    "playbooks.list", "runs.list", "agents.list", "tasks.list", "tools.list", "api_keys.list", "auth.me",
}  # fmt: skip
"""Operations that name nobody's thing in their path, and answer with the caller's own."""
OTHERWISE_PROVEN = {
    "health.live": "it has nothing of anybody's",
    "health.ready": "it has nothing of anybody's",
    "metrics": "it has nothing of anybody's",
    "auth.token": "it takes no credentials but those it is sent",
    "api_keys.create": "it names nothing of anybody's",
    "tools.create": "it names nothing of anybody's",
    "playbooks.create": "test_a_playbook_cannot_use_anothers_agent",
    "playbooks.validate": "test_a_playbook_cannot_use_anothers_agent",
    "agents.create": "test_an_agent_cannot_use_anothers_tool",
    "tasks.create": "test_a_task_cannot_use_anothers_agent_or_tool",
    "events.list": "test_no_topic_of_anothers_is_told_by_any_way",
    "events.socket": "test_no_topic_of_anothers_is_told_by_any_way",
}


@dataclass
class Walk:
    """`tried` counts requests by operation."""

    world: World
    api: Api
    tried: dict[str, int] = field(default_factory=dict)

    async def all(self) -> None:
        for template, operations in self.world.document["paths"].items():
            for method, operation in operations.items():
                await self.operation(template.removeprefix(PREFIX), method, operation)

    async def operation(self, template: str, method: str, operation: dict[str, Any]) -> None:
        name = operation["operationId"]
        if "{" not in template:
            assert name in WITHOUT_OTHERS or name in OTHERWISE_PROVEN, f"{name} is new: say how it is kept apart"
            if name in WITHOUT_OTHERS:
                await self.own(name, template, self.query(operation))
            return
        assert "requestBody" not in operation or name in BODIES, f"{name} is new: give it a body"
        for path in self.paths(template):
            body = BODIES[name](self.world.intruder) if name in BODIES else None
            given = {"data": body} if isinstance(body, bytes) else {"json": body}
            self.tried[name] = self.tried.get(name, 0) + 1
            answer = await self.api(method.upper(), path, **given)
            said = f"{name} at {path} answered {answer.status}"
            refused = answer.status == 404 or (
                answer.status == 403 and answer.json["code"] in ("forbidden", "read_only")
            )
            assert refused, said
            assert answer.status == 404 or method not in SAFE, said
            require_nothing_of(self.world.victim, answer, said)

    async def own(self, name: str, path: str, queries: list[dict[str, str]]) -> None:
        """A list gives all that is one's own, and nothing else, however it is asked."""
        for query in [{}, *queries]:
            self.tried[name] = self.tried.get(name, 0) + 1
            answer = await self.api("GET", path, params=query)
            assert answer.status == 200, (name, query)
            require_nothing_of(self.world.victim, answer, f"{name} {query}", sent=tuple(query.values()))
            if query and "cursor" not in query:
                assert answer.json["items"] == [], f"{name} {query} found something"

    def query(self, operation: dict[str, Any]) -> list[dict[str, str]]:
        victim, found = self.world.victim, []
        for parameter in operation["parameters"]:
            if parameter.get("in") != "query" or (name := parameter["name"]) in PLAIN:
                continue
            if name == "cursor":
                path = f"/{operation['tags'][0]}"
                found += [{"cursor": victim.pages[path]}] if path in victim.pages else []
            elif name in WORDS:
                found.append({name: victim.word})
            else:
                found += [{name: value} for value in victim.params[FILTERS[name]]]
        return found

    def paths(self, template: str) -> list[str]:
        """With each of the other's ids in each place. A parameter that is not known is a KeyError."""
        paths = [template]
        while any("{" in path for path in paths):
            parameter = paths[0].partition("{")[2].partition("}")[0]
            values = self.world.victim.params[parameter]
            paths = [path.replace(f"{{{parameter}}}", value) for path in paths for value in values]
        return paths


def require_nothing_of(tenant: Tenant, answer: Answer, said: str, *, sent: tuple[str, ...] = ()) -> None:
    """Neither in the body nor in a header; what we sent ourselves may come back."""
    body = answer.json.decode(errors="replace") if isinstance(answer.json, bytes) else json.dumps(answer.json)
    text = body + str(dict(answer.headers))
    for word in sent:
        text = text.replace(word, "")
    shown = [secret for secret in tenant.secrets if secret in text]
    assert not shown, f"{said}, and shows {shown}"


async def stand(tenant: Tenant) -> str:
    """All that a tenant sees of what is theirs, but for how long their run has waited."""
    api, runs = tenant.api, tenant.params["run_id"]
    paths = [
        "/playbooks",
        "/agents",
        "/tools",
        "/runs",
        *(f"/runs/{run}/{of}" for run in runs for of in ("steps", "artifacts")),
    ]
    seen: list[Any] = [(await api.ok("GET", path))["items"] for path in paths]
    seen += [[task["id"], task["status"], task["description"]] for task in (await api.ok("GET", "/tasks"))["items"]]
    seen += [{**key, "last_used_at": None} for key in (await api.ok("GET", "/auth/api-keys"))["items"]]
    return repr([*seen, (await api("GET", f"/runs/{runs[0]}/artifacts/{FILE}")).json])


def with_key(tenant: Tenant, kind: str) -> Api:
    api = Api(tenant.api.server, tenant.api.session, tenant.api.user)
    api.headers = {"X-API-Key": api.user.key if kind == "full" else api.user.read_key}
    return api


@pytest.mark.parametrize("kind", ["full", "read"])
async def test_no_route_gives_or_changes_anything_of_anothers(world: World, kind: str) -> None:
    before = await stand(world.victim)
    assert "quokka" in before
    walk = Walk(world, with_key(world.intruder, kind))
    await walk.all()
    assert await stand(world.victim) == before
    named = {operation["operationId"] for path in world.document["paths"].values() for operation in path.values()}
    assert set(walk.tried) == named - set(OTHERWISE_PROVEN), "each was walked"
    assert walk.tried["runs.get"] == 4
    # Everything that the walk asked for is there, for whom it belongs to.
    for template, operations in world.document["paths"].items():
        if "get" in operations and "{" in template and "/health" not in template and "{name}" not in template:
            for path in Walk(world, world.victim.api).paths(template.removeprefix(PREFIX)):
                assert (await world.victim.api("GET", path)).status == 200, path


@pytest.mark.parametrize("kind", ["full", "read"])
async def test_no_topic_of_anothers_is_told_by_any_way(world: World, kind: str) -> None:
    """By history, by long poll and on a socket; a collection of that name is one's own."""
    victim, api = world.victim, with_key(world.intruder, kind)
    kinds = {topic.partition(":")[0] for topic in victim.topics}
    assert kinds >= {"run", "task", "agent"} | COLLECTIONS - {"playbooks"}
    async with talking(api, api.headers) as talk:
        for number, topic in enumerate(victim.topics):
            cursor = (
                victim.cursors.get(topic)
                or (await victim.api("GET", "/events", params={"topic": topic})).headers["X-Event-Cursor"]
            )
            epoch, _, seq = cursor.partition(":")
            for start in ("start", "head", cursor):
                for wait in ({}, {"wait_seconds": "0.05"}):
                    answer = await api("GET", "/events", params={"topic": topic, "from": start, **wait})
                    said = f"{topic} from {start} {wait} answered {answer.status}"
                    assert answer.status == (200 if topic in COLLECTIONS else 403), said
                    require_nothing_of(victim, answer, said)
            if topic in COLLECTIONS:
                continue
            for place in ("start", "head", {"epoch": epoch, "seq": int(seq)}):
                frame = await talk.subscribe(topic, sid=f"{number} {place}", id=number, **{"from": place})
                assert (frame["op"], frame["code"]) == ("error", "forbidden")
                assert not [secret for secret in victim.secrets if secret in json.dumps(frame)]


async def test_a_collection_on_a_socket_is_ones_own_though_the_other_is_busy(world: World) -> None:
    victim, api = world.victim, world.intruder.api
    async with talking(api) as talk:
        for number, topic in enumerate(sorted(COLLECTIONS)):
            subscribed = await talk.subscribe(topic, sid=topic, id=number, **{"from": "head"})
            assert subscribed["op"] == "subscribed"
        extra = await victim.api.ok("POST", "/agents", json={"name": "another of quokka"})
        await victim.api.ok("DELETE", f"/agents/{extra['id']}")
        mine = await api.ok("POST", "/agents", json={"name": "another of wombat"})
        frame = await talk.receive()
        assert [event["data"]["agent"]["id"] for event in frame["events"]] == [mine["id"]]
        await api.ok("DELETE", f"/agents/{mine['id']}")


# --- names, keys and files: what one may send without an id ----------------------------------------------------------------


async def test_a_playbook_cannot_use_anothers_agent(world: World) -> None:
    """Nor is its name suggested to somebody who nearly has it."""
    victim, mine = world.victim, world.intruder
    for name in (victim.name, victim.name[:-1], victim.params["agent_id"][0]):
        spec = mine.playbook_spec(name="stolen", agents=[name])
        spec["steps"][0]["agent"] = name
        for path in ("/playbooks", "/playbooks/validate"):
            answer = await mine.api("POST", path, json=spec)
            refused = answer.status == 422 or answer.json["valid"] is False
            assert refused, (path, name)
            require_nothing_of(victim, answer, f"{path} with {name}", sent=(name,))
        answer = await mine.api("PUT", f"/playbooks/{mine.params['playbook_id'][0]}", json=spec)
        assert answer.status == 422
        require_nothing_of(victim, answer, name, sent=(name,))
    spec = mine.playbook_spec(name="stolen")
    for operation in (f"tool_{victim.word}", f"tool_{victim.word[:-1]}"):
        spec["steps"][0]["operation"] = operation
        answer = await mine.api("POST", "/playbooks", json=spec)
        assert answer.status == 422
        require_nothing_of(victim, answer, operation, sent=(operation,))


async def test_an_agent_cannot_use_anothers_tool(world: World) -> None:
    victim, mine = world.victim, world.intruder
    for tool in (f"tool_{victim.word}", f"tool_{victim.word[:-1]}", victim.params["tool_id"][0]):
        for method, path in (("POST", "/agents"), ("PATCH", f"/agents/{mine.params['agent_id'][0]}")):
            answer = await mine.api(method, path, json={"name": "thief", "tools": [tool]})
            assert answer.status == 422, (method, tool)
            require_nothing_of(victim, answer, tool, sent=(tool,))


async def test_a_task_cannot_use_anothers_agent_or_tool(world: World) -> None:
    victim, mine = world.victim, world.intruder
    for agent, operation in (
        (victim.name, "mail"),
        (victim.params["agent_id"][0], "mail"),
        (mine.name, f"tool_{victim.word}"),
        (mine.name, victim.params["tool_id"][0]),
    ):
        answer = await mine.api("POST", "/tasks", json={"agent": agent, "operation": operation})
        assert answer.status in (404, 422), (agent, operation)
        require_nothing_of(victim, answer, f"{agent} {operation}", sent=(agent, operation))


async def test_a_tool_of_the_same_name_is_called_with_ones_own_secret(world: World) -> None:
    """Both have called `mail`, directly and by an agent, with a word of theirs."""
    for tenant in (world.victim, world.intruder):
        called = [secret for secret, body in world.outside.calls if tenant.word in json.dumps(body)]
        assert set(called) == {f"secret of {tenant.word}"}
    for path in ("/tools", f"/tools/{world.victim.params['tool_id'][0]}"):
        assert "secret of" not in json.dumps((await world.victim.api("GET", path)).json)


async def test_an_idempotency_key_of_anothers_is_a_new_one(world: World) -> None:
    victim, mine = world.victim, world.intruder
    key = {"Idempotency-Key": "the key"}
    for path in (f"/playbooks/{victim.params['playbook_id'][1]}/runs", f"/runs/{victim.params['run_id'][3]}/pause"):
        own = await victim.api("POST", path, headers=key)
        assert own.headers["Idempotency-Replayed"] == "true"
        answer = await mine.api("POST", path, headers=key)
        assert answer.status == 404
        assert "Idempotency-Replayed" not in answer.headers
    # The same path and body for both: the answers are each one's own.
    replayed = await mine.api("POST", "/playbooks", json=mine.playbook_spec(), headers=key)
    assert (replayed.json["id"], replayed.headers["Idempotency-Replayed"]) == (mine.playbook["id"], "true")
    reused = await mine.api("POST", "/playbooks", json=victim.playbook_spec(), headers=key)
    assert (reused.status, reused.json["code"]) == (422, "idempotency_key_reused")
    require_nothing_of(victim, reused, "a key with the other's body")


async def test_a_file_of_anothers_run_is_out_of_reach_of_ones_tools(world: World) -> None:
    victim, mine = world.victim, world.intruder
    tools = (await mine.api.ok("GET", "/tools", params={"kind": "builtin"}))["items"]
    read = next(tool["id"] for tool in tools if tool["name"] == "files.read")
    folder = mine.api.server._settings.workspaces_dir
    run_id = victim.params["run_id"][0]
    assert (folder / run_id / FILE).read_text() == "file of quokka"
    for path in (f"../{run_id}/{FILE}", str(folder / run_id / FILE)):
        answer = await mine.api(
            "POST", f"/tools/{read}/execute", json={"parameters": {"path": path}, "wait_seconds": 20}
        )
        assert (answer.status, answer.json["code"]) == (422, "tool_failed")
        require_nothing_of(victim, answer, path, sent=(path, run_id))
        await mine.api.ok("DELETE", f"/tasks/{answer.json['task_id']}")  # its parameters name the other's run


# --- the walk finds what it looks for --------------------------------------------------------------------------------------


async def anybodys(session: Any, table: Any, _caller: Any, id: str, *_noun: str, lock: bool = False) -> Any:
    """`own_row` without its filter."""
    from playcall.server.problems import not_found

    row = await session.get(table, id, with_for_update=lock)
    if row is None:
        raise not_found(*_noun)
    return row


@pytest.mark.parametrize("module", ["runs", "tasks", "artifacts"])
async def test_the_walk_fails_where_a_filter_by_owner_is_missing(
    world: World, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"playcall.server.routes.{module}.own_row", anybodys)
    # Reading only: what is found must still be there for the other tests.
    walk = Walk(world, with_key(world.intruder, "read"))
    with pytest.raises(AssertionError, match="answered 200"):
        await walk.all()


@pytest.mark.parametrize(("module", "operation"), [("runs", "runs.list"), ("agents", "agents.list")])
async def test_the_walk_fails_where_a_list_is_not_filtered(
    world: World, module: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unfiltered:
        """A SELECT that forgets its first condition."""

        def __init__(self, *of: Any) -> None:
            self._statement = select(*of)

        def where(self, *_conditions: Any) -> Any:
            return self._statement

    monkeypatch.setattr(f"playcall.server.routes.{module}.select", Unfiltered)
    with pytest.raises(AssertionError, match=operation):
        await Walk(world, with_key(world.intruder, "read")).all()


@pytest.mark.parametrize(
    ("path", "operation", "said"),
    [
        ("/api/v1/novelties", {"operationId": "novelties.list", "parameters": [], "tags": ["n"]}, "say how"),
        ("/api/v1/runs/{run_id}/novelty", {"operationId": "runs.novelty", "requestBody": {}}, "give it a body"),
        ("/api/v1/novelties/{novelty_id}", {"operationId": "novelties.get"}, "novelty_id"),
    ],
)
async def test_a_new_route_fails_the_walk_until_it_is_known(world: World, path: str, operation: Any, said: str) -> None:
    walk = Walk(
        World(world.victim, world.intruder, world.outside, {"paths": {path: {"get": operation}}}), world.intruder.api
    )
    with pytest.raises((AssertionError, KeyError), match=said):
        await walk.all()
