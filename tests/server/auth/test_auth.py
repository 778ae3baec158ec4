"""Who may do what, and with which credentials."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from playcall.server.auth.tokens import InvalidTokenError, TokenIssuer
from playcall.server.store.tables import SIGNING_KEY

from ..conftest import Answer, Api


async def token(api: Api, **form: str) -> Answer:
    return await api("POST", "/auth/token", headers={"X-API-Key": ""}, data=form)


async def login(api: Api, **form: str) -> dict[str, Any]:
    api.user = await api.server.new_user(password="correct horse")
    answer = await token(api, grant_type="password", username=api.user.name, password="correct horse", **form)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    pair: dict[str, Any] = answer.json
    return pair


async def test_me_says_who_the_credentials_belong_to(api: Api) -> None:
    me = await api.ok("GET", "/auth/me")
    assert (me["id"], me["username"], me["scope"], me["credential"]) == (api.user.id, api.user.name, "full", "api_key")
    bearer = await api.ok("GET", "/auth/me", headers={"X-API-Key": "", "Authorization": f"Bearer {api.user.key}"})
    assert bearer == me


async def test_a_read_only_key_reads_and_changes_nothing(api: Api) -> None:
    api.headers = {"X-API-Key": api.user.read_key}
    assert (await api("GET", "/agents")).status == 200
    answer = await api("POST", "/agents", json={"name": "a"})
    assert (answer.status, answer.json["code"]) == (403, "read_only")


async def test_an_api_key_is_shown_once_works_and_ends_when_it_is_revoked(api: Api) -> None:
    created = await api.ok("POST", "/auth/api-keys", json={"name": "ci", "scope": "read", "expires_in_seconds": 60})
    listed = await api.ok("GET", "/auth/api-keys")
    assert [key["name"] for key in listed["items"]] == ["full", "read", "ci"]
    assert created["secret"] not in str(listed)
    assert created["secret"].startswith(created["hint"])
    headers = {"X-API-Key": created["secret"]}
    assert (await api("GET", "/auth/me", headers=headers)).status == 200
    await api.server.acall(api.server.core.gate.write_down_use())
    used = {key["name"]: key["last_used_at"] for key in (await api.ok("GET", "/auth/api-keys"))["items"]}
    assert used["ci"] is not None
    assert used["read"] is None
    other = await api.other()
    assert (await other("DELETE", f"/auth/api-keys/{created['id']}")).status == 404
    assert (await api("DELETE", f"/auth/api-keys/{created['id']}")).status == 204
    assert (await api("GET", "/auth/me", headers=headers)).status == 401


async def test_a_key_lives_ten_years_at_most_or_for_ever(api: Api) -> None:
    for seconds in (10**9, 10**12, 10**30):
        answer = await api("POST", "/auth/api-keys", json={"name": "long", "expires_in_seconds": seconds})
        assert (answer.status, answer.json["errors"][0]["loc"]) == (422, ["body", "expires_in_seconds"])
    assert (await api.ok("POST", "/auth/api-keys", json={"name": "long"}))["expires_at"] is None


async def test_an_expired_key_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    created = await api.ok("POST", "/auth/api-keys", json={"name": "short", "expires_in_seconds": 1})
    from datetime import timedelta

    from playcall.server import clock

    monkeypatch.setattr("playcall.server.auth.gate.utc_now", lambda: clock.utc_now() + timedelta(seconds=2))
    answer = await api("GET", "/auth/me", headers={"X-API-Key": created["secret"]})
    assert (answer.status, answer.json["detail"]) == (401, "the API key has expired")


async def test_a_password_gives_tokens_that_work(api: Api) -> None:
    pair = await login(api)
    headers = {"X-API-Key": "", "Authorization": f"Bearer {pair['access_token']}"}
    me = await api.ok("GET", "/auth/me", headers=headers)
    assert (me["username"], me["credential"], me["scope"]) == (api.user.name, "token", "full")


@pytest.mark.parametrize("scope", ["READ", "bogus", "read full", " ", "full,read"])
async def test_a_scope_that_nobody_knows_gives_no_tokens(api: Api, scope: str) -> None:
    user = await api.server.new_user(password="correct horse")
    answer = await token(api, grant_type="password", username=user.name, password="correct horse", scope=scope)
    assert (answer.status, answer.json["error"]) == (400, "invalid_scope")


async def test_tokens_may_be_asked_to_read_only(api: Api) -> None:
    pair = await login(api, scope="read")
    headers = {"X-API-Key": "", "Authorization": f"Bearer {pair['access_token']}"}
    assert (await api("POST", "/agents", headers=headers, json={"name": "a"})).status == 403


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"grant_type": "password", "username": "nobody", "password": "x"}, "invalid_grant"),
        ({"grant_type": "password", "username": "nobody"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "rt_wrong"}, "invalid_grant"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
    ],
)
async def test_a_refused_grant_is_a_problem_and_an_oauth2_error(api: Api, form: dict[str, str], code: str) -> None:
    answer = await token(api, **form)
    assert (answer.status, answer.json["code"], answer.json["error"]) == (400, code, code)


async def test_a_wrong_password_and_a_user_without_one_get_the_same_words(api: Api) -> None:
    wrong = await token(api, grant_type="password", username=api.user.name, password="x")
    unknown = await token(api, grant_type="password", username="nobody", password="x")
    assert wrong.json["detail"] == unknown.json["detail"]


async def refresh(api: Api, secret: str) -> Answer:
    return await token(api, grant_type="refresh_token", refresh_token=secret)


async def test_a_refresh_whose_answer_was_lost_locks_nobody_out(api: Api) -> None:
    first = (await login(api))["refresh_token"]
    lost = (await refresh(api, first)).json["refresh_token"]
    again = await refresh(api, first)
    assert again.status == 200
    second = again.json["refresh_token"]
    assert (await refresh(api, second)).status == 200
    assert (await refresh(api, first)).status == 400, "the old one ends when the new one is first used"
    assert (await refresh(api, lost)).status == 400, "and so does the one that never arrived"


async def test_a_token_that_is_not_ours_or_has_expired_is_401(api: Api) -> None:
    forged = jwt.encode({"sub": api.user.id, "iss": "playcall", "exp": 2**31}, "x" * 32, algorithm="HS256")
    answer = await api("GET", "/auth/me", headers={"X-API-Key": "", "Authorization": f"Bearer {forged}"})
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert forged not in str(answer.json)


async def test_a_token_lives_as_long_as_is_said_of_it_to_the_fraction_of_a_second(api: Api) -> None:
    """Of the few seconds that a short one has, a clock of whole seconds would take up to one."""
    first = await login(api)
    before = time.time()
    pair = (await refresh(api, first["refresh_token"])).json
    caller = TokenIssuer(await signing_key(api), access_seconds=1, refresh_seconds=1).read(pair["access_token"])
    assert caller.expires_at is not None
    assert before <= caller.expires_at.timestamp() - pair["expires_in"] <= time.time()


async def signing_key(api: Api) -> str:
    return await api.server.acall(api.server.core.database.meta(SIGNING_KEY))


def test_an_expired_token_says_so() -> None:
    issuer = TokenIssuer("k" * 64, access_seconds=1, refresh_seconds=1)
    old = jwt.encode({"sub": "u", "iss": "playcall", "fam": "f", "exp": 1}, "k" * 64, algorithm="HS256")
    with pytest.raises(InvalidTokenError, match="expired"):
        issuer.read(old)


async def test_nobody_finds_what_belongs_to_another(api: Api) -> None:
    await api.tool()
    agent = await api.agent("Writer", "report")
    other = await api.other()
    assert (await other.ok("GET", "/agents"))["items"] == []
    for method in ("GET", "DELETE", "PATCH"):
        answer = await other(method, f"/agents/{agent['id']}", json={} if method == "PATCH" else None)
        assert (answer.status, answer.json["code"]) == (404, "agent_not_found")
    assert (await other("GET", f"/events?topic=agent:{agent['id']}")).status == 403
    assert await other.events("agents") == []
    assert (await other.agent("Writer"))["name"] == "Writer", "names are taken by owner"
