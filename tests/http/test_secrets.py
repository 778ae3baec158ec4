"""No secret in any log, repr, exception or picture: every kind of credentials, every way to fail, at DEBUG."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import pytest

from playcall import ApiKey, BaseAPIClient, BearerToken, OAuth2Password, RetryPolicy
from playcall.errors import PlaycallError, RequestError
from tests.both_faces import FACES, using
from tests.misbehaving_server import Act, MisbehavingServer, Request, answer, close, half, ok, raw, redirect, silence

SECRETS = [
    "s3cr3t-key",
    "s3cr3t-token",
    "s3cr3t-fresh",
    "s3cr3t-password",
    "s3cr3t-access",
    "s3cr3t-refresh",
    "s3cr3t-body",
]

BODY = SECRETS[-1]


async def fresh() -> str:
    return "s3cr3t-fresh"


KINDS: dict[str, Any] = {
    "api key": lambda: ApiKey("s3cr3t-key"),
    "bearer token": lambda: BearerToken("s3cr3t-token"),
    "sync provider": lambda: BearerToken(lambda: "s3cr3t-token"),
    "async provider": lambda: BearerToken(fresh, lifetime_seconds=60),
    "password": lambda: OAuth2Password("me", "s3cr3t-password"),
}

TROUBLE: dict[str, Act] = {
    "/ok": ok({"a": 1}),
    "/401": ok({"detail": "no"}, 401),
    "/403": answer(403, b"<html>"),
    "/404": ok({"detail": "none"}, 404),
    "/422": ok({"detail": [{"loc": ["body", "password"], "msg": "wrong", "type": "x", "input": "s3cr3t-body"}]}, 422),
    "/500": answer(500, b"oops"),
    "/close": close(),
    "/half": half(),
    "/garbage": raw(b"\x00garbage\r\n\r\n"),
    "/silence": silence(),
    "/moved": redirect("/ok"),
    "/circle": redirect("/circle"),
    "/elsewhere": redirect("http://127.0.0.1:1/x?key=nothing"),
}


def script(request: Request) -> Act:
    path = request.target.partition("?")[0]
    if path == "/auth/token":
        form = dict(parse_qsl(request.body.decode()))
        assert form.get("password", "s3cr3t-password") == "s3cr3t-password"
        return ok({"access_token": "s3cr3t-access", "expires_in": 900, "refresh_token": "s3cr3t-refresh"})
    return TROUBLE[path]


@FACES
@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_anywhere(blocking: bool, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    from playcall import BlockingAPIClient

    said: list[str] = []
    carried = 0
    caplog.set_level(logging.DEBUG)
    async with MisbehavingServer(script) as server:
        auth = KINDS[kind]()
        face: Any = BlockingAPIClient if blocking else BaseAPIClient
        made = face(server.url, auth=auth, retry=RetryPolicy(attempts=2, initial_seconds=0, budget=None))
        async with using(made) as client:
            client.status.subscribe(lambda picture: said.append(repr(picture)))
            for path in TROUBLE:
                try:
                    # A blocking call would hold up the loop that serves it.
                    made_call = partial(
                        client.post, path, json={"password": BODY}, params={"q": BODY}, deadline_seconds=0.5
                    )
                    await (asyncio.to_thread(made_call) if blocking else made_call())
                except PlaycallError as error:
                    said += [repr(error), str(error), error.explain(), repr(pickle.loads(pickle.dumps(error)))]
                    said.append("".join(traceback.format_exception(error)))
                    if isinstance(error, RequestError):
                        said += [repr(error.timeline), repr(error.__dict__)]
            said += [repr(client), repr(client.status.current), repr(auth), repr(client.engine.authenticator)]
            said += [repr(await made.authenticator.credentials()) if not blocking else ""]
        for request in server.requests:
            carried += any(secret in str(dict(request.headers)) for secret in SECRETS)
        assert carried >= len(TROUBLE) - 1, "the secrets must really have been in use"
    for record in caplog.records:
        said += [record.getMessage(), repr(record.__dict__)]
    everything = "\n".join([*said, caplog.text])
    for secret in SECRETS:
        assert secret not in everything, secret
    assert "retry" not in everything or "give up" in everything
    assert len(said) > 50
