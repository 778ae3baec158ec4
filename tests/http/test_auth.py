"""Credentials: had once for everybody, renewed once for everybody, whatever happens to who asked first."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from playcall.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    ConnectFailedError,
    StatusError,
    error_for_status,
)
from playcall.http import auth as auth_module
from playcall.http import authenticator as authenticator_module
from playcall.http.auth import ApiKey, BearerToken, Credentials, OAuth2Password, TokenGrant
from playcall.http.authenticator import Authenticator
from playcall.timeline import Timeline

TIMELINE = Timeline("POST", "/auth/token", 30.0)


async def no_endpoint(path: str, form: Mapping[str, str]) -> TokenGrant:
    raise AssertionError("no token endpoint is needed here")


def status(number: int) -> StatusError:
    return error_for_status(number, None)("no", timeline=TIMELINE, status=number)


class Endpoint:
    """A token endpoint that gives a1/r1, a2/r2 …, or what it is told to."""

    def __init__(self, *, lifetime: float | None = 3600) -> None:
        self.forms: list[dict[str, str]] = []
        self.lifetime = lifetime
        self.refuse: dict[str, Exception] = {}
        self.hold: asyncio.Event | None = None
        self.given = 0

    async def __call__(self, path: str, form: Mapping[str, str]) -> TokenGrant:
        self.forms.append(dict(form))
        if self.hold is not None:
            await self.hold.wait()
        else:
            await asyncio.sleep(0.005)
        if (refusal := self.refuse.get(form["grant_type"])) is not None:
            raise refusal
        self.given += 1
        return TokenGrant(f"a{self.given}", self.lifetime, f"r{self.given}")


@pytest.mark.parametrize("key", ["", " x", "x ", "a\nb", "a\x00", "é", "a\tb", None, 3], ids=repr)
def test_a_key_or_token_that_cannot_stand_in_a_header_is_refused_and_not_repeated(key: Any) -> None:
    for make in (ApiKey, BearerToken):
        with pytest.raises(ConfigurationError) as caught:
            make(key)
        assert repr(key) not in str(caught.value) or not key


@pytest.mark.parametrize("lifetime", [0, -1, float("nan"), float("inf")])
def test_a_lifetime_is_positive_and_finite(lifetime: float) -> None:
    with pytest.raises(ConfigurationError, match="lifetime_seconds"):
        BearerToken("x", lifetime_seconds=lifetime)


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("x", "")])
def test_a_password_login_needs_both(username: str, password: str) -> None:
    with pytest.raises(ConfigurationError):
        OAuth2Password(username, password)


async def test_an_api_key_goes_in_its_header_and_is_no_bearer() -> None:
    credentials = await ApiKey("k1", header="X-Key").fetch(None, no_endpoint)
    assert credentials.headers == {"X-Key": "k1"}
    assert credentials.bearer is None


def sync_provider() -> str:
    assert threading.current_thread() is not threading.main_thread(), "it may block, so not on the loop"
    return "t1"


async def async_provider() -> str:
    return "t1"


class AsyncCallable:
    async def __call__(self) -> str:
        return "t1"


@pytest.mark.parametrize(
    "source", ["t1", sync_provider, async_provider, AsyncCallable()], ids=["string", "sync", "async", "object"]
)
async def test_a_bearer_token_is_a_string_or_a_function_of_either_kind(source: Any) -> None:
    credentials = await BearerToken(source).fetch(None, no_endpoint)
    assert credentials.headers == {"Authorization": "Bearer t1"}
    assert credentials.bearer == "t1"


@pytest.mark.parametrize("given", [None, 3, "", "a\nb", b"x"], ids=repr)
async def test_a_provider_that_gives_no_token_is_a_configuration_error(given: Any) -> None:
    with pytest.raises(ConfigurationError):
        await BearerToken(lambda: given).fetch(None, no_endpoint)


async def test_nobody_s_credentials_are_no_headers_and_are_never_renewed() -> None:
    authenticator = Authenticator(None, no_endpoint)
    credentials = await authenticator.credentials()
    assert credentials.headers == {}
    assert await authenticator.renew(credentials) is False


async def test_a_password_login_refreshes_with_its_refresh_token() -> None:
    endpoint = Endpoint()
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    first = await authenticator.credentials()
    assert await authenticator.renew(first) is True
    assert (await authenticator.credentials()).bearer == "a2"
    assert endpoint.forms == [
        {"grant_type": "password", "username": "me", "password": "pw"},
        {"grant_type": "refresh_token", "refresh_token": "r1"},
    ]


@pytest.mark.parametrize("refusal", [400, 401, 403])
async def test_a_refused_refresh_token_falls_back_to_the_password(refusal: int) -> None:
    endpoint = Endpoint()
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    first = await authenticator.credentials()
    endpoint.refuse["refresh_token"] = status(refusal)
    assert await authenticator.renew(first) is True
    assert [form["grant_type"] for form in endpoint.forms] == ["password", "refresh_token", "password"]


async def test_a_refresh_that_fails_otherwise_does_not_spend_the_password() -> None:
    endpoint = Endpoint()
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    first = await authenticator.credentials()
    endpoint.refuse["refresh_token"] = status(503)
    with pytest.raises(StatusError):
        await authenticator.renew(first)
    assert [form["grant_type"] for form in endpoint.forms] == ["password", "refresh_token"]
    endpoint.refuse.clear()
    assert await authenticator.renew(first) is True  # a lost refresh locks nobody out


async def test_credentials_are_renewed_ahead_of_their_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    for module in (auth_module, authenticator_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    endpoint = Endpoint(lifetime=100)
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    assert (await authenticator.credentials()).bearer == "a1"
    clock[0] += 89
    assert (await authenticator.credentials()).bearer == "a1"
    clock[0] += 2  # within ten seconds of the end
    assert (await authenticator.credentials()).bearer == "a2"


async def test_short_lived_credentials_are_used_for_four_fifths_of_their_life(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    for module in (auth_module, authenticator_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    authenticator = Authenticator(OAuth2Password("me", "pw"), Endpoint(lifetime=5))
    await authenticator.credentials()
    clock[0] += 3.9
    assert (await authenticator.credentials()).bearer == "a1"
    clock[0] += 0.2
    assert (await authenticator.credentials()).bearer == "a2"


async def test_a_lifetime_of_nothing_renews_each_time_and_does_not_spin() -> None:
    endpoint = Endpoint(lifetime=0)
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    assert (await authenticator.credentials()).bearer == "a1"
    assert (await authenticator.credentials()).bearer == "a2"
    assert len(endpoint.forms) == 2


async def test_64_tasks_that_are_refused_renew_once() -> None:
    endpoint = Endpoint()
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    old = await authenticator.credentials()
    outcomes = await asyncio.gather(*(authenticator.renew(old) for _ in range(64)))
    assert outcomes == [True] * 64
    assert len(endpoint.forms) == 2
    assert await authenticator.renew(old) is True  # a latecomer finds the new ones
    assert len(endpoint.forms) == 2


def test_64_threads_with_loops_of_their_own_renew_once() -> None:
    endpoint = Endpoint()
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    barrier = threading.Barrier(64)
    got: list[str | None] = []

    def run() -> None:
        barrier.wait(20)
        got.append(asyncio.run(authenticator.credentials()).bearer)

    threads = [threading.Thread(target=run) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # A loop that ends with its renewal under way has it begun anew by another; none ends so here, for each waits.
    assert len(endpoint.forms) == 1
    assert got == ["a1"] * 64


async def test_cancelling_the_caller_that_began_it_stops_nobody() -> None:
    endpoint = Endpoint()
    endpoint.hold = asyncio.Event()
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    initiator = asyncio.create_task(authenticator.credentials())
    await asyncio.sleep(0)
    others = [asyncio.create_task(authenticator.credentials()) for _ in range(3)]
    await asyncio.sleep(0.01)
    initiator.cancel()
    await asyncio.gather(initiator, return_exceptions=True)
    assert initiator.cancelled()
    endpoint.hold.set()
    assert [(await other).bearer for other in others] == ["a1"] * 3
    assert len(endpoint.forms) == 1


def test_a_renewal_whose_loop_ended_is_begun_anew_by_those_who_wait() -> None:
    begun = threading.Event()
    go_on = threading.Event()
    calls: list[int] = []

    class Slow:
        async def fetch(self, previous: Credentials | None, token_endpoint: object) -> Credentials:
            calls.append(1)
            if len(calls) == 1:
                begun.set()
                await asyncio.sleep(3600)
            return Credentials({"A": "new"})

    authenticator = Authenticator(Slow(), no_endpoint)

    async def leave_early() -> None:
        task = asyncio.create_task(authenticator.credentials())
        await asyncio.to_thread(go_on.wait, 10)
        task.cancel()
        # asyncio.run now cancels the renewal as well, as the last thing that this loop does

    first = threading.Thread(target=lambda: asyncio.run(leave_early()))
    first.start()
    assert begun.wait(10)
    got: list[Credentials] = []
    second = threading.Thread(target=lambda: got.append(asyncio.run(authenticator.credentials())))
    second.start()
    while not authenticator._lock.acquire(timeout=0.01):
        pass
    authenticator._lock.release()
    time.sleep(0.05)
    go_on.set()
    first.join(10)
    second.join(10)
    assert [each.headers for each in got] == [{"A": "new"}]
    assert len(calls) == 2


async def test_a_renewal_cancelled_before_its_first_step_leaves_nobody_waiting() -> None:
    authenticator = Authenticator(BearerToken(async_provider), no_endpoint)
    caller = asyncio.create_task(authenticator.credentials())
    await asyncio.sleep(0)  # the renewal's task is made, and has not run
    for task in set(authenticator._tasks):
        task.cancel()
    assert (await asyncio.wait_for(caller, 2)).bearer == "t1"


async def test_closing_ends_a_renewal_and_tells_who_waits() -> None:
    endpoint = Endpoint()
    endpoint.hold = asyncio.Event()
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    caller = asyncio.create_task(authenticator.credentials())
    await asyncio.sleep(0.01)
    await authenticator.close()
    with pytest.raises(ClientClosedError):
        await asyncio.wait_for(caller, 2)
    with pytest.raises(ClientClosedError):
        await authenticator.credentials()


class GivesNone:
    async def fetch(self, previous: Credentials | None, token_endpoint: object) -> Any:
        return None


class CancelsItself:
    async def fetch(self, previous: Credentials | None, token_endpoint: object) -> Credentials:
        raise asyncio.CancelledError


@pytest.mark.parametrize("auth", [GivesNone(), CancelsItself()], ids=lambda auth: type(auth).__name__)
async def test_a_scheme_that_misbehaves_is_an_error_for_all_who_wait_and_hangs_nobody(auth: Any) -> None:
    authenticator = Authenticator(auth, no_endpoint)
    outcomes = await asyncio.wait_for(
        asyncio.gather(*(authenticator.credentials() for _ in range(3)), return_exceptions=True), 2
    )
    assert [type(outcome) for outcome in outcomes] == [ConfigurationError] * 3


async def test_a_provider_that_failed_is_asked_again_by_the_next_caller() -> None:
    answers: list[Callable[[], str]] = [lambda: 1 / 0, lambda: "t2"]  # type: ignore[list-item,return-value]
    authenticator = Authenticator(BearerToken(lambda: answers.pop(0)()), no_endpoint)
    with pytest.raises(ZeroDivisionError):
        await authenticator.credentials()
    assert (await authenticator.credentials()).bearer == "t2"


async def test_after_a_fork_a_renewal_of_the_parent_is_not_waited_for() -> None:
    endpoint = Endpoint()
    endpoint.hold = asyncio.Event()
    authenticator = Authenticator(OAuth2Password("me", "pw"), endpoint)
    stuck = asyncio.create_task(authenticator.credentials())
    await asyncio.sleep(0.01)
    authenticator.after_fork()
    endpoint.hold = None
    assert (await asyncio.wait_for(authenticator.credentials(), 2)).bearer == "a1"
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_nothing_secret_is_in_a_repr() -> None:
    endpoint = Endpoint()
    things: list[object] = [
        ApiKey("s3cret"),
        BearerToken("s3cret"),
        OAuth2Password("me", "s3cret"),
        await ApiKey("s3cret").fetch(None, no_endpoint),
        TokenGrant("s3cret", 1, "s3cret"),
        await OAuth2Password("me", "s3cret").fetch(None, endpoint),
    ]
    for thing in things:
        assert "s3cret" not in repr(thing)
        assert "a1" not in repr(thing)


def test_errors_used_here_are_what_they_say() -> None:
    assert isinstance(status(401), AuthenticationError)
    assert not isinstance(status(503), ConnectFailedError)


async def test_what_a_provider_raises_after_its_caller_has_gone_is_logged_by_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def provider() -> str:
        asked.set()
        await go_on.wait()
        raise ValueError("the vault refused s3cr3t")

    authenticator = Authenticator(BearerToken(provider), Endpoint())
    caller = asyncio.create_task(authenticator.credentials())
    await asked.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    while authenticator._renewal is not None:
        await asyncio.sleep(0)
    for _ in range(10):  # it passes from the renewal's future to the caller's
        await asyncio.sleep(0)
    del caller
    gc.collect()
    assert "s3cr3t" not in caplog.text
