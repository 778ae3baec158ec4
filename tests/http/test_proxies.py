"""Proxies and certificates: which proxy is used, that everything goes through it, and that its password stays inside."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import trustme

from playcall import AsyncPlaycall, BaseAPIClient, BlockingAPIClient, Playcall, RetryPolicy
from playcall.errors import ConfigurationError, ConnectFailedError, PlaycallError, RealtimeConnectError
from playcall.http.proxies import ProxyAddress, proxy_for
from playcall.testing import MockAnswer
from tests.both_faces import FACES, playcall, using, value
from tests.misbehaving_server import stop_accepting

ONCE = RetryPolicy(attempts=1)

PROXY_VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "url", "used"),
    [
        ({}, "http://backend.test", None),
        ({"http_proxy": "http://p:1"}, "http://backend.test", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "http://backend.test", "http://p:1"),
        ({"http_proxy": "http://p:1"}, "https://backend.test", None),
        ({"https_proxy": "http://p:1"}, "https://backend.test", "http://p:1"),
        ({"all_proxy": "http://p:1"}, "https://backend.test", "http://p:1"),
        ({"https_proxy": "http://a:1", "all_proxy": "http://b:1"}, "https://backend.test", "http://a:1"),
        ({"http_proxy": "p:3128"}, "http://backend.test", "http://p:3128"),
        ({"http_proxy": "http://p:1", "no_proxy": "backend.test"}, "http://backend.test", None),
        ({"http_proxy": "http://p:1", "NO_PROXY": "*"}, "http://backend.test", None),
        ({"http_proxy": "http://p:1", "no_proxy": ".test"}, "http://backend.test", None),
        ({"http_proxy": "http://p:1", "no_proxy": "other.test"}, "http://backend.test", "http://p:1"),
        ({"http_proxy": "http://p:1"}, "http://localhost:8000", None),
        ({"http_proxy": "http://p:1"}, "http://127.0.0.1:8000", None),
        ({"http_proxy": "http://p:1"}, "http://[::1]:8000", None),
        ({"http_proxy": ""}, "http://backend.test", None),
        ({"http_proxy": "http://p:1", "no_proxy": "backend.test:8080"}, "http://backend.test:8080/x", None),
        ({"http_proxy": "http://p:1", "no_proxy": "backend.test:80"}, "http://backend.test", None),
        ({"http_proxy": "http://p:1", "no_proxy": "backend.test:8080"}, "http://backend.test", "http://p:1"),
        ({"http_proxy": "http://p:1", "no_proxy": "2001:db8::1"}, "http://[2001:db8::1]:8000", None),
    ],
)
def test_the_environment_names_the_proxy_as_for_other_tools(
    environment: pytest.MonkeyPatch, variables: dict[str, str], url: str, used: str | None
) -> None:
    for name, text in variables.items():
        environment.setenv(name, text)
    found = proxy_for(url, "environment")
    assert (None if found is None else found.url) == used
    assert proxy_for(url, None) is None


def test_a_given_proxy_wins_and_keeps_its_credentials_apart() -> None:
    given = proxy_for("http://127.0.0.1", "http://us%40er:p%3Aw@[::2]:3128")
    basic = base64.b64encode(b"us@er:p:w").decode()
    assert given == ProxyAddress("http://[::2]:3128", f"Basic {basic}")
    assert basic not in repr(given)
    assert proxy_for("http://b", "https://p") == ProxyAddress("https://p")


@pytest.mark.parametrize("wrong", ["", "p:3128", "socks5://u:s3cr3t@p:1", "http://", "http://u:s3cr3t@p:x", 3])
def test_a_proxy_that_is_none_is_refused_without_its_text(wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        BaseAPIClient("http://b", proxy=wrong)
    assert "s3cr3t" not in str(caught.value)


class ForwardProxy:
    """A small HTTP proxy: forwards requests for `http://`, and tunnels by CONNECT."""

    def __init__(self, *, password: str | None = None) -> None:
        self.lines: list[str] = []
        self.carried: list[bytes] = []
        self._password = password
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        await stop_accepting(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n")[0].decode()
            self.lines.append(line)
            wanted = None if self._password is None else base64.b64encode(f"user:{self._password}".encode())
            if wanted is not None and b"Proxy-Authorization: Basic " + wanted not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            method, target, _ = line.split(" ")
            host, _, rest = target.removeprefix("http://").partition("/")
            name, _, port = host.partition(":")
            if name == "backend.test":
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            other_reader, other_writer = await asyncio.open_connection(name, int(port))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                other_writer.write(head.replace(target.encode(), b"/" + rest.encode(), 1))
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, other_writer))
                pumps.create_task(self._pump(other_reader, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            self.carried.append(data)
            sink.write(data)
            await sink.drain()
        sink.close()


async def tls_server(stack: AsyncExitStack, context: ssl.SSLContext) -> str:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n42")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    stack.push_async_callback(server.wait_closed)
    stack.callback(server.close)
    return f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def got(blocking: bool, client: Any, *args: Any, **options: Any) -> Any:
    return await (asyncio.to_thread(client.get, *args, **options) if blocking else client.get(*args, **options))


@FACES
async def test_requests_go_through_the_proxy_with_its_password(
    blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.misbehaving_server import MisbehavingServer, ok

    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    async with ForwardProxy(password="s3cr3t") as proxy, MisbehavingServer(lambda r: ok({"n": r.number})) as server:
        through = f"http://user:s3cr3t@127.0.0.1:{proxy.port}"
        async with using(kind(server.url, proxy=through)) as client:
            assert await got(blocking, client, "/x") == {"n": 1}
            said.append(repr(client))
        assert proxy.lines == [f"GET {server.url}/x HTTP/1.1"]
        async with using(kind(server.url, proxy=f"http://user:s3cr3t-wrong@127.0.0.1:{proxy.port}")) as client:
            with pytest.raises(PlaycallError) as caught:
                await got(blocking, client, "/x", retry=ONCE)
            said += [str(caught.value), caught.value.explain()]
    async with using(kind("http://backend.test", proxy="http://user:s3cr3t@127.0.0.1:1")) as client:
        with pytest.raises(ConnectFailedError) as failed:
            await got(blocking, client, "/x", retry=ONCE)
        said += [str(failed.value), failed.value.explain()]
        assert not failed.value.may_have_happened
    assert "s3cr3t" not in "\n".join([*said, caplog.text])


@FACES
async def test_https_goes_through_a_tunnel_and_trusts_the_given_authority(blocking: bool, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    async with AsyncExitStack() as stack:
        url = await tls_server(stack, context)
        proxy = await stack.enter_async_context(ForwardProxy())
        async with using(kind(url, ssl_context=trusting)) as client:
            assert await got(blocking, client, "/x") == 42
        async with using(kind(url, ssl_context=trusting, proxy=f"http://127.0.0.1:{proxy.port}")) as client:
            assert await got(blocking, client, "/x") == 42
        assert proxy.lines == [f"CONNECT {url.removeprefix('https://')} HTTP/1.1"]
        assert b"GET /x" not in b"".join(proxy.carried)
        async with using(kind(url)) as client:  # the system does not know this authority
            with pytest.raises(ConnectFailedError, match="certificate was refused"):
                await got(blocking, client, "/x", retry=ONCE)


async def test_events_go_through_the_proxy_too() -> None:
    from playcall import AsyncPlaycall
    from playcall.errors import RealtimeError

    async with ForwardProxy(password="s3cr3t") as proxy:
        through = f"http://user:s3cr3t@127.0.0.1:{proxy.port}"
        async with AsyncPlaycall("http://backend.test:1", proxy=through) as client:
            with pytest.raises((RealtimeError, TimeoutError)):
                async with asyncio.timeout(0.5), client.events.subscribe("runs") as feed:
                    await anext(feed)
    assert proxy.lines
    assert all(line.startswith("GET http://backend.test:1/api/v1/") for line in proxy.lines)


@FACES
async def test_a_proxy_in_the_environment_that_cannot_be_used_is_an_error_only_where_it_would_be(
    environment: pytest.MonkeyPatch, blocking: bool
) -> None:
    environment.setenv("ALL_PROXY", "socks5://u:s3cr3t@p:1")
    kind: Any = Playcall if blocking else AsyncPlaycall
    with pytest.raises(ConfigurationError, match="SOCKS"):
        kind("http://backend.test")
    async with playcall(blocking, lambda request: MockAnswer(json={"status": "ready"})) as client:
        assert (await value(client.status.wait_until_ready(10))).state == "online"
        with pytest.raises(RealtimeConnectError, match="SOCKS") as caught:
            await value(client.events.on("task.*", print))
        assert "s3cr3t" not in caught.value.explain()
