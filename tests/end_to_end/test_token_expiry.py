"""64 callers meet an expired token at the real backend: one refresh, whatever becomes of its answer and of who began it.

Each client here has a way of its own to the backend, and logged in when the module began; since then its token expired.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest

from playcall import AsyncPlaycall, OAuth2Password, Playcall
from playcall.http.auth import Auth, Credentials, TokenEndpoint
from playcall.testing import LiveBackend

from .conftest import PASSWORD
from .faces import FACES

TOKEN_SECONDS = 6
"""Long enough that one new token serves all callers on a busy machine; waited for once."""

CALLERS = 64
REFRESH = b"grant_type=refresh_token"


class WithoutExpiry:
    """A password login that does not know how long its tokens live, so that only a 401 tells that one has expired."""

    def __init__(self) -> None:
        self._login = OAuth2Password("admin", PASSWORD)

    async def fetch(self, previous: Credentials | None, token_endpoint: TokenEndpoint) -> Credentials:
        return dataclasses.replace(await self._login.fetch(previous, token_endpoint), expires_at=None)


AUTH: dict[str, Callable[[], Auth]] = {
    "ahead of expiry": lambda: OAuth2Password("admin", PASSWORD),
    "when refused": WithoutExpiry,
}


# --- the way to the backend -------------------------------------------------------------------------------------------


class Forwarder:
    """Forwards TCP and keeps what went through; the answers to refreshes it can hold back, or lose."""

    def __init__(self, port: int) -> None:
        self.answers_may_pass = threading.Event()
        self.answers_may_pass.set()
        self.lose_next = False
        self.lost: list[bytes] = []
        self._upstream = ("127.0.0.1", port)
        self._pairs: list[_Pair] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2 * CALLERS)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._spawn(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for each in (self._listener, *(side for pair in self._pairs for side in (pair.near, pair.far))):
            _shut(each)
            each.close()

    def count(self, text: bytes) -> int:
        """How often this was sent to the backend."""
        return sum(pair.sent.count(text) for pair in self._pairs)

    @property
    def refused(self) -> int:
        """Requests that the backend answered with 401."""
        return sum(pair.answered.count(b"HTTP/1.1 401") for pair in self._pairs)

    @staticmethod
    def _spawn(target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, name="forwarder", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            pair = _Pair(near, socket.create_connection(self._upstream))
            self._pairs.append(pair)
            self._spawn(self._forward, pair, pair.near, pair.far, self._up)
            self._spawn(self._forward, pair, pair.far, pair.near, self._down)

    @staticmethod
    def _forward(
        pair: _Pair, source: socket.socket, target: socket.socket, look: Callable[[_Pair, bytes], None]
    ) -> None:
        try:
            while piece := source.recv(65_536):
                look(pair, piece)
                target.sendall(piece)
        except OSError:
            pass  # one side has reset it, which the other is told now
        _shut(source)
        _shut(target)

    def _up(self, pair: _Pair, piece: bytes) -> None:
        before = pair.sent.count(REFRESH)
        pair.sent += piece
        if pair.sent.count(REFRESH) > before:
            pair.refreshing = True
            pair.doomed, self.lose_next = self.lose_next, False

    def _down(self, pair: _Pair, piece: bytes) -> None:
        pair.answered += piece
        if pair.refreshing:
            self.answers_may_pass.wait(30)
            pair.refreshing = False
        if pair.doomed:
            self.lost.append(piece)
            raise ConnectionAbortedError


@dataclasses.dataclass(slots=True)
class _Pair:
    near: socket.socket
    far: socket.socket
    sent: bytearray = dataclasses.field(default_factory=bytearray)
    answered: bytearray = dataclasses.field(default_factory=bytearray)
    refreshing: bool = False
    doomed: bool = False


def _shut(side: socket.socket) -> None:
    try:
        side.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed, or shut by the other direction


# --- clients whose tokens have expired --------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class Caller:
    client: Any
    way: Forwarder

    @property
    def in_flight(self) -> int:
        return int(self.client._api.engine.limiter.in_flight)

    def run(self, act: Callable[[], Any]) -> None:
        """Does it on the client's own face."""
        if isinstance(self.client, AsyncPlaycall):
            asyncio.run(act())
        else:
            act()


SCENARIOS = ("at once", "lost answer", "cancelled")
Expired = Callable[[str, str, str], Caller]


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Expired]:
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text(PASSWORD)
    options = [f"--admin-password-file={secret}", f"--access-token-seconds={TOKEN_SECONDS}"]
    callers: dict[tuple[str, str, str], Caller] = {}
    with LiveBackend(options=options) as backend:
        port = int(backend.url.rpartition(":")[2])
        for key in [(scenario, face, how) for scenario in SCENARIOS for face in FACES for how in AUTH]:
            way = Forwarder(port)
            kind: Any = Playcall if key[1] == "blocking" else AsyncPlaycall
            callers[key] = Caller(kind(way.url, auth=AUTH[key[2]](), deadline_seconds=30), way)
        try:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda caller: caller.run(caller.client.account.me), callers.values()))
            threading.Event().wait(TOKEN_SECONDS + 0.5)
            yield lambda *key: callers[key]
        finally:
            for caller in callers.values():
                with caller.way:
                    caller.run(caller.client.close)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def everybody(client: Any, callers: int = CALLERS) -> list[str]:
    """The credential that each is known by: tasks of this loop, or threads."""
    if isinstance(client, AsyncPlaycall):
        return [str(me.credential) for me in await asyncio.gather(*(client.account.me() for _ in range(callers)))]
    barrier = threading.Barrier(callers)

    def call() -> str:
        barrier.wait(20)
        return str(client.account.me().credential)

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(callers) as pool:
        return list(await asyncio.gather(*(loop.run_in_executor(pool, call) for _ in range(callers))))


def check_one_login(way: Forwarder, how: str, *, refreshes: int) -> None:
    assert way.count(REFRESH) == refreshes
    assert way.count(b"grant_type=password") == 1
    assert (way.refused > 0) is (how == "when refused")


@pytest.mark.parametrize("how", AUTH)
async def test_64_callers_who_meet_an_expired_token_refresh_it_once(expired: Expired, face: str, how: str) -> None:
    caller = expired("at once", face, how)
    assert await everybody(caller.client) == ["token"] * CALLERS
    check_one_login(caller.way, how, refreshes=1)
    assert caller.in_flight == 0


@pytest.mark.parametrize("how", AUTH)
async def test_a_refresh_whose_answer_is_lost_locks_nobody_out(expired: Expired, face: str, how: str) -> None:
    """The backend has refreshed and nobody has the new tokens: the old refresh token is good for once more."""
    caller = expired("lost answer", face, how)
    caller.way.lose_next = True
    assert await everybody(caller.client) == ["token"] * CALLERS
    [lost] = caller.way.lost
    assert lost.startswith(b"HTTP/1.1 200")
    check_one_login(caller.way, how, refreshes=2)


@pytest.mark.parametrize("how", AUTH)
async def test_cancelling_the_task_that_began_the_refresh_stops_nobody(expired: Expired, how: str) -> None:
    caller = expired("cancelled", "async", how)
    caller.way.answers_may_pass.clear()
    beginner = asyncio.create_task(caller.client.account.me())
    await until(lambda: caller.way.count(REFRESH) == 1)
    others = asyncio.create_task(everybody(caller.client, CALLERS - 1))
    await until(lambda: caller.in_flight == CALLERS)
    beginner.cancel()
    await asyncio.wait([beginner])
    assert beginner.cancelled()
    assert caller.in_flight == CALLERS - 1
    caller.way.answers_may_pass.set()
    assert await others == ["token"] * (CALLERS - 1)
    check_one_login(caller.way, how, refreshes=1)


@pytest.mark.parametrize("how", AUTH)
def test_ctrl_c_in_the_thread_that_began_the_refresh_stops_nobody(expired: Expired, how: str) -> None:
    """A real SIGINT: it reaches the main thread, so that is the one that begins."""
    caller = expired("cancelled", "blocking", how)
    caller.way.answers_may_pass.clear()
    got: list[str] = []

    async def others_then_interrupt() -> None:
        await until(lambda: caller.way.count(REFRESH) == 1)
        others = asyncio.create_task(everybody(caller.client, CALLERS - 1))
        await until(lambda: caller.in_flight == CALLERS)
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: caller.in_flight == CALLERS - 1)
        caller.way.answers_may_pass.set()
        got.extend(await others)

    thread = threading.Thread(target=asyncio.run, args=(others_then_interrupt(),))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        caller.client.account.me()
    thread.join(30)
    assert got == ["token"] * (CALLERS - 1)
    check_one_login(caller.way, how, refreshes=1)
