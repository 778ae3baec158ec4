"""So many requests for each user, and for each address without credentials; who is told to wait comes through."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from playcall import ApiKey
from playcall.server.limits.rate_limit import RateLimit
from playcall.server.problems import ApiError
from playcall.server.settings import Settings

from ..end_to_end.faces import FACES, open_client
from .conftest import Answer, Api, RunningServer

POLICY = re.compile(r'"(user|address)";q=(\d+);w=(\d+)')
LIMIT = re.compile(r'"(user|address)";r=(\d+);t=(\d+)')


@asynccontextmanager
async def a_server(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    with RunningServer(Settings(data_dir=folder, port=0, **settings)) as server:
        async with aiohttp.ClientSession() as session:
            yield Api(server, session, await server.new_user())


def left(answer: Answer) -> tuple[str, int]:
    """Whose bucket it is, and what is left in it."""
    policy, limit = POLICY.fullmatch(answer.headers["RateLimit-Policy"]), LIMIT.fullmatch(answer.headers["RateLimit"])
    assert policy is not None
    assert limit is not None
    assert policy[1] == limit[1]
    return limit[1], int(limit[2])


async def test_the_fields_say_what_is_granted_and_what_is_left() -> None:
    limit = RateLimit(per_second=200, burst=1_000)
    first = dict(await limit.charge("user", "a", patience_seconds=0))
    assert first == {b"ratelimit-policy": b'"user";q=1000;w=5', b"ratelimit": b'"user";r=999;t=1'}
    for _ in range(999):
        await limit.charge("user", "a", patience_seconds=0)
    # The bucket fills while it is emptied, so some more may be let in; not another thousand.
    with pytest.raises(ApiError) as refused:
        await asyncio.gather(*(limit.charge("user", "a", patience_seconds=0) for _ in range(500)))
    assert refused.value.headers == {
        "Retry-After": "1", "RateLimit-Policy": '"user";q=1000;w=5', "RateLimit": '"user";r=0;t=1',
    }  # fmt: skip
    await limit.charge("user", "b", patience_seconds=0)
    await limit.charge("address", "a", patience_seconds=0)


async def test_a_user_has_one_bucket_whatever_the_credentials_and_nobody_elses(tmp_path: Path) -> None:
    async with a_server(tmp_path, requests_per_second=0.01, request_burst=3) as api:
        # So slow that nobody can be made to wait at the door.
        read_only = {"X-API-Key": api.user.read_key}
        assert left(await api("GET", "/auth/me")) == ("user", 2)
        assert left(await api("GET", "/agents", headers=read_only)) == ("user", 1)
        assert left(await api("GET", "/agents/agt_0")) == ("user", 0), "on errors as well"
        for headers in ({}, read_only):
            refused = await api("GET", "/auth/me", headers=headers)
            assert (refused.status, refused.json["code"]) == (429, "rate_limited")
            assert left(refused) == ("user", 0)
            assert 1 <= int(refused.headers["Retry-After"]) <= 100
        assert left(await (await api.other())("GET", "/auth/me")) == ("user", 2)


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": "pk_wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic wrong"}],
    ids=["none", "key", "token", "basic"],
)
async def test_without_good_credentials_the_address_pays(tmp_path: Path, headers: dict[str, str]) -> None:
    async with a_server(tmp_path, requests_per_second=0.01, request_burst=2) as api:
        bad = {"X-API-Key": "", **headers}
        for remaining in (1, 0):
            answer = await api("GET", "/auth/me", headers=bad)
            assert (answer.status, left(answer)) == (401, ("address", remaining))
        refused = await api("GET", "/auth/me", headers=bad)
        assert (refused.status, left(refused)) == (429, ("address", 0))
        form = {"grant_type": "password", "username": "u", "password": "p"}
        sign_in = await api("POST", "/auth/token", data=form)
        assert sign_in.json["code"] == "rate_limited", "a sign-in is anonymous, whatever comes with it"
        assert (await api("GET", "/auth/me")).status == 200, "a user is known by its credentials"
        for path in ("/health", "/ready"):
            assert (await api("GET", path, headers=bad)).status == 200, "a balancer must not take it for an end"


async def test_0_is_no_limit(tmp_path: Path) -> None:
    async with a_server(tmp_path, requests_per_second=0, request_burst=1) as api:
        for _ in range(5):
            answer = await api("GET", "/auth/me")
            assert answer.status == 200
            assert "RateLimit" not in answer.headers


async def create_and_get(client: Any, count: int) -> list[str]:
    async def call(number: int) -> str:
        made = await client.agents.create({"name": f"agent {number}"})
        return str((await client.agents.get(made.id)).name)

    return await asyncio.gather(*(call(number) for number in range(count)))


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(("per_second", "burst"), [(50, 10), (20, 4)], ids=["slowed down", "told to wait"])
async def test_a_client_over_the_limit_completes_all_its_calls_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: str, per_second: float, burst: int
) -> None:
    """Up to thirty at once, of eighty requests. In the second case that is more than can be made to wait at the door."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(40))  # for the blocking face
    refused = 0

    async def counted(self: RateLimit, *given: Any, **options: Any) -> Any:
        nonlocal refused
        try:
            return await charge(self, *given, **options)
        except ApiError:
            refused += 1
            raise

    charge = RateLimit.charge
    monkeypatch.setattr(RateLimit, "charge", counted)
    async with a_server(tmp_path, requests_per_second=per_second, request_burst=burst) as api:
        async with open_client(face, api.server.url, auth=ApiKey(api.user.key), max_concurrency=30) as client:
            began = time.monotonic()
            assert await create_and_get(client, 40) == [f"agent {number}" for number in range(40)]
            took = time.monotonic() - began
        assert took >= (80 - burst) / per_second - 1, "it was limited"
        assert (refused > 0) == (burst == 4)
        while (answer := await api("GET", "/agents")).status == 429:
            await asyncio.sleep(int(answer.headers["Retry-After"]))
        assert len(answer.json["items"]) == 40, "each was made once"
