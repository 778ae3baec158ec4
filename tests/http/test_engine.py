"""One call from its arguments to its answer, over a mock: retries, keys, deadlines, pauses, credentials, streams."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from playcall import ApiKey, BaseAPIClient, BearerToken, OAuth2Password, RetryPolicy, deadline
from playcall.errors import (
    AuthenticationError,
    ClientClosedError,
    ConnectFailedError,
    ConnectionLostError,
    CredentialsError,
    DeadlineExceededError,
    IdempotencyInProgressError,
    NoSlotError,
    NotFoundError,
    PlaycallError,
    RateLimitedError,
    RedirectRefusedError,
    RequestError,
    ServiceUnavailableError,
    StatusError,
)
from playcall.http.auth import Credentials
from playcall.http.call import IncomingBody
from playcall.testing import MockAnswer, MockFault, MockRequest, MockTransport
from playcall.testing.mock_transport import MockReply
from tests.both_faces import FACES, api, value
from tests.misbehaving_server import MisbehavingServer, head, silence
from tests.stall import Stall

FAST = RetryPolicy(attempts=4, initial_seconds=0.001, max_seconds=0.002)
OK = MockAnswer(json={"ok": True})


class Script:
    """Gives its replies one after another, the last for ever."""

    def __init__(self, *replies: MockReply) -> None:
        self.replies = list(replies)
        self.requests: list[MockRequest] = []

    def __call__(self, request: MockRequest) -> MockReply:
        self.requests.append(request)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def keys(requests: list[MockRequest]) -> set[str | None]:
    return {request.headers.get("Idempotency-Key") for request in requests}


# --- retries ----------------------------------------------------------------------------------------------------------


@FACES
@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
@pytest.mark.parametrize(
    "trouble",
    [MockFault.not_sent(), MockFault.connection_lost(), MockFault.timed_out(), MockAnswer(503), MockAnswer(429)],
    ids=["not sent", "lost", "timed out", "503", "429"],
)
async def test_with_keys_every_verb_gets_through_trouble_by_one_key(
    blocking: bool, verb: str, trouble: MockReply
) -> None:
    script = Script(trouble, trouble, OK)
    async with api(blocking, script, retry=FAST, idempotency_keys=True) as client:
        assert await value(getattr(client, verb)("/x")) == {"ok": True}
    assert len(script.requests) == 3
    assert len(keys(script.requests)) == 1
    assert (keys(script.requests) == {None}) is (verb == "get")


@FACES
@pytest.mark.parametrize(
    ("trouble", "sent", "error"),
    [
        (MockFault.not_sent(), 4, ConnectFailedError),
        (MockFault.connection_lost(), 1, ConnectionLostError),
        (MockFault.timed_out(), 1, ConnectionLostError),
        (MockAnswer(503), 1, ServiceUnavailableError),
    ],
    ids=["not sent", "lost", "timed out", "503"],
)
async def test_without_keys_a_write_is_repeated_only_when_it_was_not_sent(
    blocking: bool, trouble: MockReply, sent: int, error: type[RequestError]
) -> None:
    script = Script(trouble)
    async with api(blocking, script, retry=FAST) as client:
        with pytest.raises(error) as caught:
            await value(client.post("/x", json={}))
    assert len(script.requests) == sent
    assert caught.value.may_have_happened is (sent == 1)
    assert keys(script.requests) == {None}


@pytest.mark.parametrize(
    ("replies", "maybe"),
    [
        ([MockFault.not_sent()], False),
        ([MockFault.connection_lost()], True),
        ([MockFault.timed_out()], True),
        ([MockAnswer(500)], True),
        ([MockAnswer(503)], True),
        ([MockAnswer(404)], False),
        ([MockAnswer(429)], False),
        ([MockFault.connection_lost(), MockAnswer(404)], True),  # the first may have done it
        ([MockFault.connection_lost(), MockFault.not_sent()], True),
        ([MockFault.not_sent(), MockAnswer(409)], False),
        ([MockAnswer(503), MockAnswer(429)], True),
    ],
    ids=lambda value: (
        " then ".join(str(getattr(r, "status", getattr(r, "kind", r))) for r in value)
        if isinstance(value, list)
        else None
    ),
)
async def test_may_have_happened_is_true_unless_the_opposite_is_proved(replies: list[MockReply], maybe: bool) -> None:
    for method, expected in (("POST", maybe), ("GET", False)):
        async with BaseAPIClient(
            "http://b", transport=MockTransport(Script(*replies)), retry=FAST, idempotency_keys=True
        ) as client:
            with pytest.raises(RequestError) as caught:
                await client.answer(method, "/x")
            assert caught.value.may_have_happened is expected
            assert ("may have happened" in caught.value.explain()) is expected


@FACES
async def test_the_error_tells_every_attempt(blocking: bool) -> None:
    script = Script(MockFault.not_sent(), MockAnswer(503, headers={"Retry-After": "0"}), MockFault.connection_lost())
    async with api(blocking, script, retry=RetryPolicy(attempts=3, initial_seconds=0)) as client:
        with pytest.raises(ConnectionLostError) as caught:
            await value(client.get("/x"))
    error = caught.value
    assert [attempt.number for attempt in error.attempts] == [1, 2, 3]
    assert [attempt.sent for attempt in error.attempts] == [False, True, True]
    assert [attempt.status for attempt in error.attempts] == [None, 503, None]
    story = error.explain()
    assert "[not sent]" in story
    assert "Retry-After" in story
    assert "give up: 3 of 3 attempts used" in story
    assert "GET /x on http://backend.test:80 got no answer, after 3 attempts" in error.message
    assert story.count("\n") == 4


@FACES
async def test_an_error_told_at_last_by_status_keeps_its_attempts(blocking: bool) -> None:
    async with api(blocking, Script(MockAnswer(503)), retry=FAST) as client:
        with pytest.raises(ServiceUnavailableError) as caught:
            await value(client.get("/x"))
        assert len(caught.value.attempts) == 4


@FACES
async def test_an_answer_has_the_story_of_its_success(blocking: bool) -> None:
    async with api(blocking, Script(MockAnswer(503), OK), retry=FAST) as client:
        answer = await value(client.answer("GET", "/x"))
        assert [attempt.status for attempt in answer.timeline.attempts] == [503, 200]
        assert answer.timeline.attempts[1].decision == "done"
        assert answer.request_id == answer.timeline.attempts[1].request_id


@FACES
async def test_the_policy_of_a_call_or_of_a_clone_is_its_own(blocking: bool) -> None:
    script = Script(MockAnswer(503))
    async with api(blocking, script, retry=FAST) as client:
        with pytest.raises(ServiceUnavailableError):
            await value(client.get("/x", retry=RetryPolicy(attempts=1)))
        assert len(script.requests) == 1
        clone = client.with_options(retry=RetryPolicy(attempts=2, initial_seconds=0), deadline_seconds=None)
        with pytest.raises(ServiceUnavailableError) as caught:
            await value(clone.get("/x"))
        assert len(script.requests) == 3
        assert caught.value.timeline.deadline_seconds is None
        assert clone.engine is client.engine
        with pytest.raises(ServiceUnavailableError):
            await value(client.get("/x"))
        assert len(script.requests) == 7


async def test_the_client_s_budget_ends_a_storm_of_retries() -> None:
    script = Script(MockFault.connection_lost())
    policy = RetryPolicy(attempts=10, initial_seconds=0, budget=3)
    async with BaseAPIClient("http://b", transport=MockTransport(script), retry=policy) as client:
        for expected in (4, 1, 1):
            before = len(script.requests)
            with pytest.raises(ConnectionLostError) as caught:
                await client.get("/x")
            assert len(script.requests) - before == expected
        assert "retry budget is used up" in caught.value.explain()
        assert client.status.current.retry_tokens == 0
        with pytest.raises(ConnectionLostError):
            await client.get("/x", retry=RetryPolicy(attempts=3, initial_seconds=0, budget=None))
        assert len(script.requests) == 9


async def test_a_duplicate_in_flight_is_asked_for_again_until_it_is_answered() -> None:
    busy = MockAnswer(409, json={"code": "idempotency_in_progress"}, headers={"Retry-After-Ms": "1"})
    script = Script(*[busy] * 9, OK)
    policy = RetryPolicy(attempts=2, budget=1)
    async with BaseAPIClient(
        "http://b", transport=MockTransport(script), retry=policy, idempotency_keys=True
    ) as client:
        assert await client.post("/x", idempotency_key="k") == {"ok": True}
        assert len(script.requests) == 10
        assert client.status.current.retry_tokens == 1
        script.replies = [busy]
        with pytest.raises(IdempotencyInProgressError):
            await client.post("/x", idempotency_key="k", deadline_seconds=0.15)


# --- the deadline -----------------------------------------------------------------------------------------------------


async def forever(request: MockRequest) -> MockReply:
    await asyncio.sleep(3600)
    return OK


@FACES
async def test_the_call_s_own_deadline_the_client_s_and_the_context_s_the_shortest_wins(blocking: bool) -> None:
    async def ends_after(seconds: float, make: Callable[[], Any], began: float) -> None:
        with Stall() as stall:
            with pytest.raises(DeadlineExceededError, match="waiting for the answer") as caught:
                await value(make())
            took = time.monotonic() - began
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.attempts[-1].decision == "give up: the deadline has come"
        # A loop's timers count milliseconds, and may be one early.
        assert seconds - 0.002 <= took < seconds + 0.1 + stall.seconds

    async with api(blocking, forever, deadline_seconds=0.2) as client:
        await ends_after(0.2, lambda: client.get("/x"), time.monotonic())
        await ends_after(0.05, lambda: client.get("/x", deadline_seconds=0.05), time.monotonic())
        began = time.monotonic()  # the context's clock runs from here
        with deadline(10), deadline(0.05), deadline(10):
            await ends_after(0.05, lambda: client.get("/x", deadline_seconds=None), began)


@FACES
async def test_a_deadline_that_has_passed_sends_nothing(blocking: bool) -> None:
    script = Script(OK)
    async with api(blocking, script) as client:
        with deadline(0.001):
            time.sleep(0.005)
            with pytest.raises(DeadlineExceededError) as caught:
                await value(client.post("/x"))
        assert script.requests == []
        assert caught.value.may_have_happened is False
        assert caught.value.attempts == ()


@FACES
async def test_a_write_that_its_deadline_cut_off_may_have_happened(blocking: bool) -> None:
    async with api(blocking, forever) as client:
        with pytest.raises(DeadlineExceededError) as caught:
            await value(client.post("/x", deadline_seconds=0.02))
        assert caught.value.may_have_happened is True


@FACES
@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), 10**400, True, "5"], ids=repr)
async def test_a_deadline_that_makes_no_sense_is_refused(blocking: bool, wrong: Any) -> None:
    async with api(blocking, Script(OK)) as client:
        with pytest.raises(PlaycallError, match="positive number of seconds"):
            await value(client.get("/x", deadline_seconds=wrong))
        with pytest.raises(PlaycallError, match="positive number of seconds"):
            client.with_options(deadline_seconds=wrong)
        with pytest.raises(PlaycallError, match="positive number of seconds"):
            deadline(wrong).__enter__()


@FACES
async def test_what_is_left_is_told_to_the_far_end(blocking: bool) -> None:
    script = Script(MockFault.connection_lost(), OK)
    policy = RetryPolicy(attempts=2, initial_seconds=0.05, max_seconds=0.05)
    async with api(blocking, script, send_deadline=True, deadline_seconds=10, retry=policy) as client:
        await value(client.get("/x"))
        left = [int(request.headers["X-Request-Timeout-Ms"]) for request in script.requests]
        assert 9_500 < left[1] <= left[0] <= 10_000
        await value(client.get("/x", deadline_seconds=None))
        assert "X-Request-Timeout-Ms" not in script.requests[-1].headers


async def test_a_pause_that_the_deadline_would_not_survive_is_not_begun() -> None:
    script = Script(MockAnswer(503, headers={"Retry-After": "30"}))
    async with BaseAPIClient("http://b", transport=MockTransport(script), deadline_seconds=5) as client:
        began = time.monotonic()
        with pytest.raises(ServiceUnavailableError) as caught:
            await client.get("/x")
        assert time.monotonic() - began < 0.5
        assert caught.value.retry_after_seconds == 30
        assert "past the deadline" in caught.value.explain()


# --- slots ------------------------------------------------------------------------------------------------------------


async def test_waiting_for_a_slot_past_the_deadline_names_what_is_in_flight() -> None:
    async with BaseAPIClient("http://b", transport=MockTransport(forever), max_concurrency=2) as client:
        stuck = [asyncio.create_task(client.get(f"/slow/{n}")) for n in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(NoSlotError, match=r"in flight: GET /slow/0 since .*GET /slow/1") as caught:
            await client.post("/x", deadline_seconds=0.02)
        assert caught.value.attempts == ()
        assert caught.value.may_have_happened is False
        assert client.status.current.state == "connecting"  # it says nothing of the backend
        assert client.status.current.in_flight == 2
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        assert client.status.current.in_flight == 0


async def test_never_more_than_max_concurrency_at_once_and_pauses_hold_no_slot() -> None:
    now = most = 0

    async def handler(request: MockRequest) -> MockReply:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return MockAnswer(503) if len(client._engine.transport.requests) % 3 == 0 else OK  # type: ignore[attr-defined]

    async with BaseAPIClient(
        "http://b",
        transport=MockTransport(handler),
        max_concurrency=4,
        retry=RetryPolicy(attempts=20, initial_seconds=0.001, budget=None),
    ) as client:
        await asyncio.gather(*(client.get("/x") for _ in range(60)))
        assert most == 4
        assert client.status.current.in_flight == 0
        assert client.status.current.waiting == 0


async def test_retry_after_of_a_429_is_shared_by_all_callers_even_those_in_the_queue() -> None:
    times: list[float] = []

    async def handler(request: MockRequest) -> MockReply:
        times.append(time.monotonic())
        await asyncio.sleep(0.005)
        return MockAnswer(429, headers={"Retry-After-Ms": "150"}) if len(times) == 1 else OK

    async with BaseAPIClient("http://b", transport=MockTransport(handler), max_concurrency=1) as client:
        calls = [asyncio.create_task(client.get("/x")) for _ in range(4)]
        await asyncio.sleep(0.05)
        calls.append(asyncio.create_task(client.get("/late")))
        await asyncio.gather(*calls)
        assert len(times) == 6
        assert all(moment - times[0] >= 0.15 for moment in times[1:])


@pytest.mark.parametrize(("status", "completed"), [(429, 6), (503, 1)])
async def test_a_429_that_says_when_costs_no_budget_and_any_other_retry_does(status: int, completed: int) -> None:
    refused: set[str] = set()

    async def handler(request: MockRequest) -> MockReply:
        if request.path not in refused:
            refused.add(request.path)
            return MockAnswer(status, headers={"Retry-After-Ms": "1"})
        return OK

    policy = RetryPolicy(budget=1)
    async with BaseAPIClient("http://b", transport=MockTransport(handler), retry=policy) as client:
        calls = [client.get(f"/{number}") for number in range(6)]
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(each, Exception) for each in found) == completed


async def test_a_shared_pause_past_the_deadline_is_told_at_once_and_is_not_offline() -> None:
    script = Script(MockAnswer(429, headers={"Retry-After": "40"}), OK)
    async with BaseAPIClient("http://b", transport=MockTransport(script)) as client:
        with pytest.raises(RateLimitedError):
            await client.get("/x", retry=RetryPolicy(attempts=1))
        with pytest.raises(DeadlineExceededError, match=r"asked this client to wait another (40|39)"):
            await client.get("/y", deadline_seconds=1)
        assert len(script.requests) == 1
        assert client.status.current.state == "degraded"


async def test_no_answer_holds_back_the_other_callers_for_longer_than_a_minute() -> None:
    script = Script(MockAnswer(503, headers={"Retry-After": "86400"}), OK)
    async with BaseAPIClient("http://b", transport=MockTransport(script)) as client:
        with pytest.raises(ServiceUnavailableError):
            await client.get("/x")
        with pytest.raises(DeadlineExceededError, match=r"another (60|59)"):
            await client.get("/y", deadline_seconds=1)


# --- credentials ------------------------------------------------------------------------------------------------------


class TokenBackend:
    """`/auth/token` gives a1, a2 …; everything else wants the token that is good."""

    def __init__(self) -> None:
        self.tokens = 0
        self.good = ""
        self.forms: list[Mapping[str, str]] = []
        self.token_trouble: MockReply | None = None
        self.lock = threading.Lock()

    async def __call__(self, request: MockRequest) -> MockReply:
        if request.path == "/auth/token":
            from urllib.parse import parse_qsl

            assert "Authorization" not in request.headers
            self.forms.append(dict(parse_qsl(request.body.decode())))
            await asyncio.sleep(0.01)
            if self.token_trouble is not None:
                return self.token_trouble
            with self.lock:
                self.tokens += 1
                self.good = f"a{self.tokens}"
                given = {"access_token": self.good, "expires_in": 900, "refresh_token": f"r{self.tokens}"}
            return MockAnswer(json=given)
        if request.headers.get("Authorization") != f"Bearer {self.good}":
            return MockAnswer(401, json={"detail": "expired"})
        return OK


def oauth(backend: TokenBackend, **options: Any) -> BaseAPIClient:
    return BaseAPIClient("http://b", auth=OAuth2Password("me", "pw"), transport=MockTransport(backend), **options)


@pytest.mark.parametrize("slots", [1, 8, 100])
async def test_64_tasks_that_meet_an_expired_token_renew_once_however_few_the_slots(slots: int) -> None:
    backend = TokenBackend()
    async with oauth(backend, max_concurrency=slots, deadline_seconds=5) as client:
        await client.get("/x")
        backend.good = "something else"
        await asyncio.gather(*(client.get("/x") for _ in range(64)))
        assert [form["grant_type"] for form in backend.forms] == ["password", "refresh_token"]


def test_64_threads_on_a_blocking_client_renew_once() -> None:
    from playcall import BlockingAPIClient

    backend = TokenBackend()
    with BlockingAPIClient(
        "http://b", auth=OAuth2Password("me", "pw"), transport=MockTransport(backend), max_concurrency=8
    ) as client:
        client.get("/x")
        backend.good = "something else"
        failed: list[BaseException] = []

        def run() -> None:
            try:
                client.get("/x")
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert failed == []
        assert len(backend.forms) == 2


@FACES
async def test_a_401_is_replayed_once_and_no_more(blocking: bool) -> None:
    tokens = iter(f"t{n}" for n in range(99))
    script = Script(MockAnswer(401))
    async with api(blocking, script, auth=BearerToken(lambda: next(tokens))) as client:
        with pytest.raises(AuthenticationError) as caught:
            await value(client.post("/x"))
        assert [r.headers["Authorization"] for r in script.requests] == ["Bearer t0", "Bearer t1"]
        assert len(caught.value.attempts) == 2
        assert caught.value.may_have_happened is False
        assert client.status.current.state == "auth_failed"


@FACES
async def test_credentials_that_cannot_be_others_are_not_tried_twice(blocking: bool) -> None:
    script = Script(MockAnswer(401))
    async with api(blocking, script, auth=ApiKey("k")) as client:
        with pytest.raises(AuthenticationError):
            await value(client.get("/x"))
        assert len(script.requests) == 1
        assert script.requests[0].headers["X-API-Key"] == "k"


async def test_redirects_and_renewals_do_not_use_up_attempts() -> None:
    tokens = iter(["old", "new"])
    script = Script(
        MockAnswer(307, headers={"Location": "/x/"}), MockAnswer(401), MockFault.connection_lost(), MockAnswer(503), OK
    )
    async with BaseAPIClient(
        "http://b",
        auth=BearerToken(lambda: next(tokens)),
        transport=MockTransport(script),
        retry=RetryPolicy(attempts=3, initial_seconds=0),
    ) as client:
        assert await client.get("/x") == {"ok": True}


@FACES
@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refused_login_is_an_authentication_error_of_the_call(blocking: bool, status: int) -> None:
    backend = TokenBackend()
    backend.token_trouble = MockAnswer(status, json={"detail": "wrong password"})
    async with api(blocking, backend, "http://b", auth=OAuth2Password("me", "hunter2")) as client:
        with pytest.raises(AuthenticationError, match="wrong password") as caught:
            await value(client.post("/x"))
        assert (caught.value.method, caught.value.path) == ("POST", "/x")
        assert caught.value.may_have_happened is False
        assert "hunter2" not in caught.value.explain()
        assert caught.value.__cause__ is not caught.value
        assert client.status.current.state == "auth_failed"


@FACES
async def test_a_token_endpoint_that_is_gone_is_offline_and_not_a_wrong_password(blocking: bool) -> None:
    backend = TokenBackend()
    backend.token_trouble = MockFault.connection_lost()
    options: dict[str, Any] = {"auth": OAuth2Password("me", "pw"), "deadline_seconds": 20}
    async with api(blocking, backend, "http://b", **options) as client:
        client._engine.budget._tokens = 0  # no retries, to be fast
        with pytest.raises(ConnectionLostError, match="no credentials could be had") as caught:
            await value(client.post("/x"))
        assert caught.value.may_have_happened is False  # the token was asked for, x was not
        assert isinstance(caught.value.__cause__, ConnectionLostError)
        assert client.status.current.state == "offline"
        backend.token_trouble = None
        assert await value(client.post("/x")) == {"ok": True}


async def test_a_renewal_that_got_no_answer_is_told_as_that_and_locks_nobody_out() -> None:
    backend = TokenBackend()
    async with oauth(backend) as client:
        await client.get("/x")
        backend.good, backend.token_trouble = "something else", MockFault.connection_lost()
        client._engine.budget._tokens = 0
        with pytest.raises(ConnectionLostError, match="no credentials could be had") as caught:
            await client.get("/x")
        assert [attempt.outcome for attempt in caught.value.attempts] == ["401"]
        backend.token_trouble = None
        assert await client.get("/x") == {"ok": True}


async def test_callers_who_share_a_failed_renewal_each_have_an_error_of_their_own() -> None:
    backend = TokenBackend()
    backend.token_trouble = MockAnswer(401, json={"detail": "no"})
    async with oauth(backend) as client:
        errors = await asyncio.gather(*(client.get(f"/{n}") for n in range(5)), return_exceptions=True)
        assert {error.path for error in errors if isinstance(error, RequestError)} == {f"/{n}" for n in range(5)}
        assert len(backend.forms) == 1


@FACES
async def test_a_provider_that_raises_is_a_credentials_error_without_its_text(blocking: bool) -> None:
    def provider() -> str:
        raise ValueError("the vault said hunter2")

    script = Script(OK)
    async with api(blocking, script, auth=BearerToken(provider)) as client:
        with pytest.raises(CredentialsError, match="ValueError") as caught:
            await value(client.get("/x"))
        assert isinstance(caught.value.__cause__, ValueError)
        assert "hunter2" not in caught.value.explain()
        assert "hunter2" not in str(client.status.current)
        assert client.status.current.state == "auth_failed"
        assert script.requests == []


@FACES
async def test_waiting_for_credentials_is_within_the_deadline(blocking: bool) -> None:
    async def provider() -> str:
        await asyncio.sleep(3600)
        return "never"

    async with api(blocking, Script(OK), auth=BearerToken(provider)) as client:
        with pytest.raises(DeadlineExceededError, match="waiting for credentials"):
            await value(client.get("/x", deadline_seconds=0.05))


async def test_a_scheme_of_one_s_own_is_anything_with_fetch() -> None:
    class Signed:
        async def fetch(self, previous: Credentials | None, token_endpoint: object) -> Credentials:
            return Credentials({"X-Signature": "s"})

    script = Script(OK)
    async with BaseAPIClient("http://b", auth=Signed(), transport=MockTransport(script)) as client:
        await client.get("/x")
    assert script.requests[0].headers["X-Signature"] == "s"


def test_auth_that_is_no_scheme_is_refused() -> None:
    with pytest.raises(PlaycallError, match="auth= takes"):
        BaseAPIClient("http://b", auth="pk_secret")  # type: ignore[arg-type]


# --- redirects --------------------------------------------------------------------------------------------------------


def to(where: str, status: int = 307) -> MockAnswer:
    return MockAnswer(status, headers={"Location": where})


@pytest.mark.parametrize(
    ("location", "then"),
    [
        ("/base/x/", "http://b/base/x/"),
        ("y", "http://b/base/y"),
        ("http://b/z?a=1", "http://b/z?a=1"),
        ("//b/z", "http://b/z"),
        ("/sp ace/é", "http://b/sp%20ace/%C3%A9"),
    ],
)
async def test_a_redirect_at_home_is_followed_with_credentials_and_headers(location: str, then: str) -> None:
    script = Script(to(location), OK)
    async with BaseAPIClient("http://b/base", auth=ApiKey("k"), transport=MockTransport(script)) as client:
        await client.get("/x", headers={"X-Mine": "m"})
    assert script.requests[1].url == then
    assert script.requests[1].headers["X-API-Key"] == "k"
    assert script.requests[1].headers["X-Mine"] == "m"


@pytest.mark.parametrize(
    "location", ["http://evil/x", "http://b.evil/x", "http://b:81/x", "https://b/x", "//evil/x", "http://B.evil/base/x"]
)
async def test_nothing_secret_goes_to_another_origin(location: str) -> None:
    script = Script(to(location), OK)
    async with BaseAPIClient("http://b", auth=ApiKey("k"), transport=MockTransport(script)) as client:
        await client.get("/x", headers={"Authorization": "mine", "Cookie": "c", "X-Other": "o", "Accept": "text/plain"})
    headers = script.requests[1].headers
    assert not {"X-API-Key", "Authorization", "Cookie", "X-Other"} & set(headers)
    assert headers["Accept"] == "text/plain"


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("get", to("ftp://b/x")),
        ("get", to("javascript:alert(1)")),
        ("get", to("http://[::1/x")),
        ("get", to("http://b:port/x")),
        ("get", to("http://me:pw@b/x")),
        ("get", to("/\udcff")),
        ("post", to("http://evil/x")),
        ("post", to("/y", 302)),
        ("post", to("/y", 303)),
        ("put", to("/y", 301)),
    ],
    ids=lambda value: value.headers["Location"][:20] if isinstance(value, MockAnswer) else value,
)
async def test_a_redirect_that_may_not_be_followed_is_refused_and_the_backend_is_not_offline(
    verb: str, reply: MockAnswer
) -> None:
    script = Script(reply, OK)
    async with BaseAPIClient("http://b", transport=MockTransport(script), idempotency_keys=True) as client:
        with pytest.raises(RedirectRefusedError, match="redirected") as caught:
            await getattr(client, verb)("/x")
        assert "pw" not in caught.value.explain()
        # 301 to 303 may lead to what was done; 307 and 308 say that it was not.
        assert caught.value.may_have_happened is (verb != "get" and reply.status not in (307, 308))
        assert client.status.current.state == "online"
    assert len(script.requests) == 1


async def test_a_redirect_away_from_https_is_refused() -> None:
    async with BaseAPIClient("https://b", transport=MockTransport(Script(to("http://b/x"), OK))) as client:
        with pytest.raises(RedirectRefusedError, match="away from https"):
            await client.get("/x")


async def test_a_write_follows_a_307_at_home_with_its_body_and_key() -> None:
    script = Script(to("/x/", 308), OK)
    async with BaseAPIClient("http://b", transport=MockTransport(script), idempotency_keys=True) as client:
        await client.post("/x", json={"a": 1})
    assert [r.json() for r in script.requests] == [{"a": 1}, {"a": 1}]
    assert len(keys(script.requests)) == 1


async def test_a_redirect_in_circles_ends() -> None:
    script = Script(to("/x"))
    async with BaseAPIClient("http://b", transport=MockTransport(script)) as client:
        with pytest.raises(RedirectRefusedError, match="more than 5"):
            await client.get("/x")
    assert len(script.requests) == 6


# --- streams ----------------------------------------------------------------------------------------------------------


async def test_a_stream_gives_its_body_its_headers_and_its_timeline() -> None:
    script = Script(MockAnswer(503), MockAnswer(body=b"abc" * 100, headers={"X-A": "1"}))
    async with BaseAPIClient("http://b", transport=MockTransport(script, chunk_bytes=7), retry=FAST) as client:
        async with client.stream("GET", "/x") as incoming:
            assert (incoming.status, incoming.headers["x-a"]) == (200, "1")
            assert len(incoming.timeline.attempts) == 2
            assert b"".join([chunk async for chunk in incoming.chunks()]) == b"abc" * 100
        async with client.stream("GET", "/x") as incoming:
            assert await incoming.read() == b"abc" * 100
        assert client.status.current.state == "online"
        assert client.status.current.in_flight == 0


async def test_a_stream_that_breaks_off_raises_our_error_where_it_is_read() -> None:
    script = Script(MockAnswer(body=b"x" * 100, breaks_after=50))
    async with BaseAPIClient("http://b", transport=MockTransport(script, chunk_bytes=10)) as client:
        got = b""

        async def use(incoming: IncomingBody) -> None:
            nonlocal got
            async for chunk in incoming.chunks():
                got += chunk

        async with client.stream("GET", "/x") as incoming:
            with pytest.raises(ConnectionLostError, match="broke off"):
                await use(incoming)
        assert got == b"x" * 50
        assert len(script.requests) == 1
        assert client.status.current.state == "offline"
        with pytest.raises(ConnectionLostError) as caught:
            async with client.stream("GET", "/x") as incoming:
                await incoming.read()
        assert "part of the body" in caught.value.explain()


@pytest.mark.parametrize("kind", [ValueError, TimeoutError, MockFault.connection_lost, KeyError])
async def test_what_the_user_s_block_raises_passes_through_untouched(kind: Callable[[], Exception]) -> None:
    error = kind()
    async with BaseAPIClient("http://b", transport=MockTransport(Script(OK))) as client:
        with pytest.raises(type(error)) as caught:
            async with client.stream("GET", "/x"):
                raise error
        assert caught.value is error
        assert client.status.current.last_error is None


async def test_the_deadline_bounds_the_use_of_the_body_too() -> None:
    async with BaseAPIClient("http://b", transport=MockTransport(Script(OK))) as client:
        with pytest.raises(DeadlineExceededError, match="its body was being used"):
            async with client.stream("GET", "/x", deadline_seconds=0.03):
                await asyncio.sleep(3600)


async def test_a_refused_stream_is_its_error() -> None:
    async with BaseAPIClient(
        "http://b", transport=MockTransport(Script(MockAnswer(404, json={"detail": "no"})))
    ) as client:
        with pytest.raises(NotFoundError, match="no"):
            async with client.stream("GET", "/x"):
                pytest.fail("there is nothing to read")


async def test_not_modified_is_an_answer() -> None:
    async with BaseAPIClient("http://b", transport=MockTransport(Script(MockAnswer(304)))) as client:
        answer = await client.answer("GET", "/x", headers={"If-None-Match": '"3"'})
        assert answer.status == 304
        async with client.stream("GET", "/x") as incoming:
            assert incoming.status == 304


# --- the client's life ------------------------------------------------------------------------------------------------


@FACES
async def test_use_after_close_is_an_error_and_closing_twice_is_none(blocking: bool) -> None:
    async with api(blocking, Script(OK)) as client:
        await value(client.close())
        await value(client.close())
        with pytest.raises(ClientClosedError, match="closed"):
            await value(client.get("/x"))
        assert client.status.current.state == "closed"
        assert client.engine.transport.closed


async def test_closing_under_a_retried_call_ends_it() -> None:
    async with BaseAPIClient("http://b", transport=MockTransport(Script(MockFault.not_sent()))) as client:
        call = asyncio.create_task(client.get("/x", retry=RetryPolicy(attempts=99, initial_seconds=0.05, budget=None)))
        await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(ClientClosedError):
            await asyncio.wait_for(call, 2)


async def test_cancelling_a_call_gives_its_slot_back() -> None:
    async with BaseAPIClient("http://b", transport=MockTransport(forever), max_concurrency=1) as client:
        for _ in range(3):
            call: asyncio.Task[Any] = asyncio.create_task(_get(client))
            await asyncio.sleep(0.005)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert call.cancelled()
            assert client.engine.limiter.in_flight == 0


def _get(client: BaseAPIClient) -> Any:
    made: Awaitable[Any] = client.get("/x")
    return made


@pytest.mark.parametrize(
    ("status", "state"), [(404, "online"), (500, "degraded"), (429, "degraded"), (401, "auth_failed"), (200, "online")]
)
async def test_answers_feed_the_status(status: int, state: str) -> None:
    script = Script(MockAnswer(status, json={}))
    async with BaseAPIClient("http://b", transport=MockTransport(script), retry=RetryPolicy(attempts=1)) as client:
        try:
            await client.get("/x")
        except StatusError:
            pass
        assert client.status.current.state == state


async def test_each_attempt_counts_once() -> None:
    async with BaseAPIClient(
        "http://b", transport=MockTransport(Script(MockFault.connection_lost())), retry=FAST
    ) as client:
        with pytest.raises(ConnectionLostError):
            await client.get("/x")
        assert list(client.engine.status._outcomes) == [False] * 4


async def test_a_stream_is_heard_at_its_headers_and_not_only_at_its_end() -> None:
    async with api(False, lambda r: MockAnswer(json=[1])) as client:
        async with client.stream("GET", "/x"):
            assert client.status.current.state == "online"
            assert client.status.current.success_rate == 1
        assert client.status.current.success_rate == 1


async def pieces() -> AsyncIterator[bytes]:
    yield b"abc"


async def test_a_body_that_was_read_is_not_sent_empty_after_a_redirect() -> None:
    script = Script(to("/f/"), OK)
    async with BaseAPIClient("http://b", transport=MockTransport(script), idempotency_keys=True) as client:
        with pytest.raises(RedirectRefusedError, match="came from an iterator, and was read"):
            await client.put("/f", content=pieces())
        assert [request.body for request in script.requests] == [b"abc"]


async def test_a_body_that_was_read_is_not_sent_empty_after_a_renewal() -> None:
    script = Script(MockAnswer(401), OK)
    tokens = iter(["a", "b"])
    auth = BearerToken(lambda: next(tokens))
    async with BaseAPIClient("http://b", transport=MockTransport(script), auth=auth) as client:
        with pytest.raises(AuthenticationError):
            await client.put("/f", content=pieces())
        assert [request.body for request in script.requests] == [b"abc"]


@pytest.mark.parametrize("options", [{"json": {"card": "4111"}}, {"content": b"4111"}])
async def test_a_body_follows_no_redirect_to_another_origin_whatever_the_method(options: dict[str, Any]) -> None:
    script = Script(to("http://evil.test/x", 302), OK)
    async with BaseAPIClient("http://b", transport=MockTransport(script)) as client:
        with pytest.raises(RedirectRefusedError):
            await client.answer("GET", "/x", **options)
        assert len(script.requests) == 1


def test_a_call_shows_nothing_of_what_it_carries() -> None:
    settings = BaseAPIClient("http://b", transport=MockTransport(lambda r: OK)).settings
    call = settings.call(
        "POST", "/x", {"json": {"a": "s3cr3t"}, "headers": {"Cookie": "s3cr3t"}, "params": {"q": "s3cr3t"}}
    )
    assert "s3cr3t" not in repr(call)


async def test_a_slow_user_of_a_stream_is_no_silence_of_the_backend() -> None:
    async with BaseAPIClient("http://b", transport=MockTransport(lambda r: MockAnswer(body=b"abc"))) as client:

        async def use_slowly() -> None:
            async with client.stream("GET", "/x", deadline_seconds=0.05) as incoming:
                async for _ in incoming.chunks():
                    await asyncio.sleep(3600)

        with pytest.raises(DeadlineExceededError, match="its body was being used"):
            await use_slowly()
        assert client.status.current.state == "online"


async def test_an_answer_in_progress_costs_no_attempt_of_a_later_failure() -> None:
    wait = MockAnswer(409, json={"code": "idempotency_in_progress"}, headers={"Retry-After-Ms": "1"})
    script = Script(wait, wait, wait, MockFault.connection_lost(), OK)
    policy = RetryPolicy(attempts=2, initial_seconds=0)
    async with BaseAPIClient(
        "http://b", transport=MockTransport(script), idempotency_keys=True, retry=policy
    ) as client:
        await client.post("/x", json={})
    assert len(script.requests) == 5


async def test_probes_meet_the_hooks_too() -> None:
    seen: list[str] = []
    hooks = [lambda start: seen.append(start.template)]
    async with BaseAPIClient("http://b", transport=MockTransport(lambda r: OK), hooks=hooks) as client:
        await client.status.wait_until_ready(1)
    assert seen == ["/health"]


async def test_a_list_repeats_its_name_in_the_query() -> None:
    transport = MockTransport(lambda r: OK)
    async with BaseAPIClient("http://b", transport=transport) as client:
        await client.get("/x", params={"tags": ["a b", None, 3], "flag": (True,), "none": None, "empty": []})
    assert transport.requests[0].url == "http://b/x?tags=a+b&tags=3&flag=true"


async def test_a_refusal_at_another_origin_says_nothing_of_our_credentials() -> None:
    script = Script(to("http://other.test/x", 302), MockAnswer(401))
    async with BaseAPIClient("http://b", auth=ApiKey("k"), transport=MockTransport(script)) as client:
        with pytest.raises(AuthenticationError):
            await client.get("/x")
        assert client.status.current.state != "auth_failed"


@pytest.mark.parametrize("way", ["chunks", "read"])
async def test_a_backend_that_falls_silent_in_a_body_is_silent_and_not_its_user_slow(way: str) -> None:
    act = silence(head(200, {"Content-Length": "100"}) + b"x" * 10)

    async def read(client: BaseAPIClient) -> None:
        async with client.stream("GET", "/x", deadline_seconds=0.2) as incoming:
            if way == "read":
                await incoming.read()
            else:
                async for _ in incoming.chunks():
                    pass

    async with MisbehavingServer(lambda r: act) as server, BaseAPIClient(server.url) as client:
        with pytest.raises(DeadlineExceededError, match="reading the body"):
            await read(client)
        assert client.status.current.state == "offline"


async def test_closing_ends_a_pause_at_once_its_own_and_the_shared_one() -> None:
    asked = asyncio.Event()

    def busy(request: MockRequest) -> MockAnswer:
        asked.set()
        return MockAnswer(503, headers={"Retry-After": "3600"})

    client = BaseAPIClient("http://b", transport=MockTransport(busy), deadline_seconds=None)
    calls = [asyncio.create_task(client.get("/x"))]
    await asked.wait()
    calls.append(asyncio.create_task(client.get("/y")))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await client.close()
        for call in calls:
            with pytest.raises(ClientClosedError):
                await call
