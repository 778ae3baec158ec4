"""Attempts to connect are limited, for each caller and altogether; who is refused is told when to come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from playcall.server.limits.doorkeeper import Doorkeeper, peer_name
from playcall.server.settings import Settings

from ..conftest import Api, RunningServer
from .test_websocket import open_socket, talking


def test_a_burst_is_let_in_and_then_so_many_a_second() -> None:
    door = Doorkeeper(per_second=20, burst=200)
    assert [door.wait_seconds("u", 0.0) for _ in range(200)] == [0] * 200
    assert door.wait_seconds("u", 0.0) == pytest.approx(0.05)
    for second in range(1, 5):
        waits = [door.wait_seconds("u", float(second)) for _ in range(25)]
        assert waits[:20] == [0] * 20
        assert all(0 < wait <= 0.05 + 1e-9 for wait in waits[20:])


def test_who_comes_back_when_told_is_let_in_however_often_it_asked_before() -> None:
    door = Doorkeeper(per_second=0.5, burst=1)
    assert door.wait_seconds("u", 0.0) == 0
    for now in (0.0, 0.5, 1.0, 1.5):
        assert door.wait_seconds("u", now) == pytest.approx(2.0 - now)
    assert door.wait_seconds("u", 2.0) == 0


def test_who_can_wait_at_the_door_is_let_in_at_the_same_rate() -> None:
    door = Doorkeeper(per_second=10, burst=5)
    admitted = [door.admit("u", 0.0, patience_seconds=1) for _ in range(20)]
    assert [each.is_in for each in admitted] == [True] * 15 + [False] * 5
    assert [each.wait_seconds for each in admitted] == pytest.approx(
        [0] * 5 + [n / 10 for n in range(1, 11)] + [0.1] * 5
    )
    assert door.left("u") == 0
    assert door.admit("u", 0.1, patience_seconds=1).is_in, "who comes back when told"
    assert door.admit("u", 0.1).wait_seconds == pytest.approx(1.1), "without patience, all who wait are first"


def test_a_long_absence_fills_no_more_than_the_burst() -> None:
    door = Doorkeeper(per_second=10, burst=2)
    assert door.wait_seconds("u", 0.0) == 0
    assert [door.wait_seconds("u", 1e6) > 0 for _ in range(3)] == [False, False, True]


def test_callers_do_not_pay_for_each_other() -> None:
    door = Doorkeeper(per_second=1, burst=1)
    assert (door.wait_seconds("a", 0.0), door.wait_seconds("b", 0.0)) == (0, 0)
    assert door.wait_seconds("a", 0.0) > 0


def test_only_so_many_callers_are_remembered_and_the_longest_absent_is_forgotten_first() -> None:
    door = Doorkeeper(per_second=0.001, burst=1, remembered=3)
    for now, who in enumerate("abcab"):
        door.wait_seconds(who, float(now))
    door.wait_seconds("d", 5.0)
    assert len(door) == 3
    assert door.wait_seconds("a", 6.0) > 0
    assert door.wait_seconds("c", 6.0) == 0, "it has been forgotten"
    for number in range(10_000):
        door.wait_seconds(f"n{number}", 7.0)
    assert len(door) == 3


@pytest.mark.parametrize(
    ("one", "other", "are_the_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("a socket", "another", False),
        (None, None, True),
    ],
)
def test_an_address_is_a_peer_and_a_subscribers_block_of_ipv6_is_one(
    one: str | None, other: str | None, are_the_same: bool
) -> None:
    assert (peer_name(one) == peer_name(other)) is are_the_same


# --- on a real socket --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_server(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    with RunningServer(Settings(data_dir=folder, port=0, **settings)) as server:
        async with aiohttp.ClientSession() as session:
            yield Api(server, session, await server.new_user())


async def refusal(api: Api, headers: dict[str, str] | None = None) -> tuple[int, str, int]:
    """Status, code and Retry-After of an upgrade that must not succeed."""
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }  # fmt: skip
    headers = {**(api.headers if headers is None else headers), **upgrade}
    async with api.session.get(f"{api.server.url}/api/v1/ws", headers=headers) as response:
        assert response.headers["Content-Type"] == "application/problem+json"
        problem = await response.json(content_type=None)
        return response.status, problem["code"], int(response.headers.get("Retry-After", "0"))


async def test_a_user_that_connects_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with a_server(tmp_path, connects_per_second=0.01, connect_burst=2) as api:
        for _ in range(2):
            async with talking(api):
                pass
        status, code, retry_after = await refusal(api)
        assert (status, code) == (429, "too_many_connects")
        assert 1 <= retry_after <= 100
        async with talking(await api.other()):
            pass  # nobody else pays for it


async def test_without_good_credentials_the_address_pays(tmp_path: Path) -> None:
    async with a_server(tmp_path, connects_per_second=0.01, connect_burst=2) as api:
        async with open_socket(api, {}):
            pass
        assert (await refusal(api, {"X-API-Key": "pk_wrong"}))[0] == 401
        assert (await refusal(api, {"X-API-Key": "pk_wrong"}))[0] == 429
        assert (await refusal(api, {}))[0] == 429
        async with talking(api):
            pass  # a user is known by its credentials, wherever it comes from


async def test_a_full_server_says_so_until_somebody_goes(tmp_path: Path) -> None:
    async with a_server(tmp_path, max_sockets=2) as api, talking(api):
        async with talking(api):
            assert await refusal(api) == (503, "too_many_sockets", 5)
        while len(api.server.core.sockets) > 1:
            await api.ok("GET", "/auth/me")
        async with talking(api):
            assert (await refusal(api))[0] == 503
