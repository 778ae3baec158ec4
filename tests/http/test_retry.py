"""The retry decision, as data and as properties."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall.errors import ConfigurationError
from playcall.http.retry import (
    IN_PROGRESS_CODE,
    IN_PROGRESS_PAUSE_SECONDS,
    Decision,
    Failure,
    FailureKind,
    RetryPolicy,
    decide,
)
from playcall.http.retry_after import retry_after_seconds
from playcall.http.retry_budget import RetryBudget

NOT_SENT = Failure(FailureKind.NOT_SENT)
LOST = Failure(FailureKind.LOST)
TIMEOUT = Failure(FailureKind.TIMEOUT)
IN_PROGRESS = Failure(FailureKind.STATUS, 409, IN_PROGRESS_CODE)
POLICY = RetryPolicy(attempts=3, initial_seconds=1, max_seconds=5)


def status(number: int, *, code: str | None = None, after: float | None = None) -> Failure:
    return Failure(FailureKind.STATUS, number, code, after)


def judge(
    failure: Failure,
    *,
    attempt: int = 1,
    policy: RetryPolicy = POLICY,
    repeatable: bool = True,
    left_seconds: float = 60.0,
    budget_left: bool = True,
    random: float = 0.5,
) -> Decision:
    return decide(
        failure,
        attempt=attempt,
        policy=policy,
        repeatable=repeatable,
        left_seconds=left_seconds,
        budget_left=budget_left,
        random=lambda: random,
    )


@pytest.mark.parametrize(
    ("failure", "repeatable", "retried"),
    [
        (NOT_SENT, True, True),
        (NOT_SENT, False, True),  # nothing was sent, so nothing can have happened
        (LOST, True, True),
        (LOST, False, False),
        (TIMEOUT, True, True),
        (TIMEOUT, False, False),
        (status(503), True, True),
        (status(503), False, False),
        (status(400), True, False),
        (status(401), True, False),
        (status(404), True, False),
        (status(409), True, False),
        (IN_PROGRESS, True, True),
        (IN_PROGRESS, False, False),  # somebody else's key at a far end that we were not told honours them
        *((status(number), True, True) for number in (408, 425, 429, 500, 502, 503, 504)),
        (status(501), True, False),
    ],
    ids=str,
)
def test_what_failed_and_whether_a_repeat_is_safe_decide(failure: Failure, repeatable: bool, retried: bool) -> None:
    assert (judge(failure, repeatable=repeatable).delay_seconds is not None) is retried


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (400, 5.0)],
)
def test_backoff_is_full_jitter_doubled_and_capped(attempt: int, ceiling: float) -> None:
    policy = RetryPolicy(attempts=1000, initial_seconds=1, max_seconds=5)
    assert judge(LOST, attempt=attempt, policy=policy, random=0.0).delay_seconds == 0
    assert judge(LOST, attempt=attempt, policy=policy, random=0.5).delay_seconds == ceiling / 2


def test_the_last_attempt_is_the_last() -> None:
    assert judge(LOST, attempt=2).delay_seconds is not None
    given_up = judge(LOST, attempt=3)
    assert given_up.delay_seconds is None
    assert "3 of 3" in given_up.reason


def test_retry_after_wins_over_backoff() -> None:
    assert judge(status(429, after=7.0), random=0.0).delay_seconds == 7.0


def test_a_retry_after_beyond_the_deadline_stops_at_once_and_says_so() -> None:
    decision = judge(status(503, after=60.0), left_seconds=5)
    assert decision.delay_seconds is None
    assert "60 s" in decision.reason
    assert "past the deadline" in decision.reason


def test_an_answer_in_progress_is_asked_for_beyond_attempts_and_budget_but_never_in_a_hot_loop() -> None:
    decision = judge(status(409, code=IN_PROGRESS_CODE, after=0.0), attempt=99, budget_left=False)
    assert decision.delay_seconds == IN_PROGRESS_PAUSE_SECONDS


def test_without_budget_nothing_is_retried() -> None:
    assert judge(LOST, budget_left=False) == Decision(None, "give up: the client's retry budget is used up")


def test_the_predicate_can_forbid_but_not_allow() -> None:
    never = RetryPolicy(predicate=lambda failure, attempt: False)
    always = RetryPolicy(predicate=lambda failure, attempt: True)
    assert judge(LOST, policy=never).delay_seconds is None
    assert judge(LOST, policy=always, repeatable=False).delay_seconds is None


def test_the_policy_s_own_statuses_count() -> None:
    policy = RetryPolicy(statuses=frozenset({418}))
    assert judge(status(418), policy=policy).delay_seconds is not None
    assert judge(status(503), policy=policy).delay_seconds is None


failures = st.builds(
    Failure,
    st.sampled_from(FailureKind),
    st.sampled_from([200, 400, 404, 408, 409, 429, 500, 503]),
    st.sampled_from([None, "x", IN_PROGRESS_CODE]),
    st.none() | st.floats(0, 1e9),
)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 8),
    initial_seconds=st.floats(0, 100),
    max_seconds=st.floats(0, 1000),
)


@given(
    failure=failures,
    policy=policies,
    attempt=st.integers(1, 100),
    repeatable=st.booleans(),
    left=st.floats(-10, 1e6) | st.just(math.inf),
    budget=st.booleans(),
    random=st.floats(0, 1, exclude_max=True),
)
def test_never_past_the_deadline_never_an_unsafe_repeat_never_more_than_the_attempts(
    failure: Failure, policy: RetryPolicy, attempt: int, repeatable: bool, left: float, budget: bool, random: float
) -> None:
    decision = judge(
        failure,
        attempt=attempt,
        policy=policy,
        repeatable=repeatable,
        left_seconds=left,
        budget_left=budget,
        random=random,
    )
    if decision.delay_seconds is None:
        assert decision.reason.startswith("give up")
        return
    assert 0 <= decision.delay_seconds < left
    assert repeatable or failure.kind is FailureKind.NOT_SENT
    assert failure.in_progress or (attempt < policy.attempts and budget)
    if failure.kind is FailureKind.STATUS:
        assert failure.in_progress or failure.status in policy.statuses


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"initial_seconds": -0.1},
        {"max_seconds": -1},
        {"initial_seconds": math.nan},
        {"max_seconds": math.inf},
        {"budget": -1},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        RetryPolicy(**settings)  # type: ignore[arg-type]


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": " 3 "}, 3.0),
        ({"Retry-After-Ms": "250"}, 0.25),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After-Ms": "soon", "Retry-After": "9"}, 9.0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30.0),
        ({"Retry-After": "Wed, 31 Dec 2025 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "tomorrow"}, None),
        ({"Retry-After": "1e400"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Thu, 99 Jan 2026 00:00:30 GMT"}, None),
    ],
    ids=str,
)
def test_retry_after_in_every_form_and_garbage_counts_as_not_there(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_raises_or_is_negative(text: str) -> None:
    seconds = retry_after_seconds({"Retry-After": text, "Retry-After-Ms": text}, NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)))  # noqa: DTZ001
def test_a_date_is_read_as_what_is_left_until_it(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    header = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after_seconds({"Retry-After": header}, NOW) == max(0.0, (moment - NOW) / timedelta(seconds=1))


def test_a_budget_is_spent_by_retries_and_earned_back_by_tenths() -> None:
    budget = RetryBudget(2)
    assert [budget.take(), budget.take(), budget.take()] == [True, True, False]
    for _ in range(9):
        budget.earn()
    assert not budget.take()
    for _ in range(2):
        budget.earn()
    assert budget.take()


def test_a_budget_never_holds_more_than_its_capacity() -> None:
    budget = RetryBudget(1)
    for _ in range(100):
        budget.earn()
    assert budget.tokens == 1


@given(capacity=st.integers(0, 6), acts=st.lists(st.sampled_from(["take", "earn"]), max_size=300))
def test_no_history_spends_more_than_the_capacity_and_a_tenth_of_what_succeeded(capacity: int, acts: list[str]) -> None:
    budget = RetryBudget(capacity)
    taken = earned = 0
    for act in acts:
        if act == "earn":
            budget.earn()
            earned += 1
        else:
            had = budget.tokens
            granted = budget.take()
            assert granted is (had >= 1)
            taken += granted
        assert 0 <= budget.tokens <= capacity
        assert taken <= capacity + 0.1 * earned + 1e-9


def test_no_capacity_is_no_limit_and_zero_is_never() -> None:
    unlimited = RetryBudget(None)
    unlimited.earn()
    assert all(unlimited.take() for _ in range(1000))
    assert unlimited.tokens == math.inf
    assert not RetryBudget(0).take()
