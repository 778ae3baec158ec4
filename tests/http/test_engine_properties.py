"""The whole engine against backends that Hypothesis makes up, on a clock that jumps: what no call may ever do."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from playcall import BaseAPIClient, BearerToken, RetryPolicy
from playcall.errors import DeadlineExceededError, RequestError
from playcall.http.retry import IN_PROGRESS_CODE, SAFE_METHODS
from playcall.testing import MockAnswer, MockFault, MockRequest, MockTransport
from playcall.testing.mock_transport import MockReply
from tests import virtual_clock

ROUNDING = 1e-6
MAX_REDIRECTS = 5
MAX_SHARED_PAUSE_SECONDS = 60

# --- what the backend does --------------------------------------------------------------------------------------------

FAULTS = {
    "not sent": MockFault.not_sent,
    "lost": MockFault.connection_lost,
    "timed out": MockFault.timed_out,
}
REDIRECTS = [301, 303, 307, 308]
STATUSES = [200, 204, *REDIRECTS, 400, 401, 404, 408, 409, 412, 425, 429, 500, 501, 502, 503, 504]
PROVES_THAT_NOTHING_HAPPENED = {"not sent", 307, 308, *(status for status in STATUSES if 400 <= status < 500)}


@dataclass(frozen=True)
class Reply:
    """What comes after `seconds`: a fault by its name, a status, or the code of an answer in progress."""

    seconds: float
    what: str | int
    retry_after_ms: int | None = None
    breaks_off: bool = False

    def make(self, path: str) -> MockReply:
        if self.what in FAULTS:
            return FAULTS[str(self.what)]()
        status = 409 if self.what == IN_PROGRESS_CODE else int(self.what)
        headers = {} if self.retry_after_ms is None else {"Retry-After-Ms": str(self.retry_after_ms)}
        if status in REDIRECTS:
            headers["Location"] = path
        return MockAnswer(
            status, json={"code": self.what}, headers=headers, breaks_after=3 if self.breaks_off else None
        )

    @property
    def outcome(self) -> str | int:
        """What the client can know of the request by it."""
        return self.what if self.what in FAULTS or not self.breaks_off else "lost"


replies = st.builds(
    Reply,
    seconds=st.sampled_from([0.0, 0.01, 0.5, 3.0, 20.0]),
    what=st.sampled_from([*FAULTS, IN_PROGRESS_CODE, *STATUSES]),
    retry_after_ms=st.none() | st.sampled_from([0, 1, 700, 5_000, 90_000]),
    breaks_off=st.integers(0, 9).map(lambda n: n == 0),
)
# Anything, or the same thing again and again: that is how limits are come to.
scripts = st.lists(replies, max_size=9) | st.builds(lambda reply, times: [reply] * times, replies, st.integers(1, 9))


# --- what the callers do ----------------------------------------------------------------------------------------------


@dataclass
class Sent:
    """One request as it reached the backend; `outcome` None when nobody waited for it.

    `order` and `ended_order` tell what came first within one instant.
    """

    at: float
    order: int
    method: str
    key: str | None
    token: str | None
    outcome: str | int | None = None
    ended_at: float = math.inf
    ended_order: int = -1


@dataclass
class Caller:
    """One call, and what became of it."""

    method: str
    starts_after: float
    deadline_seconds: float | None
    policy: RetryPolicy
    own_key: bool
    repeatable: bool | None
    script: list[Reply]
    streams: bool
    began_at: float = math.nan
    ended_at: float = math.nan
    error: RequestError | None = None
    sent: list[Sent] = field(default_factory=list)

    @property
    def ends_at(self) -> float:
        return math.inf if self.deadline_seconds is None else self.began_at + self.deadline_seconds


policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 6),
    initial_seconds=st.sampled_from([0.0, 0.25, 4.0]),
    max_seconds=st.sampled_from([0.0, 1.0, 30.0]),
    budget=st.none() | st.integers(0, 3),
)
callers = st.builds(
    Caller,
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    starts_after=st.sampled_from([0.0, 0.005, 0.3, 6.0]),
    deadline_seconds=st.none() | st.sampled_from([0.005, 0.5, 2.0, 10.0, 100.0]),
    policy=policies,
    own_key=st.booleans(),
    repeatable=st.none() | st.booleans(),
    script=scripts,
    streams=st.booleans(),
)


@dataclass
class World:
    """One client, its callers, and a backend that does what their scripts say, and 200 after that."""

    callers: list[Caller]
    keys: bool
    slots: int
    budget: int | None
    renewable: bool
    most_at_once: int = 0
    at_once: int = 0
    left_in_flight: int = -1
    order: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> None:
        virtual_clock.run(self._all())

    async def _all(self) -> None:
        tokens = (f"token-{number}" for number in itertools.count())

        async def provider() -> str:
            await asyncio.sleep(0.1)
            return next(tokens)

        transport = MockTransport(self._answer)
        async with BaseAPIClient(
            "http://backend.test",
            transport=transport,
            auth=BearerToken(provider) if self.renewable else None,
            idempotency_keys=self.keys,
            max_concurrency=self.slots,
            retry=RetryPolicy(budget=self.budget),
        ) as client:
            await asyncio.gather(*(self._call(client, number) for number in range(len(self.callers))))
            self.left_in_flight = client.engine.limiter.in_flight + client.engine.limiter.waiting

    async def _call(self, client: BaseAPIClient, number: int) -> None:
        caller, loop = self.callers[number], asyncio.get_running_loop()
        await asyncio.sleep(caller.starts_after)
        options: dict[str, Any] = {"deadline_seconds": caller.deadline_seconds, "retry": caller.policy}
        if caller.own_key:
            options["idempotency_key"] = f"key of {number}"
        if caller.repeatable is not None:
            options["repeatable"] = caller.repeatable
        caller.began_at = loop.time()
        try:
            if caller.streams:
                async with client.stream(caller.method, f"/{number}", **options) as incoming:
                    await incoming.read()
            else:
                await client.answer(caller.method, f"/{number}", **options)
        except RequestError as error:
            caller.error = error
        caller.ended_at = loop.time()

    async def _answer(self, request: MockRequest) -> MockReply:
        loop = asyncio.get_running_loop()
        caller = self.callers[int(request.path[1:])]
        sent = Sent(
            loop.time(),
            next(self.order),
            request.method,
            request.headers.get("Idempotency-Key"),
            request.headers.get("Authorization"),
        )
        reply = caller.script[len(caller.sent)] if len(caller.sent) < len(caller.script) else Reply(0.0, 200)
        caller.sent.append(sent)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(reply.seconds)
        finally:
            self.at_once -= 1
            sent.ended_at, sent.ended_order = loop.time(), next(self.order)
        sent.outcome = reply.outcome
        return reply.make(request.path)

    # --- what must be true --------------------------------------------------------------------------------------------

    def may_be_repeated(self, caller: Caller) -> bool:
        if caller.repeatable is not None:
            return caller.repeatable
        return caller.method in SAFE_METHODS or self.keys

    def check_time(self, caller: Caller) -> None:
        """Nothing is sent once the deadline has come, and the call is over then."""
        assert all(sent.at < caller.ends_at for sent in caller.sent)
        assert caller.ended_at <= caller.ends_at + ROUNDING

    def check_repeats(self, caller: Caller) -> None:
        """What nothing makes safe is sent again only after proof that it did not happen, under one key always."""
        told_to = REDIRECTS if caller.method in SAFE_METHODS else [307, 308]
        assert len({sent.key for sent in caller.sent}) <= 1
        if not self.may_be_repeated(caller):
            for sent in caller.sent[:-1]:
                assert sent.outcome in ("not sent", 401, *told_to), caller.sent
        for sent in caller.sent[:-1]:
            assert sent.outcome is not None, "an attempt that nobody waited for was followed by another"
            # A stream whose body breaks off has had a good answer, so its caller may have used some of it.
            assert sent.outcome not in (200, 204)

    def check_number(self, caller: Caller) -> None:
        """No more attempts than the policy allows; a redirect, a renewal or an answer in progress is none."""
        free: list[str | int | None] = [IN_PROGRESS_CODE, *REDIRECTS]
        attempts = [sent.outcome for sent in caller.sent if sent.outcome not in free]
        renewals = 1 if self.renewable and 401 in attempts[:-1] else 0
        assert len(attempts) - renewals <= caller.policy.attempts
        assert sum(sent.outcome in REDIRECTS for sent in caller.sent) <= MAX_REDIRECTS + 1
        if caller.error is not None:
            told = len(caller.error.attempts)
            # A stream tells of its good answer, and then of the body that broke off.
            assert told == len(caller.sent) or (caller.streams and told == len(caller.sent) + 1)

    def check_fate(self, caller: Caller) -> None:
        """`may_have_happened` is False only where every request provably did nothing; a safe one never changes anything."""
        if caller.error is None:
            return
        unsafe = caller.method not in SAFE_METHODS
        if any(sent.outcome not in PROVES_THAT_NOTHING_HAPPENED for sent in caller.sent):
            assert caller.error.may_have_happened is unsafe, (caller.error, caller.sent)
        else:
            assert not caller.error.may_have_happened, (caller.error, caller.sent)

    def check_budget(self) -> None:
        """Retries of all callers together, but for those whose policy lifts the limit, and where a 429 said when to come."""
        if self.budget is None:
            return
        spent = 0
        for caller in self.callers:
            if caller.policy.budget is not None:
                for place, sent in enumerate(caller.sent[:-1]):
                    reply = caller.script[place] if place < len(caller.script) else None
                    is_paced = sent.outcome == 429 and reply is not None and reply.retry_after_ms is not None
                    spent += not is_paced and sent.outcome not in (IN_PROGRESS_CODE, *REDIRECTS, 401)
        successes = sum(caller.error is None for caller in self.callers)
        assert spent <= self.budget + 0.1 * successes

    def check_pauses(self) -> None:
        """What a 429 or 503 asked for is kept by every caller."""
        everything = [sent for caller in self.callers for sent in caller.sent]
        for caller in self.callers:
            for reply, asked in zip(caller.script, caller.sent, strict=False):
                if asked.outcome in (429, 503) and reply.retry_after_ms is not None:
                    until = asked.ended_at + min(reply.retry_after_ms / 1000, MAX_SHARED_PAUSE_SECONDS)
                    later = [sent.at for sent in everything if sent.order > asked.ended_order]
                    assert all(at >= until - ROUNDING for at in later), (asked, until, later)


worlds = st.builds(
    World,
    callers=st.lists(callers, min_size=1, max_size=4),
    keys=st.booleans(),
    slots=st.integers(1, 3),
    budget=st.none() | st.integers(0, 3),
    renewable=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(worlds)
def test_no_backend_makes_a_call_break_its_word(world: World) -> None:
    world.run()  # it ends: a call that waited for ever would be told by the clock
    for caller in world.callers:
        assert math.isfinite(caller.ended_at)
        world.check_time(caller)
        world.check_repeats(caller)
        world.check_number(caller)
        event("an error" if caller.error is not None else "a value")
        event(f"{min(len(caller.sent), 4)} requests")
        if isinstance(caller.error, DeadlineExceededError):
            event("the deadline")
    world.check_budget()
    if not world.renewable:
        world.check_pauses()
    assert world.most_at_once <= world.slots
    assert world.left_in_flight == 0


@settings(max_examples=400, deadline=None)
@given(worlds)
def test_a_call_that_may_have_happened_says_so_and_no_other(world: World) -> None:
    world.run()
    for caller in world.callers:
        world.check_fate(caller)
