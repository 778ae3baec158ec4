"""The fault proxy on real sockets, seen from plain sockets on both sides."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from playcall.testing.fault_proxy import FaultProxy, Loss, ProxiedRequest

PATIENCE_SECONDS = 10.0
"""How long a test waits for what must come; no test waits this long when things are right."""


class Upstream:
    """A listening socket that hands its connections to the test."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_SECONDS)
        self.accepted: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def accept(self) -> socket.socket:
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE_SECONDS)
        self.accepted.append(connection)
        return connection

    def close(self) -> None:
        for connection in self.accepted:
            connection.close()
        self._listener.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.address) as made:
        yield made


def dial(proxy: FaultProxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS)
    connection.settimeout(PATIENCE_SECONDS)
    return connection


def read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := connection.recv(count - len(data))):
        data += piece
    return data


def read_until_reset(connection: socket.socket) -> bytes:
    """What arrives before the reset; fails if the connection ends in good order."""
    data = b""
    try:
        while piece := connection.recv(65_536):
            data += piece
    except ConnectionResetError:
        return data
    raise AssertionError(f"an orderly end after {data!r}")


def eventually(proxy: FaultProxy, open_connections: int) -> None:
    """Waits for the proxy to have noticed what the test's own sockets did."""
    done = threading.Event()
    for _ in range(1000):
        if proxy.connections == open_connections:
            return
        done.wait(0.01)
    raise AssertionError(f"{proxy.connections} connections are open, not {open_connections}")


def test_bytes_pass_both_ways_and_are_counted(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        client.sendall(b"question")
        assert read(server, 8) == b"question"
        server.sendall(b"answer")
        assert read(client, 6) == b"answer"
        assert (proxy.connections, proxy.bytes_up) == (1, 8)
    assert read(server, 1) == b""
    server.close()
    eventually(proxy, 0)
    assert proxy.bytes_down == 6
    assert proxy.connections_total == 1


def test_a_half_closed_connection_still_carries_the_answer(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        client.sendall(b"all")
        client.shutdown(socket.SHUT_WR)
        assert read(server, 100) == b"all"
        server.sendall(b"still here")
        server.close()
        assert read(client, 100) == b"still here"


def test_more_than_any_buffer_holds_passes_whole(upstream: Upstream, proxy: FaultProxy) -> None:
    data = bytes(range(256)) * 40_000
    with dial(proxy) as client:
        server = upstream.accept()
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read(server, len(data) + 1) == data
        sender.join()


def test_cut_resets_both_sides_and_serves_the_next(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as first:
        server = upstream.accept()
        first.sendall(b"x")
        assert read(server, 1) == b"x"
        assert proxy.cut() == 1
        assert proxy.connections == 0
        assert read_until_reset(first) == b""
        assert read_until_reset(server) == b""
    with dial(proxy) as second:
        server = upstream.accept()
        second.sendall(b"y")
        assert read(server, 1) == b"y"


def test_cut_resets_a_connection_that_was_taken_this_instant(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as client:
        while not proxy.connections:
            pass
        proxy.cut()
        assert read_until_reset(client) == b""


@pytest.mark.parametrize(("direction", "spoken"), [("up", "client"), ("down", "server"), ("both", "server")])
def test_cut_after_lets_exactly_so_many_bytes_through(
    upstream: Upstream, proxy: FaultProxy, direction: str, spoken: str
) -> None:
    proxy.cut_after(5, direction=direction)  # type: ignore[arg-type]
    with dial(proxy) as client:
        server = upstream.accept()
        speaker, listener = (client, server) if spoken == "client" else (server, client)
        speaker.sendall(b"0123456789")
        assert read_until_reset(listener) == b"01234"
    with dial(proxy) as client:  # once, unless told otherwise
        server = upstream.accept()
        server.sendall(b"0123456789")
        assert read(client, 10) == b"0123456789"


def test_cut_after_counts_one_direction_only(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        proxy.cut_after(3, direction="down")
        client.sendall(b"0123456789")
        assert read(server, 10) == b"0123456789"
        server.sendall(b"ab")
        assert read(client, 2) == b"ab"
        server.sendall(b"cd")
        assert read_until_reset(client) == b"c"


def test_cut_after_may_happen_to_every_connection_until_healed(upstream: Upstream, proxy: FaultProxy) -> None:
    proxy.cut_after(1, times=None)
    for _ in range(3):
        with dial(proxy) as client:
            upstream.accept().sendall(b"ab")
            assert read_until_reset(client) == b"a"
    proxy.heal()
    with dial(proxy) as client:
        upstream.accept().sendall(b"ab")
        assert read(client, 2) == b"ab"


def test_a_healed_connection_is_not_cut(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        proxy.cut_after(5)
        server.sendall(b"abc")
        assert read(client, 3) == b"abc"
        proxy.heal()
        server.sendall(b"defghi")
        assert read(client, 6) == b"defghi"


def test_half_open_delivers_nothing_and_closes_nothing_until_healed(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        client.sendall(b"before")
        assert read(server, 6) == b"before"
        proxy.half_open()
        client.sendall(b"lost?")
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.recv(1)
        assert proxy.connections == 1
        proxy.heal()
        server.settimeout(PATIENCE_SECONDS)
        assert read(server, 5) == b"lost?"


def test_refuse_refuses_and_heal_listens_on_the_same_port(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        port = proxy.port
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        client.sendall(b"open ones go on")
        assert read(server, 15) == b"open ones go on"
        proxy.heal()
        assert proxy.port == port
        with dial(proxy):
            upstream.accept()


def test_delay_makes_each_piece_wait(upstream: Upstream, proxy: FaultProxy) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        proxy.delay(0.2)
        client.sendall(b"late")
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.recv(1)
        server.settimeout(PATIENCE_SECONDS)
        assert read(server, 4) == b"late"


# --- lost answers ---------------------------------------------------------------------------------------------------------

GET = b"GET /things HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /things?a=b HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nContent-Length: 4\r\n\r\nbody"
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"


def exchange(client: socket.socket, server: socket.socket, request: bytes = POST) -> None:
    """One that succeeds."""
    client.sendall(request)
    assert read(server, len(request)) == request
    server.sendall(ANSWER)
    assert read(client, len(ANSWER)) == ANSWER


def test_an_answer_lost_before_leaves_the_upstream_without_the_request(upstream: Upstream, proxy: FaultProxy) -> None:
    proxy.lose_answers(when="before")
    with dial(proxy) as client:
        server = upstream.accept()
        client.sendall(POST)
        assert read_until_reset(client) == b""
        assert read_until_reset(server) == b""
        assert (proxy.answers_lost, proxy.bytes_up) == (1, 0)


def test_an_answer_lost_after_leaves_the_upstream_with_the_whole_request(upstream: Upstream, proxy: FaultProxy) -> None:
    proxy.lose_answers(when="after")
    with dial(proxy) as client:
        server = upstream.accept()
        client.sendall(POST)
        assert read(server, len(POST)) == POST
        assert (proxy.connections, proxy.answers_lost) == (1, 0)
        server.sendall(ANSWER)
        assert read_until_reset(client) == b""
        assert read_until_reset(server) == b""
        assert (proxy.answers_lost, proxy.bytes_down) == (1, 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_so_many_answers_are_lost_as_were_asked_for_whatever_connection_they_come_on(
    upstream: Upstream, proxy: FaultProxy, when: Loss
) -> None:
    proxy.lose_answers(2, when=when)
    for _ in range(2):
        with dial(proxy) as client:
            server = upstream.accept()
            client.sendall(GET)
            if when == "after":
                assert read(server, len(GET)) == GET
                server.sendall(ANSWER)
            assert read_until_reset(client) == b""
    with dial(proxy) as client:
        server = upstream.accept()
        for _ in range(3):
            exchange(client, server)
    assert proxy.answers_lost == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_later_request_on_an_open_connection_is_met(upstream: Upstream, proxy: FaultProxy, when: Loss) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        exchange(client, server)
        exchange(client, server, GET)
        proxy.lose_answers(when=when)
        client.sendall(POST)
        if when == "after":
            assert read(server, len(POST)) == POST
            server.sendall(ANSWER)
        assert read_until_reset(client) == b""
        assert read_until_reset(server) == b""


def test_a_request_that_began_before_the_fault_is_answered_and_the_next_is_not(
    upstream: Upstream, proxy: FaultProxy
) -> None:
    with dial(proxy) as client:
        server = upstream.accept()
        client.sendall(POST[:-2])
        assert read(server, len(POST) - 2) == POST[:-2]
        proxy.lose_answers(when="before")
        client.sendall(POST[-2:])
        assert read(server, 2) == POST[-2:]
        server.sendall(ANSWER)
        assert read(client, len(ANSWER)) == ANSWER
        client.sendall(POST)
        assert read_until_reset(client) == b""
        assert read_until_reset(server) == b""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_body_of_many_pieces_is_taken_whole_before_its_answer_is_lost(
    upstream: Upstream, proxy: FaultProxy, when: Loss
) -> None:
    body = bytes(range(256)) * 20_000
    request = b"PUT /big HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    proxy.lose_answers(when=when)
    with dial(proxy) as client:
        server = upstream.accept()
        sender = threading.Thread(target=client.sendall, args=(request[:-1],))
        sender.start()
        if when == "after":
            assert read(server, len(request) - 1) == request[:-1]
        sender.join()
        assert (proxy.connections, proxy.answers_lost) == (1, 0)
        client.sendall(request[-1:])
        if when == "after":
            assert read(server, 1) == request[-1:]
            server.sendall(ANSWER)
        assert read_until_reset(client) == b""
        assert read_until_reset(server) == b""


def test_what_the_upstream_says_before_it_has_the_request_is_not_the_answer(
    upstream: Upstream, proxy: FaultProxy
) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    with dial(proxy) as client:
        server = upstream.accept()
        exchange(client, server)
        proxy.lose_answers(when="after")
        client.sendall(POST[:-2])
        assert read(server, len(POST) - 2) == POST[:-2]
        server.sendall(early)
        assert read(client, len(early)) == early
        client.sendall(POST[-2:])
        assert read(server, 2) == POST[-2:]
        server.sendall(ANSWER)
        assert read_until_reset(client) == b""


def test_an_answer_that_comes_before_the_body_is_whole_is_lost_too(upstream: Upstream, proxy: FaultProxy) -> None:
    proxy.lose_answers(when="after")
    with dial(proxy) as client:
        server = upstream.accept()
        client.sendall(POST[:-2])
        assert read(server, len(POST) - 2) == POST[:-2]
        server.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        assert read_until_reset(client) == b""
        assert proxy.answers_lost == 1


def test_a_function_decides_by_method_path_and_headers(upstream: Upstream, proxy: FaultProxy) -> None:
    seen: list[tuple[str, str, str | None]] = []

    def decide(request: ProxiedRequest) -> Loss | None:
        seen.append((request.method, request.path, request.headers.get("idempotency-key")))
        return "before" if request.method == "POST" else None

    proxy.lose_answers_by(decide)
    with dial(proxy) as client:
        server = upstream.accept()
        exchange(client, server, GET)
        client.sendall(POST)
        assert read_until_reset(client) == b""
    assert seen == [("GET", "/things", None), ("POST", "/things?a=b", "k")]


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", id="upgrade"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"\x16\x03\x01\x00\xa5\r\n\r\n", id="TLS"),
        pytest.param(b"hello\r\n", id="no HTTP"),
    ],
)
def test_what_cannot_be_read_passes_untouched(upstream: Upstream, proxy: FaultProxy, opening: bytes) -> None:
    proxy.lose_answers(9, when="before")
    with dial(proxy) as client:
        server = upstream.accept()
        exchange(client, server, opening)
        exchange(client, server)
    assert proxy.answers_lost == 0


def test_heal_lets_an_answer_through_that_was_to_be_lost(upstream: Upstream, proxy: FaultProxy) -> None:
    proxy.lose_answers(9, when="after")
    with dial(proxy) as client:
        server = upstream.accept()
        client.sendall(POST)
        assert read(server, len(POST)) == POST
        proxy.heal()
        server.sendall(ANSWER)
        assert read(client, len(ANSWER)) == ANSWER
        exchange(client, server)
    assert proxy.answers_lost == 0


@pytest.mark.parametrize(
    ("decide", "raised"), [(lambda request: request.headers["X-Missing"], KeyError), (lambda request: True, ValueError)]
)
def test_a_function_that_fails_is_heard_of_when_the_proxy_is_closed(
    upstream: Upstream, decide: Callable[[ProxiedRequest], Loss | None], raised: type[Exception]
) -> None:
    with pytest.raises(raised), FaultProxy(upstream.address) as proxy:  # noqa: PT012 - the end of the block raises
        proxy.lose_answers_by(decide)
        with dial(proxy) as client:
            upstream.accept()
            client.sendall(GET)
            assert read_until_reset(client) == b""
        assert proxy.answers_lost == 0
    proxy.close()


# --- its life -------------------------------------------------------------------------------------------------------------


def test_a_dead_upstream_resets_the_client_and_one_that_comes_later_is_used(proxy: FaultProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with FaultProxy(address) as lonely:
        with dial(lonely) as client:
            assert read_until_reset(client) == b""
        with socket.create_server(address, reuse_port=False) as back, dial(lonely) as client:
            server, _ = back.accept()
            with server:
                client.sendall(b"hello")
                assert read(server, 5) == b"hello"


def test_closing_resets_what_is_open_and_leaves_no_thread(upstream: Upstream) -> None:
    proxy = FaultProxy(upstream.address).start()
    client = dial(proxy)
    upstream.accept()
    proxy.close()
    assert read_until_reset(client) == b""
    client.close()
    assert "playcall-fault-proxy" not in {thread.name for thread in threading.enumerate()}
    proxy.close()
    with pytest.raises(RuntimeError, match="closed"):
        proxy.cut()


async def test_an_event_loop_can_use_it_while_it_serves_that_loop(upstream: Upstream) -> None:
    with FaultProxy(upstream.address) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        server = upstream.accept()
        server.sendall(b"a")
        assert await reader.readexactly(1) == b"a"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()


@pytest.mark.parametrize("upstream_address", ["127.0.0.1", "http://127.0.0.1", "127.0.0.1:port", ""])
def test_an_upstream_without_a_port_is_refused_at_once(upstream_address: str) -> None:
    with pytest.raises(ValueError, match="host and port"):
        FaultProxy(upstream_address)


def test_the_url_keeps_the_upstreams_scheme() -> None:
    with FaultProxy("https://localhost:9") as proxy:
        assert proxy.url == f"https://127.0.0.1:{proxy.port}"


def test_it_says_that_it_must_be_started_first_and_only_once(upstream: Upstream) -> None:
    proxy = FaultProxy(upstream.address)
    with pytest.raises(RuntimeError, match="not started"):
        _ = proxy.url
    proxy.close()
    with proxy, pytest.raises(RuntimeError, match="started before"):
        proxy.start()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p: p.delay(-1),
        lambda p: p.delay(float("inf")),
        lambda p: p.cut_after(-1),
        lambda p: p.cut_after(1, times=0),
        lambda p: p.lose_answers(0),
        lambda p: p.lose_answers(1, when="never"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(proxy: FaultProxy, wrong: object) -> None:
    with pytest.raises(ValueError, match="or more"):
        wrong(proxy)  # type: ignore[operator]


def test_it_shows_what_it_stands_before() -> None:
    assert repr(FaultProxy(("::1", 8000))) == "FaultProxy(::1:8000)"
