"""Logging in where no standard is followed: what is sent, where the token is found, and what a refusal is."""

from __future__ import annotations

import asyncio
import json
import logging
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from playcall import BaseAPIClient, Envelope, FormLogin, OAuth2Password
from playcall.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidArgumentError,
    NotFoundError,
    PlaycallError,
    ServerError,
    StatusError,
    UnreadableAnswerError,
)
from playcall.http import auth as auth_module
from playcall.http.members import member
from playcall.testing import MockAnswer, MockRequest, MockTransport
from tests.both_faces import FACES, api, value


class Login:
    """A backend with a login: it gives t1, t2 …, takes the last one only, and answers `/me` to who has it."""

    def __init__(self, **replies: Any) -> None:
        self.logins: list[MockRequest] = []
        self.reply = lambda token: MockAnswer(json={"access_token": token})
        self.token = ""
        self.__dict__.update(replies)

    def __call__(self, request: MockRequest) -> MockAnswer:
        if request.path != "/me":
            self.logins.append(request)
            assert "Authorization" not in request.headers
            self.token = f"t{len(self.logins)}"
            return self.reply(self.token)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return MockAnswer(401, json={"detail": "Could not validate credentials"})
        return MockAnswer(json={"ok": True})


@FACES
@pytest.mark.parametrize(
    ("options", "path", "sent"),
    [
        ({}, "/login", {"username": "ann", "password": "p w&d"}),
        ({"path": "/users/login/"}, "/users/login/", {"username": "ann", "password": "p w&d"}),
        ({"username_field": "email"}, "/login", {"email": "ann", "password": "p w&d"}),
        ({"password_field": "pass"}, "/login", {"username": "ann", "pass": "p w&d"}),
        ({"extra": {"tenant": "t"}}, "/login", {"username": "ann", "password": "p w&d", "tenant": "t"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("as_json", [False, True], ids=["form", "json"])
async def test_what_is_sent_is_what_the_login_wants(
    blocking: bool, options: Any, path: str, sent: dict[str, str], as_json: bool
) -> None:
    backend = Login()
    async with api(blocking, backend, "http://h", auth=FormLogin("ann", "p w&d", json=as_json, **options)) as client:
        assert await value(client.get("/me")) == {"ok": True}
    [login] = backend.logins
    assert (login.method, login.path) == ("POST", path)
    if as_json:
        assert (login.json(), login.headers["Content-Type"]) == (sent, "application/json")
    else:
        assert {name: each for name, [each] in parse_qs(login.body.decode()).items()} == sent
        assert login.headers["Content-Type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("field", "envelope", "answer"),
    [
        ("access_token", None, {"access_token": "T", "token_type": "bearer"}),
        ("token", None, {"token": "T"}),
        ("data.token", None, {"success": True, "data": {"token": "T"}}),
        ("data.token", Envelope(), {"success": True, "data": {"token": "T"}}),
        ("token", Envelope(), {"success": True, "data": {"token": "T"}}),
        ("access_token", Envelope(), {"access_token": "T"}),  # the one that is bare, for the sake of the API's own docs
        ("tokens.access.value", None, {"tokens": {"access": {"value": "T"}}}),
    ],
    ids=str,
)
async def test_the_token_is_found_where_the_answer_has_it(field: str, envelope: Envelope | None, answer: Any) -> None:
    backend = Login(reply=lambda token: MockAnswer(json=json.loads(json.dumps(answer).replace('"T"', f'"{token}"'))))
    auth = FormLogin("ann", "pw", token_field=field)
    transport = MockTransport(backend)
    async with BaseAPIClient("http://h", auth=auth, envelope=envelope, transport=transport) as client:
        assert (await client.authenticator.credentials()).bearer == "t1"


@FACES
@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_a_refused_login_is_an_authentication_error_of_the_call_whatever_its_status(
    blocking: bool, status: int
) -> None:
    backend = Login(reply=lambda token: MockAnswer(status, json={"detail": "LOGIN_BAD_CREDENTIALS"}))
    async with api(blocking, backend, "http://h", auth=FormLogin("ann", "s3cret")) as client:
        with pytest.raises(AuthenticationError) as caught:
            await value(client.post("/me", json={}))
        assert client.status.current.state == "auth_failed"
    error = caught.value
    assert error.status == status
    assert error.message.startswith(f"POST /me: no credentials could be had: POST /login answered {status}: LOGIN_BAD")
    assert (error.method, error.path, error.may_have_happened) == ("POST", "/me", False)
    assert "s3cret" not in error.explain()
    assert len(backend.logins) == 1


@pytest.mark.parametrize(
    ("auth", "status", "kind"),
    [
        (FormLogin("a", "b"), 404, NotFoundError),
        (FormLogin("a", "b", refused=(401, 404)), 404, AuthenticationError),
        (FormLogin("a", "b", refused=(401,)), 422, StatusError),
        (FormLogin("a", "b", refused=(401,)), 400, StatusError),
        (FormLogin("a", "b"), 500, ServerError),
        (OAuth2Password("a", "b"), 400, AuthenticationError),
        (OAuth2Password("a", "b"), 422, StatusError),
    ],
    ids=str,
)
async def test_a_scheme_says_which_statuses_refuse_and_the_others_are_what_they_are(
    auth: Any, status: int, kind: type[PlaycallError]
) -> None:
    transport = MockTransport(lambda request: MockAnswer(status, json={"detail": "no"}))
    async with BaseAPIClient("http://h", auth=auth, transport=transport, deadline_seconds=5) as client:
        with pytest.raises(StatusError) as caught:
            await client.get("/me")
    assert isinstance(caught.value, kind)
    assert isinstance(caught.value, AuthenticationError) == (kind is AuthenticationError)
    assert caught.value.path == "/me"


async def test_a_login_that_its_envelope_takes_back_is_refused() -> None:
    backend = Login(reply=lambda token: MockAnswer(json={"success": False, "message": "wrong password", "code": "PW"}))
    transport = MockTransport(backend)
    async with BaseAPIClient("http://h", auth=FormLogin("a", "b"), envelope=Envelope(), transport=transport) as client:
        with pytest.raises(AuthenticationError, match="wrong password") as caught:
            await client.get("/me")
    assert caught.value.code == "PW"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        "t",
        None,
        {"token": "s3cret"},
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 3},
        {"access_token": "a b"},
        {"access_token": "é"},
        {"access_token": "s3cret\r\nX:y"},
    ],
    ids=repr,
)
async def test_an_answer_without_a_usable_token_says_which_field_and_repeats_nothing(answer: Any) -> None:
    transport = MockTransport(lambda request: MockAnswer(json=answer))
    async with BaseAPIClient("http://h", auth=FormLogin("a", "b"), transport=transport) as client:
        with pytest.raises(UnreadableAnswerError, match="without a usable token in 'access_token'") as caught:
            await client.get("/me")
    assert caught.value.field == "access_token"
    assert "s3cret" not in caught.value.explain()


@FACES
async def test_a_refused_token_is_had_anew_once_for_all_who_wait(blocking: bool) -> None:
    backend = Login()
    async with api(blocking, backend, "http://h", auth=FormLogin("ann", "pw")) as client:
        await value(client.get("/me"))
        backend.token = "revoked"
        gets = [asyncio.to_thread(client.get, "/me") if blocking else client.get("/me") for _ in range(16)]
        assert await asyncio.gather(*gets) == [{"ok": True}] * 16
    assert len(backend.logins) == 2


@pytest.mark.parametrize(
    ("answer", "lifetime", "seconds"),
    [
        ({}, None, None),
        ({}, 60, 60),
        ({"expires_in": 30}, 60, 30),
        ({"expires_in": "30"}, None, 30),
        ({"expires_in": "soon"}, 60, 60),
        ({"expires_in": True}, None, None),
        ({"expires_in": 1e999}, None, None),
    ],
    ids=str,
)
async def test_a_token_lives_as_long_as_the_answer_says_or_else_the_caller(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], lifetime: float | None, seconds: float | None
) -> None:
    monkeypatch.setattr(auth_module, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    body = json.dumps({"access_token": "t", **answer})
    transport = MockTransport(lambda request: MockAnswer(body=body, headers={"Content-Type": "application/json"}))
    for auth in (FormLogin("a", "b", lifetime_seconds=lifetime), OAuth2Password("a", "b")):
        async with BaseAPIClient("http://h", auth=auth, transport=transport) as client:
            credentials = await client.authenticator.credentials()
        wanted = seconds if isinstance(auth, FormLogin) or seconds != lifetime else None
        assert credentials.expires_at == (None if wanted is None else 1000 + wanted)


async def test_a_refresh_token_is_used_where_there_is_a_path_for_it_and_kept_until_another_comes() -> None:
    forms: list[tuple[str, dict[str, str]]] = []

    def backend(request: MockRequest) -> MockAnswer:
        forms.append((request.path, request.json()))
        if request.path == "/login":
            return MockAnswer(json={"access_token": "a1", "more": {"refresh": "r1"}})
        return MockAnswer(json={"access_token": f"a{len(forms)}"}) if len(forms) < 4 else MockAnswer(401)

    auth = FormLogin("ann", "pw", json=True, refresh_path="/refresh", refresh_field="more.refresh")
    async with BaseAPIClient("http://h", auth=auth, transport=MockTransport(backend)) as client:
        for _ in range(3):
            credentials = await client.authenticator.credentials()
            assert await client.authenticator.renew(credentials)
    again = ("/refresh", {"refresh": "r1"})
    login = ("/login", {"username": "ann", "password": "pw"})
    assert forms == [login, again, again, again, login]  # the last refresh was refused


async def test_a_refresh_that_fails_otherwise_does_not_spend_the_password() -> None:
    paths: list[str] = []

    def backend(request: MockRequest) -> MockAnswer:
        paths.append(request.path)
        if request.path == "/login":
            return MockAnswer(json={"access_token": "a1", "refresh_token": "r1"})
        return MockAnswer(404)

    auth = FormLogin("ann", "pw", refresh_path="/refresh")
    async with BaseAPIClient("http://h", auth=auth, transport=MockTransport(backend)) as client:
        with pytest.raises(NotFoundError):
            await client.authenticator.renew(await client.authenticator.credentials())
    assert paths == ["/login", "/refresh"]


async def test_a_login_behind_a_slash_redirect_is_posted_again_to_our_origin() -> None:
    def backend(request: MockRequest) -> MockAnswer:
        if request.path == "/login":
            return MockAnswer(307, headers={"Location": "http://inside:8000/login/"})
        return MockAnswer(json={"access_token": "t"})

    transport = MockTransport(backend)
    async with BaseAPIClient("https://h", auth=FormLogin("a", "b"), transport=transport) as client:
        await client.get("/me")
    assert [r.url for r in transport.requests] == ["https://h/login", "https://h/login/", "https://h/me"]
    assert transport.requests[1].body == b"username=a&password=b"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("", "s3cret"), {}),
        (("ann", ""), {}),
        (("ann", "s3cret"), {"username_field": "password"}),
        (("ann", "s3cret"), {"token_field": ""}),
        (("ann", "s3cret"), {"refresh_field": None}),
        (("ann", "s3cret"), {"lifetime_seconds": 0}),
        (("ann", "s3cret"), {"lifetime_seconds": float("inf")}),
        (("ann", "s3cret"), {"path": "login"}),
        (("ann", "s3cret"), {"refresh_path": "http://h/x"}),
    ],
    ids=str,
)
def test_a_login_that_makes_no_sense_is_refused_without_its_secret(arguments: Any, options: Any) -> None:
    with pytest.raises((ConfigurationError, InvalidArgumentError)) as caught:
        FormLogin(*arguments, **options)
    assert "s3cret" not in str(caught.value)


@FACES
async def test_neither_password_nor_token_is_in_a_repr_a_log_or_an_error(
    blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    auth = FormLogin("ann", "s3cret", refresh_path="/refresh", extra={"client_secret": "s3cret"})
    assert repr(auth) == "FormLogin('ann', ***, path='/login')"
    echo = {"detail": [{"type": "missing", "loc": ["body", "email"], "msg": "Field required", "input": "s3cret"}]}
    backend = Login(reply=lambda token: MockAnswer(422, json=echo))
    with caplog.at_level(logging.DEBUG):
        async with api(blocking, backend, "http://h", auth=auth) as client:
            with pytest.raises(AuthenticationError, match="email: Field required") as caught:
                await value(client.get("/me"))
            backend.reply = lambda token: MockAnswer(json={"access_token": token, "refresh_token": "s3cret"})
            await value(client.get("/me"))
            assert "t2" not in repr(await client.authenticator.credentials()) if not blocking else True
    assert "s3cret" not in caught.value.explain() + caplog.text + repr(vars(caught.value))
    assert "Bearer" not in caplog.text


@pytest.mark.parametrize(
    ("given", "path", "found"),
    [
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a.b": 2, "a": {"b": 1}}, "a.b", 2),
        ({"a": {"b.c": 3}}, "a.b.c", 3),
        ({"a": 1}, "a.b", None),
        ({}, "a", None),
        ([1], "0", None),
        (None, "a", None),
        ({"a": {"": 4}}, "a.", 4),
    ],
)
def test_a_path_leads_one_object_deeper_at_each_dot(given: object, path: str, found: object) -> None:
    assert member(given, path) == found
