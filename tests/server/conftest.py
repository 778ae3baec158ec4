"""A real server on a real socket, without an engine, on a thread of its own; one for each test process.

Each test takes a user of its own from it (`api`), so tests do not see each other.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
import pytest
import pytest_asyncio

from playcall.models import ApiKeySpec, Scope
from playcall.server.app import EngineFactory
from playcall.server.auth.accounts import add_api_key, create_user
from playcall.server.auth.passwords import hash_password
from playcall.server.clock import utc_now
from playcall.server.dependencies import Core
from playcall.server.ids import new_id
from playcall.server.log import NewEvent, TopicEntry
from playcall.server.running.serving import Server, Started
from playcall.server.settings import Settings
from playcall.server.store.database import Database
from playcall.server.store.tables import ToolRow
from tests.server.conformance import Findings, require_none, watching

if TYPE_CHECKING:
    from tests.postgresql import PostgreSQL

T = TypeVar("T")

ON_BOTH: Final = (
    "auth/",
    "log/",
    "routes/",
    "sockets/test_ends.py",
    "sockets/test_permission.py",
    "sockets/test_websocket.py",
    "store/",
    "test_caretaker.py",
    "test_idempotency.py",
)
"""Where the database matters: these tests run on SQLite and on PostgreSQL, unless they are marked `sqlite_only`. On
PostgreSQL they run one after the other, in one worker of pytest-xdist, so that one server is started for all of them.
"""


@pytest.fixture(scope="session", autouse=True)
def findings() -> Iterator[Findings]:
    """Every server of this process is held against its OpenAPI document."""
    with watching(found := Findings()):
        yield found


@pytest.fixture(autouse=True)
def _every_answer_is_documented(findings: Findings) -> Iterator[None]:
    yield
    require_none(findings)


class RunningServer:
    """A server on a thread; `call` runs a coroutine in its loop."""

    def __init__(self, settings: Settings, *, engine: EngineFactory | None = None) -> None:
        self._settings = settings
        self._server = Server(settings, engine=engine)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self.started: Started
        self.failure: BaseException | None = None

    def __enter__(self) -> RunningServer:
        self._thread.start()
        assert self._ready.wait(30)
        if self.failure is not None:
            raise self.failure
        return self

    def stop(self) -> None:
        """Ask it to end, as a signal would."""
        self._loop.call_soon_threadsafe(self._server.stop)

    def __exit__(self, *exc_info: object) -> None:
        if self._thread.is_alive():
            self.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _main(self) -> None:
        def started(facts: Started) -> None:
            self.started = facts
            self._ready.set()

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._server.run(started))
            except BaseException as error:
                self.failure = error
            finally:
                self._ready.set()

    @property
    def url(self) -> str:
        return self.started.url

    @property
    def core(self) -> Core:
        uvicorn = self._server._uvicorn
        assert uvicorn is not None
        core = uvicorn._app.state.core
        assert isinstance(core, Core)
        return core

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def acall(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    async def new_user(self, password: str | None = None) -> User:
        async def make() -> User:
            password_hash = None if password is None else await hash_password(password)
            async with self.core.database.write() as tx:
                name = new_id("name")
                user = await create_user(tx.session, name, password_hash)
                full = await add_api_key(tx.session, user.id, ApiKeySpec(name="full"))
                read = await add_api_key(tx.session, user.id, ApiKeySpec(name="read", scope=Scope.READ))
                return User(user.id, name, full.secret, read.secret)

        return await self.acall(make())

    async def emit(
        self, user: User, *topics: str | TopicEntry, type: str = "test.happened", count: int = 1, data: Any = None
    ) -> None:
        entries = tuple(TopicEntry(topic) if isinstance(topic, str) else topic for topic in topics)

        async def append() -> None:
            async with self.core.database.write() as tx:
                for number in range(count):
                    event_data = {"n": number} if data is None else data
                    tx.emit(NewEvent(owner_id=user.id, type=type, data=event_data, topics=entries))

        await self.acall(append())


@dataclass
class User:
    id: str
    name: str
    key: str
    read_key: str


@dataclass
class Answer:
    status: int
    headers: Any
    json: Any


class Api:
    """Requests as one user."""

    def __init__(self, server: RunningServer, session: aiohttp.ClientSession, user: User) -> None:
        self.server = server
        self.session = session
        self.user = user
        self.headers = {"X-API-Key": user.key}

    async def __call__(self, method: str, path: str, *, headers: dict[str, str] | None = None, **kwargs: Any) -> Answer:
        """`headers` add to the user's; the value "" leaves one out."""
        merged = {k: v for k, v in {**self.headers, **(headers or {})}.items() if v}
        async with self.session.request(
            method, f"{self.server.url}/api/v1{path}", headers=merged, **kwargs
        ) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, response.headers, await response.json(content_type=None) if is_json else raw)

    async def ok(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = await self(method, path, **kwargs)
        assert answer.status < 300, answer
        return answer.json

    async def tool(self, name: str = "report") -> Any:
        spec = {"name": name, "kind": "http", "url": "https://tools.example/report"}
        return await self.ok("POST", "/tools", json=spec)

    async def agent(self, name: str = "Writer", *tools: str) -> Any:
        return await self.ok("POST", "/agents", json={"name": name, "tools": list(tools)})

    async def other(self) -> Api:
        return Api(self.server, self.session, await self.server.new_user())

    async def events(self, topic: str, **params: Any) -> list[dict[str, Any]]:
        page = await self.ok("GET", "/events", params={"topic": topic, **params})
        return [event for frame in page["frames"] if frame["op"] == "events" for event in frame["events"]]


@pytest.fixture(scope="session")
def database_kind(request: pytest.FixtureRequest) -> str:
    """`sqlite` or `postgresql`: what the servers and databases of the test stand on."""
    kind: str = getattr(request, "param", "sqlite")
    request.getfixturevalue(kind)
    return kind


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        postgresql = pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))
        kinds = [kind for kind in ("sqlite", postgresql) if _is_for(metafunc.definition, kind)]
        metafunc.parametrize("database_kind", kinds, indirect=True, scope="session")


def _is_for(test: pytest.Item, kind: object) -> bool:
    if kind == "sqlite":
        return test.get_closest_marker("postgresql_only") is None
    if test.get_closest_marker("postgresql_only") is not None:
        return True
    path = test.path.relative_to(Path(__file__).parent).as_posix()
    return path.startswith(ON_BOTH) and test.get_closest_marker("sqlite_only") is None


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a database of the test's own, which holds nothing."""
    if database_kind == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/playcall.sqlite3"
        return
    running: PostgreSQL = request.getfixturevalue("postgresql")
    yield (url := running.borrow())
    running.give_back(url)


@pytest.fixture(scope="session")
def server(
    database_kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("server")
    url = None if database_kind == "sqlite" else request.getfixturevalue("postgresql").new_database()
    settings = Settings(
        data_dir=folder,
        database_url=url,
        port=0,
        heartbeat_seconds=0.3,
        silent_heartbeats=100,
        hello_seconds=0.5,
        max_subscriptions=3,
    )
    with RunningServer(settings) as running:

        async def builtin() -> None:
            async with running.core.database.write() as tx:
                now = utc_now()
                tx.session.add(
                    ToolRow(
                        id="tol_builtin",
                        owner_id=None,
                        version=1,
                        created_at=now,
                        updated_at=now,
                        name="text.stats",
                        kind="builtin",
                        description="",
                        parameters={},
                        defaults={},
                        implementation=None,
                        url=None,
                        method=None,
                        secret_headers={},
                        timeout_seconds=None,
                    )
                )

        running.call(builtin())
        yield running


@pytest_asyncio.fixture
async def api(server: RunningServer) -> AsyncIterator[Api]:
    user = await server.new_user()
    async with aiohttp.ClientSession() as session:
        yield Api(server, session, user)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One of the test's own, without a server."""
    database = await Database.create(database_url)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def owner(database: Database) -> str:
    """A user in it."""
    async with database.write() as tx:
        return (await create_user(tx.session, "somebody")).id
