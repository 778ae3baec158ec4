"""Input that makes no sense is our error before anything is sent: on both faces, of every service."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from playcall import (
    ApiKey,
    AsyncPlaycall,
    BaseAPIClient,
    BearerToken,
    BlockingAPIClient,
    Envelope,
    OAuth2Password,
    Playcall,
    ResourceService,
    RetryPolicy,
    WebSocketClient,
    deadline,
)
from playcall.errors import ConfigurationError, InvalidArgumentError
from playcall.services.blocking_websocket_client import BlockingWebSocketClient
from playcall.testing import MockAnswer, MockRequest, MockTransport
from tests.both_faces import FACES, items, value
from tests.every_method import SERVICES, methods, use

WRONG = (ConfigurationError, InvalidArgumentError)


def told(options: object) -> str:
    """A test's name, without an address: all workers must give it the same."""
    return re.sub(r" at 0x\w+", "", repr(options))[:40]


def answer(request: MockRequest) -> MockAnswer:
    return MockAnswer(json={"items": [], "next_cursor": None})


@asynccontextmanager
async def refuses(client: Any, kinds: tuple[type[Exception], ...] = WRONG) -> AsyncIterator[None]:
    """What is done in here is refused, nothing was sent for it, and no slot is held."""
    engine = client.engine if hasattr(client, "engine") else client._api.engine
    with pytest.raises(kinds) as caught:
        yield
    assert caught.type in kinds or isinstance(caught.value, WRONG)
    assert engine.transport.requests == []
    assert (engine.limiter.in_flight, engine.limiter.waiting) == (0, 0)


@asynccontextmanager
async def api(blocking: bool, **options: Any) -> AsyncIterator[Any]:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    client = kind("http://backend.test", transport=MockTransport(answer), **options)
    yield client
    await value(client.close())


@asynccontextmanager
async def playcall(blocking: bool, **options: Any) -> AsyncIterator[Any]:
    kind: Any = Playcall if blocking else AsyncPlaycall
    client = kind("http://backend.test", transport=MockTransport(answer), **options)
    yield client
    await value(client.close())


# --- clients ----------------------------------------------------------------------------------------------------------

CLIENTS: list[Any] = [
    BaseAPIClient,
    BlockingAPIClient,
    Playcall,
    AsyncPlaycall,
    WebSocketClient,
    BlockingWebSocketClient,
]
EACH_CLIENT = pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.__name__)

URLS = [
    "",
    " ",
    "backend",
    "backend:8000",
    "//backend",
    "/path",
    "http:",
    "http://",
    "http:///path",
    "ftp://backend",
    "ws://backend",
    "http://backend?x=1",
    "http://backend/path?x=1",
    "http://backend#part",
    "http://user@backend",
    "http://user:password@backend",
    "http://backend:99999",
    "http://backend:port",
    "http://backend:-1",
    "http://backend:0",
    "http://[::1",
    "http://back end",
    "http://back\\end",
    "http://back\x00end",
    "http://bäckend",
    "http://backend/../admin",
    "http://backend/%2e%2e/admin",
    "http://backend/\r\nX-Injected: yes",
    3,
    b"http://backend",
]


@EACH_CLIENT
@pytest.mark.parametrize("url", URLS, ids=repr)
def test_a_base_url_that_is_none_is_refused(kind: Any, url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind(url)
    assert "password" not in str(caught.value) or "holds a user name or password" in str(caught.value)


SECONDS = [0, 0.0, -1, -math.inf, math.nan, math.inf, True, False, "3", b"3", [3], 3j, 10**400]
EACH_SECONDS = pytest.mark.parametrize("seconds", SECONDS, ids=lambda seconds: repr(seconds)[:8])


@EACH_CLIENT
@EACH_SECONDS
def test_a_deadline_that_is_no_time_is_refused_by_every_client(kind: Any, seconds: Any) -> None:
    with pytest.raises(WRONG, match="deadline_seconds"):
        kind("http://backend.test", deadline_seconds=seconds)


HTTP_CLIENTS = pytest.mark.parametrize("kind", CLIENTS[:4], ids=lambda kind: kind.__name__)


@HTTP_CLIENTS
@pytest.mark.parametrize(
    "options",
    [
        {"auth": "pk_1"},
        {"auth": object()},
        {"auth": ("user", "password")},
        {"auth": ApiKey},
        {"max_concurrency": 0},
        {"max_concurrency": -1},
        {"max_concurrency": math.nan},
        {"max_concurrency": 1.5},
        {"max_concurrency": True},
        {"max_concurrency": "3"},
        {"retry": 3},
        {"ssl_context": True},
        {"hooks": None},
        {"hooks": print},
        {"hooks": ["x"]},
    ],
    ids=told,
)
def test_a_setting_that_makes_no_sense_is_refused(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(WRONG):
        kind("http://backend.test", **{"transport": MockTransport(answer), **options})


# --- policies and credentials -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"attempts": math.nan},
        {"attempts": "3"},
        {"initial_seconds": -0.1},
        {"initial_seconds": math.nan},
        {"initial_seconds": math.inf},
        {"initial_seconds": "1"},
        {"max_seconds": -1},
        {"max_seconds": math.nan},
        {"max_seconds": math.inf},
        {"max_seconds": None},
        {"budget": -1},
        {"budget": math.nan},
        {"statuses": ["503"]},
        {"predicate": "no function"},
    ],
    ids=told,
)
def test_a_policy_that_makes_no_sense_is_refused_and_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        RetryPolicy(**settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ApiKey(""),
        lambda: ApiKey("a\nb"),
        lambda: BearerToken(""),
        lambda: BearerToken(3),  # type: ignore[arg-type]
        lambda: BearerToken("t", lifetime_seconds=0),
        lambda: OAuth2Password("", "pw"),
        lambda: OAuth2Password("me", ""),
        lambda: ApiKey("k", header=""),
        lambda: ApiKey("k", header="a b"),
        lambda: BearerToken("t", lifetime_seconds="3"),  # type: ignore[arg-type]
        # `http://backend` + `auth/token` is another host, and the password would go there.
        lambda: OAuth2Password("me", "pw", token_path="auth/token"),
        lambda: OAuth2Password("me", "pw", token_path=".evil.test/"),
    ],
)
def test_credentials_that_cannot_be_are_refused_where_they_are_made(make: Callable[[], object]) -> None:
    with pytest.raises(WRONG):
        make()


def raises() -> str:
    raise RuntimeError("s3cret")


async def raises_later() -> str:
    raise RuntimeError("s3cret")


class RaisingScheme:
    async def fetch(self, previous: object, token_endpoint: object) -> Any:
        raise RuntimeError("s3cret")


class EmptyScheme:
    async def fetch(self, previous: object, token_endpoint: object) -> Any:
        return None


PROVIDERS: dict[str, Callable[[], Any]] = {
    "raises": lambda: BearerToken(raises),
    "raises later": lambda: BearerToken(raises_later),
    "gives none": lambda: BearerToken(lambda: None),  # type: ignore[arg-type,return-value]
    "gives a number": lambda: BearerToken(lambda: 3),  # type: ignore[arg-type,return-value]
    "gives a line end": lambda: BearerToken(lambda: "a\nb"),
    "a scheme that raises": RaisingScheme,
    "a scheme that gives none": EmptyScheme,
}


@FACES
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("use", ["verb", "service", "list"])
async def test_a_provider_that_raises_or_gives_no_token_is_a_setting_that_is_wrong(
    blocking: bool, provider: str, use: str
) -> None:
    async with playcall(blocking, auth=PROVIDERS[provider]()) as client, refuses(client, (ConfigurationError,)):
        if use == "list":
            await items(client.agents.list())
        elif use == "service":
            await value(client.account.me())
        else:
            await value(client.agents.create({"name": "n"}))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_so_it_is_for_a_stream_and_its_text_is_not_repeated(provider: str) -> None:
    async with api(False, auth=PROVIDERS[provider]()) as client:
        with pytest.raises(ConfigurationError) as caught:
            async with client.stream("GET", "/x"):
                raise AssertionError("it must not open")
        assert "s3cret" not in f"{caught.value}{caught.value.explain()}"
        assert client.engine.transport.requests == []


# --- verbs ------------------------------------------------------------------------------------------------------------

VERBS = pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])


class Reading(BaseModel):
    celsius: float


def cycle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


BODIES: dict[str, Any] = {
    "nan": math.nan,
    "nan inside": {"a": [1, {"b": math.nan}]},
    "infinity": {"a": -math.inf},
    "an object": {"a": object()},
    "a function": {"a": lambda: 1},
    "a cycle": cycle(),
    "no unicode": "\ud800",
    "bytes that are no text": {"a": b"\xff"},
    "keys that are none": {(1, 2): 3},
}


@FACES
@VERBS
@pytest.mark.parametrize("body", BODIES)
async def test_a_body_that_is_no_json_is_refused_by_every_verb(blocking: bool, verb: str, body: str) -> None:
    async with api(blocking) as client, refuses(client, (InvalidArgumentError,)):
        await value(getattr(client, verb)("/x", json=BODIES[body]))


@FACES
@pytest.mark.parametrize("nested", [False, True])
async def test_a_model_s_nan_is_refused_too_and_does_not_arrive_as_null(blocking: bool, nested: bool) -> None:
    reading = Reading(celsius=math.nan)
    async with api(blocking) as client, refuses(client, (InvalidArgumentError,)):
        await value(client.post("/x", json=[reading] if nested else reading))


PATHS = [
    "",
    "x",
    "//x",
    "http://x/",
    "/x?y",
    "/x#y",
    "/../x",
    "/x/..",
    "/x/.",
    "/%2e%2e/x",
    "/a\\..\\b",
    "/a b",
    "/a\n",
]


@FACES
@VERBS
@pytest.mark.parametrize("path", [*PATHS, "/\ud800", None, 3, b"/x"], ids=repr)
async def test_a_path_that_is_none_or_leaves_the_base_url_is_refused_by_every_verb(
    blocking: bool, verb: str, path: Any
) -> None:
    async with api(blocking) as client, refuses(client, (InvalidArgumentError,)):
        await value(getattr(client, verb)(path))


OPTIONS: list[Any] = [
    *({"deadline_seconds": seconds} for seconds in SECONDS),
    {"params": {"a": [[1]]}},
    {"params": {"a": {"b": 1}}},
    {"params": {"a": object()}},
    {"headers": {"X": "a\r\nInjected: yes"}},
    {"headers": {"X": 3}},
    {"headers": {"a b": "c"}},
    {"idempotency_key": ""},
    {"idempotency_key": "a\nb"},
    {"content": 3},
    {"json": 1, "content": b"1"},
    {"params": {"a": math.nan}},
    {"params": "a=b"},
    {"headers": [("a", "b")]},
    {"headers": {"Content-Length": "1"}, "json": {"a": 1}},
    {"headers": {"Transfer-Encoding": "chunked"}},
    {"content": b"x", "content_type": "a\nb"},
    {"retry": 3},
]


@FACES
@VERBS
@pytest.mark.parametrize("options", OPTIONS, ids=told)
async def test_an_option_that_makes_no_sense_is_refused_by_every_verb(
    blocking: bool, verb: str, options: dict[str, Any]
) -> None:
    async with api(blocking) as client, refuses(client):
        await value(getattr(client, verb)("/x", **options))


@pytest.mark.parametrize("options", OPTIONS, ids=told)
async def test_so_it_is_by_a_stream(options: dict[str, Any]) -> None:
    async with api(False) as client, refuses(client), client.stream("POST", "/x", **options):
        raise AssertionError("it must not open")


@FACES
@EACH_SECONDS
async def test_a_time_that_is_none_is_refused_wherever_one_is_taken(blocking: bool, seconds: Any) -> None:
    async with playcall(blocking) as client:
        takers: list[Callable[[], Any]] = [
            lambda: client.with_options(deadline_seconds=seconds),
            lambda: client.runs.wait("r1", timeout_seconds=seconds),
            lambda: client.status.wait_until_ready(seconds),
            lambda: client.events.subscribe("tasks", deadline_seconds=seconds),
            lambda: client.events.on("task.*", print, deadline_seconds=seconds),
            lambda: deadline(seconds).__enter__(),
        ]
        for take in takers:
            async with refuses(client):
                await value(take())


# --- every service ----------------------------------------------------------------------------------------------------

BODY_PARAMETERS = ("spec", "changes", "inputs", "parameters")
WITH_ID = [f"{service}.{method}" for service, method, _ in methods("id")]
WITH_BODY = [f"{service}.{method}.{parameter}" for service, method, parameter in methods(*BODY_PARAMETERS)]
IDS = ["", ".", "..", "a\nb", "\x00", "\x7f", "\ud800", None, 1.5, b"i1", ["i1"]]
CLIMBING = ["../admin", "a/../b", "..\\admin", "./x"]


def test_these_are_methods_of_all_services() -> None:
    assert {name.partition(".")[0] for name in WITH_ID} == set(SERVICES)
    assert len(WITH_ID) > 30
    assert len(WITH_BODY) > 10


@FACES
@pytest.mark.parametrize("method", WITH_ID)
async def test_an_id_that_is_none_is_refused_by_every_method_that_takes_one(blocking: bool, method: str) -> None:
    async with playcall(blocking) as client:
        for wrong in IDS:
            async with refuses(client, (InvalidArgumentError,)):
                await use(client, *method.split("."), id=wrong)


@FACES
@pytest.mark.parametrize("method", WITH_ID)
async def test_an_id_that_climbs_is_refused_by_every_method_that_takes_one(blocking: bool, method: str) -> None:
    async with playcall(blocking) as client:
        for wrong in CLIMBING:
            async with refuses(client, (InvalidArgumentError,)):
                await use(client, *method.split("."), id=wrong)


@FACES
@pytest.mark.parametrize(
    "method",
    WITH_BODY,
)
async def test_a_body_that_is_no_json_is_refused_by_every_method_that_takes_one(blocking: bool, method: str) -> None:
    service, name, parameter = method.split(".")
    async with playcall(blocking) as client:
        for wrong in BODIES.values():
            async with refuses(client, (InvalidArgumentError,)):
                await use(client, service, name, **{parameter: {"a": wrong}})


@FACES
@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../b", "/a", "a//b", "a\n", None, 3], ids=repr)
async def test_a_name_of_a_file_that_climbs_is_refused(blocking: bool, name: Any) -> None:
    async with playcall(blocking) as client:
        async with refuses(client, (InvalidArgumentError,)):
            await value(client.runs.read_artifact("r1", name))
        async with refuses(client, (InvalidArgumentError,)):
            await value(client.runs.download_artifact("r1", name, "/nowhere/a.txt"))


@FACES
@pytest.mark.parametrize(
    "limits",
    [
        {"page_size": 0},
        {"page_size": -1},
        {"max_items": -1},
        {"page_size": math.nan},
        {"max_items": 1.5},
        {"page_size": "10"},
    ],
    ids=told,
)
async def test_a_number_of_items_that_makes_no_sense_is_refused_by_every_list(
    blocking: bool, limits: dict[str, Any]
) -> None:
    async with playcall(blocking) as client:
        for service, method, _ in methods("page_size"):
            async with refuses(client, (InvalidArgumentError,)):
                await use(client, service, method, **limits)


@FACES
@pytest.mark.parametrize(
    "topic", ["", " ", "x" * 101, "\ud800", None, 3, b"tasks", ["tasks"]], ids=lambda topic: repr(topic)[:8]
)
async def test_a_topic_that_is_none_is_refused(blocking: bool, topic: Any) -> None:
    async with playcall(blocking) as client, refuses(client, (InvalidArgumentError,)):
        client.events.subscribe(topic)


@FACES
async def test_ids_of_a_foreign_resource_are_held_to_the_same(blocking: bool) -> None:
    async with api(False) as client:
        service: Any = ResourceService(client, "/things", Reading)
        for wrong in IDS:
            async with refuses(client, (InvalidArgumentError,)):
                await value(service.get(wrong))


@pytest.mark.parametrize(
    "options", [{"errors": [1]}, {"errors": {True: None}}, {"envelope": "x"}, {"envelope": Envelope}], ids=told
)
@pytest.mark.parametrize("kind", [BaseAPIClient, BlockingAPIClient])
def test_what_tells_a_foreign_backend_s_ways_is_checked_when_it_is_given(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        kind("http://backend.test", transport=MockTransport(answer), **options)


def test_so_it_is_for_a_clone_and_for_a_resource() -> None:
    client = BaseAPIClient("http://backend.test", transport=MockTransport(answer))
    wrong: Any = [1]
    for make in (
        lambda: client.with_options(errors=wrong),
        lambda: client.with_options(hooks=None),  # type: ignore[typeddict-item]
        lambda: ResourceService(client, "/things", Reading, errors=wrong),
    ):
        with pytest.raises(ConfigurationError):
            make()
