"""A refresh token that was stolen ends for both who have it, whichever of them is first."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from playcall.server import clock

from ..conftest import Answer, Api
from ..sockets.test_websocket import talking
from .test_auth import login, refresh


async def me(api: Api, pair: Any) -> Answer:
    return await api("GET", "/auth/me", headers={"X-API-Key": "", "Authorization": f"Bearer {pair['access_token']}"})


async def next_pair(api: Api, pair: Any) -> Any:
    answer = await refresh(api, pair["refresh_token"])
    assert answer.status == 200
    return answer.json


async def require_ended(api: Api, *pairs: Any) -> None:
    for pair in pairs:
        answer = await refresh(api, pair["refresh_token"])
        assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
        assert (await me(api, pair)).status == 401


async def nothing(*_: object) -> None:
    pass


async def test_a_token_of_a_machine_whose_clock_is_ahead_is_good_on_the_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as ahead:
        ahead.setattr("playcall.server.auth.tokens.utc_now", lambda: clock.utc_now() + timedelta(seconds=5))
        pair = await login(api)
    assert (await me(api, pair)).status == 200
    assert (await me(api, await next_pair(api, pair))).status == 200


async def test_a_thief_who_is_first_is_found_when_the_owner_comes(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    stolen = await login(api)
    thiefs = await next_pair(api, await next_pair(api, stolen))
    assert (await me(api, thiefs)).status == 200
    with caplog.at_level(logging.WARNING, "playcall.server.auth"):
        assert (await refresh(api, stolen["refresh_token"])).status == 400
    warning = next(record for record in caplog.records if record.message == "refresh_token_reused")
    assert getattr(warning, "user_id", None) == api.user.id
    assert stolen["refresh_token"] not in caplog.text
    await require_ended(api, stolen, thiefs)


async def test_a_thief_who_comes_second_is_found_as_well(api: Api) -> None:
    stolen = await login(api)
    owners = await next_pair(api, await next_pair(api, stolen))
    assert (await refresh(api, stolen["refresh_token"])).status == 400
    await require_ended(api, stolen, owners)


async def test_two_who_took_the_next_one_for_the_same_token_do_not_both_go_on(api: Api) -> None:
    stolen = await login(api)
    thiefs, owners = await next_pair(api, stolen), await next_pair(api, stolen)
    owners_next = await next_pair(api, owners)
    assert (await refresh(api, thiefs["refresh_token"])).status == 400
    await require_ended(api, stolen, thiefs, owners, owners_next)


async def test_a_lost_answer_is_no_theft(api: Api) -> None:
    pair = await login(api)
    for _ in range(3):
        for _ in range(3):
            await next_pair(api, pair)
        pair = await next_pair(api, pair)
    assert (await me(api, pair)).status == 200


async def test_another_sign_in_of_the_same_user_goes_on(api: Api) -> None:
    stolen = await login(api)
    form = {"grant_type": "password", "username": api.user.name, "password": "correct horse"}
    other = (await api("POST", "/auth/token", headers={"X-API-Key": ""}, data=form)).json
    await next_pair(api, await next_pair(api, stolen))
    assert (await refresh(api, stolen["refresh_token"])).status == 400
    assert (await me(api, other)).status == 200
    await next_pair(api, other)


async def test_a_socket_of_the_family_is_closed_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the next look at all sockets comes, as in other processes."""
    monkeypatch.setattr("playcall.server.sockets.registry.Sockets.close_revoked", nothing)
    stolen = await login(api)
    used = await next_pair(api, await next_pair(api, stolen))
    api.headers = {"Authorization": f"Bearer {used['access_token']}"}
    async with talking(api) as talk:
        await refresh(api, stolen["refresh_token"])
        assert await talk.closed() == 4401


async def test_neither_kind_of_token_is_taken_for_the_other(api: Api) -> None:
    pair = await login(api)
    bare = pair["refresh_token"].removeprefix("rt_")
    for token in (pair["refresh_token"], bare):
        assert (await me(api, {"access_token": token})).status == 401
    for token in (pair["access_token"], "rt_" + pair["access_token"]):
        assert (await refresh(api, token)).status == 400
    assert (await me(api, pair)).status == 200
