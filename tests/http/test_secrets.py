"""No secret in any URL, log, repr, error or picture, nor at another origin: every kind of credentials, every way to fail.

The root logger is at DEBUG, and asyncio, in debug mode, tells of every callback as if it were slow.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import pytest

from playcall import ApiKey, BaseAPIClient, BearerToken, BlockingAPIClient, OAuth2Password, RetryPolicy
from playcall.errors import AuthenticationError, CredentialsError, PlaycallError, RequestError
from playcall.http.auth import Credentials
from playcall.loop_thread import LoopThread
from tests.both_faces import FACES, using
from tests.misbehaving_server import (
    Act,
    MisbehavingServer,
    Request,
    answer,
    close,
    half,
    head,
    ok,
    raw,
    redirect,
    silence,
)
from tests.realtime.scripted_server import ScriptedServer, refuse
from tests.services.websocket_faces import AsyncFace, BlockingFace

MARK = "s3cr3t"
BODY = "s3cr3t-body"
LOGIN = {"access_token": "s3cr3t-access", "expires_in": 900, "refresh_token": "s3cr3t-refresh"}
PROBLEM = {"detail": [{"loc": ["body", "password"], "msg": "wrong", "type": "x", "input": "s3cr3t-input"}]}


async def fresh() -> str:
    return "s3cr3t-fresh"


def numbered(numbers: Iterator[int]) -> str:
    return f"s3cr3t-{next(numbers)}"


def failing() -> str:
    raise OSError("no entry for s3cr3t-user in the vault s3cr3t-vault")


class OwnScheme:
    """A scheme of somebody's own: a header of its own name, a token for realtime, all of it renewed each time."""

    async def fetch(self, previous: Credentials | None, token_endpoint: object) -> Credentials:
        return Credentials({"X-Own-Scheme": "s3cr3t-own"}, "s3cr3t-own-token", None, "s3cr3t-own-refresh")


KINDS: dict[str, Callable[[], Any]] = {
    "api key": lambda: ApiKey("s3cr3t-key"),
    "api key in its own header": lambda: ApiKey("s3cr3t-key", header="X-Shop-Key"),
    "bearer token": lambda: BearerToken("s3cr3t-token"),
    "sync provider": lambda: BearerToken(partial(numbered, iter(range(1000)))),
    "async provider": lambda: BearerToken(fresh, lifetime_seconds=60),
    "password": lambda: OAuth2Password("me", "s3cr3t-password"),
    "password, refreshed each time": lambda: OAuth2Password("me", "s3cr3t-password", token_path="/auth/short"),
    "own scheme": OwnScheme,
}
FAILING: dict[str, Callable[[], Any]] = {
    "wrong password": lambda: OAuth2Password("me", "s3cr3t-password", token_path="/auth/wrong"),
    "password that is no password": lambda: OAuth2Password("me", "s3cr3t-password", token_path="/auth/invalid"),
    "token that does not fit": lambda: OAuth2Password("me", "s3cr3t-password", token_path="/auth/unfit"),
    "provider that raises": lambda: BearerToken(failing),
    "token that is no line": lambda: BearerToken(lambda: "s3cr3t\nline"),
}

TROUBLE: dict[str, Act] = {
    "/ok": ok({"a": 1}),
    "/unfit": ok({"token": "s3cr3t-answer"}),
    "/no-json": answer(200, b"s3cr3t-answer"),
    "/401": ok({"detail": "no"}, 401),
    "/403": answer(403, b"<html>s3cr3t-answer"),
    "/404": ok({"detail": "none"}, 404),
    "/422": ok(PROBLEM, 422),
    "/500": answer(500, b"oops s3cr3t-answer"),
    "/close": close(),
    "/half": half(b'{"token": "s3cr3t-answer"}'),
    "/garbage": raw(b"\x00garbage\r\ns3cr3t-answer\r\n\r\n"),
    "/silence": silence(),
    "/moved": redirect("/ok"),
    "/circle": redirect("/circle"),
    "/elsewhere": redirect("http://127.0.0.1:1/s3cr3t-path?key=s3cr3t-query"),
    "/elsewhere-with-password": redirect("http://me:s3cr3t-userinfo@127.0.0.1:1/"),
    "/nowhere": redirect("http://[s3cr3t-host/"),
}
LOGINS: dict[str, Act] = {
    "/auth/token": ok(LOGIN),
    "/auth/short": ok({**LOGIN, "expires_in": 0}),
    "/auth/wrong": ok({"detail": "wrong"}, 401),
    "/auth/invalid": ok(PROBLEM, 422),
    "/auth/unfit": ok({"access_token": ["s3cr3t-access"]}),
}


def script(request: Request) -> Act:
    path = request.target.partition("?")[0]
    if path in LOGINS:
        form = dict(parse_qsl(request.body.decode()))
        assert form.get("password", "s3cr3t-password") == "s3cr3t-password"
        assert form.get("refresh_token", "s3cr3t-refresh") == "s3cr3t-refresh"
        return LOGINS[path]
    return TROUBLE[path]


# --- what is said -----------------------------------------------------------------------------------------------------


class Said:
    """All that could be read by somebody who may not know the secrets."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self.texts: list[str] = []
        self._caplog = caplog
        self._capfd = capfd

    def error(self, error: PlaycallError) -> None:
        self.texts += [repr(error), str(error), error.explain(), repr(pickle.loads(pickle.dumps(error)))]
        self.texts.append("".join(traceback.format_exception(error)))
        if isinstance(error, RequestError):
            self.texts += [repr(error.timeline), repr({k: v for k, v in vars(error).items() if k != "problem"})]

    def reprs(self, *things: object) -> None:
        self.texts += [repr(thing) for thing in things]

    def everything(self, *, but: str) -> str:
        for record in self._caplog.records:
            if record.name != but:
                self.texts += [record.getMessage(), record.exc_text or "", repr(record.__dict__)]
        printed = self._capfd.readouterr()
        return "\n".join([*self.texts, printed.out, printed.err])

    def check(self, *, but: str = "") -> None:
        """`but` is a logger that may tell."""
        everything = self.everything(but=but)
        at = everything.find(MARK)
        assert at < 0, everything[max(0, at - 300) : at + 100]
        assert len(self.texts) > 20, "it must not be silence that keeps the secrets"


@pytest.fixture
async def said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> AsyncIterator[Said]:
    caplog.set_level(logging.DEBUG)

    def debug(on: bool) -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(on)
        loop.slow_callback_duration = 0.0 if on else 0.1

    async def debug_there(on: bool) -> None:
        debug(on)

    debug(True)
    await asyncio.to_thread(LoopThread.shared().call, debug_there, True)
    try:
        yield Said(caplog, capfd)
    finally:
        debug(False)
        await asyncio.to_thread(LoopThread.shared().call, debug_there, False)


async def called(client: Any, blocking: bool, verb: str, path: str, **options: Any) -> Any:
    """On a thread, where it blocks: a blocking call would hold up the loop that serves it."""
    call = partial(getattr(client, verb), path, **options)
    return await (asyncio.to_thread(call) if blocking else call())


def api(blocking: bool, url: str, auth: Any, **options: Any) -> Any:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    return using(kind(url, auth=auth, retry=RetryPolicy(attempts=2, initial_seconds=0, budget=None), **options))


@FACES
@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_is_told_whatever_goes_wrong(blocking: bool, kind: str, said: Said) -> None:
    auth = KINDS[kind]()
    async with MisbehavingServer(script) as server, api(blocking, server.url, auth) as client:
        client.status.subscribe(said.reprs)
        for path in TROUBLE:
            options: dict[str, Any] = {"json": {"password": BODY}, "params": {"q": BODY}, "deadline_seconds": 0.25}
            for verb in ("post", "get"):
                with suppress(AssertionError):
                    try:
                        await called(client, blocking, verb, path, into=int, **options)
                        raise AssertionError
                    except PlaycallError as error:
                        said.error(error)
        said.reprs(
            client, client.engine, client.status.current, auth, client.engine.authenticator, client.engine.limiter
        )
        said.reprs(await client.engine.authenticator.credentials())
        carried = [request for request in server.requests if MARK in str(dict(request.headers))]
        assert len(carried) >= len(TROUBLE) - 1, "the secrets must really have been in use"
        refreshes = [request for request in server.requests if b"grant_type=refresh" in request.body]
        assert (len(refreshes) > 10) is (kind == "password, refreshed each time")
        assert {request.target.replace(BODY, "") for request in server.requests} <= {
            *LOGINS,
            *(f"{path}?q=" for path in TROUBLE),
            *("/ok", "/circle"),  # a redirect goes without the query of what it came from
        }
    said.check()


@FACES
@pytest.mark.parametrize("kind", FAILING)
async def test_no_secret_is_told_when_credentials_cannot_be_had(blocking: bool, kind: str, said: Said) -> None:
    auth = FAILING[kind]()
    async with MisbehavingServer(script) as server, api(blocking, server.url, auth) as client:
        client.status.subscribe(said.reprs)
        for verb in ("get", "post", "put", "patch", "delete"):
            with pytest.raises(PlaycallError) as caught:
                await called(client, blocking, verb, "/ok")
            said.error(caught.value)
            if kind == "wrong password":
                assert isinstance(caught.value, AuthenticationError)
            elif kind == "provider that raises":
                assert isinstance(caught.value, CredentialsError)
        said.reprs(client, client.status.current, auth, client.engine.authenticator)
        assert all(request.target in LOGINS for request in server.requests)
    if kind != "provider that raises":
        said.check()
        return
    # A provider's own words are for the caller: as the cause in a traceback, and in asyncio's debug mode.
    said.texts = [text for text in said.texts if "Traceback" not in text]
    said.check(but="asyncio")


BAD_HEADERS = {
    "too long": head(200, {"Set-Cookie": f"session=s3cr3t-cookie{'x' * 100_000}", "Content-Length": "0"}),
    "not allowed": b"HTTP/1.1 200 OK\r\nSet-Cookie: s3cr3t-cookie\x00\r\n\r\n",
}


@FACES
@pytest.mark.parametrize("header", BAD_HEADERS)
async def test_a_bad_header_is_not_repeated(blocking: bool, header: str, said: Said) -> None:
    async with (
        MisbehavingServer(lambda request: raw(BAD_HEADERS[header])) as server,
        api(blocking, server.url, None) as client,
    ):
        for _ in range(4):
            with pytest.raises(PlaycallError) as caught:
                await called(client, blocking, "get", "/x")
            said.error(caught.value)
    said.check()


# --- at another origin ------------------------------------------------------------------------------------------------


@FACES
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_reaches_another_origin(blocking: bool, status: int, kind: str) -> None:
    """It asks for credentials there, and gets none; a caller's own header may be a secret too, and stays at home."""
    elsewhere = lambda request: ok({"detail": "who are you?"}, 401)  # noqa: E731
    async with MisbehavingServer(elsewhere) as other:

        def redirecting(request: Request) -> Act:
            return LOGINS.get(request.target) or redirect(f"{other.url}/there", status)

        async with MisbehavingServer(redirecting) as server, api(blocking, server.url, KINDS[kind]()) as client:
            options = {"headers": {"Cookie": "s3cr3t-cookie", "X-Mine": "s3cr3t-mine", "Accept-Language": "eo"}}
            for verb in ("get", "post", "put", "patch", "delete"):
                body = {} if verb == "get" else {"json": {"password": BODY}}
                with pytest.raises(PlaycallError):
                    await called(client, blocking, verb, "/x", **options, **body)
            at_home = [str(dict(request.headers)) for request in server.requests if request.target == "/x"]
            assert all(MARK in headers for headers in at_home)
    assert [request.method for request in other.requests] == ["GET"]
    assert other.requests[0].headers["Accept-Language"] == "eo"
    assert MARK not in str(other.requests)


# --- events -----------------------------------------------------------------------------------------------------------

REALTIME = [kind for kind in KINDS if not kind.startswith("password")]


@FACES
@pytest.mark.parametrize("kind", REALTIME)
async def test_no_secret_is_told_by_the_connection_of_events(blocking: bool, kind: str, said: Said) -> None:
    """Refused once, renewed in band, cut and made again: the secret goes in the header and the `auth` frame alone."""
    with ScriptedServer(token_seconds=0.25) as server:
        server.next(refuse(503, {"Retry-After": "0"}, "busy"))
        face: Any = (BlockingFace if blocking else AsyncFace)(server.url, auth=KINDS[kind]())
        face.client.on_state(said.reprs)
        async with face.subscribe("tasks") as feed:
            said.reprs(feed, face.client, face.client.picture)
            async with asyncio.timeout(10):
                while kind == "sync provider" and not server.sent("auth"):  # the others have no other token to give
                    await asyncio.sleep(0.01)
            server.cut()
            server.append("tasks")
            async for event in feed:
                said.reprs(event)
                break
            said.reprs(*asyncio.all_tasks(), face.client.picture)
        await face.close()
        assert all(MARK in str(headers) for headers in server.upgrades)
        assert MARK not in str([frame for frame in server.frames if frame["op"] != "auth"])
    said.check()


@FACES
@pytest.mark.parametrize("refusal", [401, 403])
@pytest.mark.parametrize("kind", [*REALTIME, "provider that raises"])
async def test_no_secret_is_told_when_events_are_refused(blocking: bool, refusal: int, kind: str, said: Said) -> None:
    with ScriptedServer() as server:
        server.me_status = refusal
        server.next(refuse(refusal), refuse(refusal))
        auth = {**KINDS, **FAILING}[kind]()
        face: Any = (BlockingFace if blocking else AsyncFace)(server.url, auth=auth, deadline_seconds=1)
        face.client.on_state(said.reprs)
        with pytest.raises(PlaycallError) as caught:
            await face.subscribe("tasks").open()
        said.error(caught.value)
        said.reprs(face.client, face.client.picture)
        await face.close()
    said.check(but="asyncio" if kind == "provider that raises" else "")
