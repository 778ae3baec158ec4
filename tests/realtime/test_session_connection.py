"""Rules 6 to 9 of the contract's client half: liveness, reconnection, closes and refusals, tokens."""

from __future__ import annotations

import pytest

from playcall.errors import (
    ClientClosedError,
    RealtimeAuthError,
    RealtimeConnectError,
    RealtimeError,
    RealtimeProtocolError,
)
from playcall.models.cursor import Cursor
from playcall.realtime import schedule
from playcall.realtime.codec import UnreadableFrameError
from playcall.realtime.effects import CheckIdentity, Connect, Disconnect, Moved, RefreshToken, RenewCredentials
from playcall.realtime.states import ConnectionState

from .talk import Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()


def ready(talk: Talk, **welcome: object) -> None:
    talk.subscribe()
    talk.welcome(**welcome)
    talk.forget()


def attempts_within(talk: Talk, seconds: float, fail: object) -> list[float]:
    """When connections are attempted, if each meets `fail` at once."""
    assert callable(fail)
    end = talk.now + seconds
    moments: list[float] = []
    while talk.now <= end and len(moments) < 100:
        if talk.session.state is ConnectionState.CONNECTING:
            moments.append(talk.now)
            fail()
        elif talk.session.next_timer > end:
            break
        else:
            talk.end_pause()
    return moments


# --- the states -------------------------------------------------------------------------------------------------------


def test_it_connects_when_something_is_wanted_and_says_hello_without_a_token(talk: Talk) -> None:
    assert talk.session.state is ConnectionState.IDLE
    talk.subscribe()
    assert talk.connects == 1
    assert talk.session.state is ConnectionState.CONNECTING
    talk.session.opened(talk.now)
    assert talk.session.state is ConnectionState.AUTHENTICATING
    assert talk.sent("hello") == [{"op": "hello", "v": 1, "client": "test"}]
    assert talk.sent("subscribe") == []
    talk.frame(
        {"op": "welcome", "v": 1, "connection_id": "c9", "heartbeat_seconds": 15, "max_frame_bytes": 9, "new": True}
    )
    assert talk.session.state is ConnectionState.READY
    assert len(talk.sent("subscribe")) == 1
    assert (talk.session.connection_id, talk.session.max_frame_bytes) == ("c9", 9)


def test_each_transition_is_told_once_with_its_reason(talk: Talk) -> None:
    ready(talk)
    talk.session.lost(talk.now, "the cable was cut")
    moves = [(str(move.change.old), str(move.change.new), move.change.why) for move in talk.all(Moved)]
    assert moves == [
        ("ready", "backoff", "the cable was cut"),
        ("backoff", "connecting", "at once, the first time"),
    ]


def test_a_connection_that_nobody_wants_is_not_made_again(talk: Talk) -> None:
    key, _ = talk.live()
    talk.session.unsubscribe(key)
    talk.session.lost(talk.now, "cut")
    assert talk.session.state is ConnectionState.IDLE
    assert talk.session.next_timer == float("inf")
    talk.subscribe()
    assert talk.session.state is ConnectionState.CONNECTING


def test_withdrawing_the_last_wish_ends_the_waiting(talk: Talk) -> None:
    key = talk.subscribe()
    talk.session.lost(talk.now, "no")
    talk.session.lost(talk.now, "no")
    assert talk.session.state is ConnectionState.BACKOFF
    talk.session.unsubscribe(key)
    assert talk.session.state is ConnectionState.IDLE
    talk.session.tick(talk.now + 100)
    assert talk.session.state is ConnectionState.IDLE


def test_close_ends_every_subscription_and_closes_the_connection(talk: Talk) -> None:
    ready(talk)
    talk.session.close()
    assert isinstance(talk.ends[0].error, ClientClosedError)
    assert talk.all(Disconnect)[0].code == 1000
    assert talk.session.state is ConnectionState.CLOSING
    talk.session.lost(talk.now, "late")
    talk.frame({"op": "ping", "n": 1})
    assert talk.sent("pong") == []
    talk.session.finished()
    talk.session.close()
    assert talk.session.state is ConnectionState.CLOSED
    with pytest.raises(ClientClosedError):
        talk.subscribe()


def test_a_failed_session_tries_anew_for_a_new_subscription(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 404)
    assert talk.session.state is ConnectionState.FAILED
    talk.subscribe()
    assert talk.session.state is ConnectionState.CONNECTING


# --- liveness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("heartbeat", "dead_after"), [(15, 25), (1, 3), (5, 15), (60, 70)])
def test_silence_for_a_heartbeat_and_a_grace_means_dead(talk: Talk, heartbeat: float, dead_after: float) -> None:
    ready(talk, heartbeat_seconds=heartbeat)
    talk.pass_time(dead_after - 0.01)
    assert talk.all(Disconnect) == []
    talk.pass_time(0.02)
    assert len(talk.all(Disconnect)) == 1
    assert talk.session.state is ConnectionState.CONNECTING


def test_any_frame_counts_as_life(talk: Talk) -> None:
    ready(talk)
    for _ in range(10):
        talk.pass_time(20)
        talk.frame({"op": "something_new"})
    assert talk.all(Disconnect) == []


def test_it_pings_each_heartbeat_and_measures_the_round_trip(talk: Talk) -> None:
    ready(talk, heartbeat_seconds=10)
    talk.pass_time(10)
    (ping,) = talk.sent("ping")
    talk.now += 0.25
    talk.frame({"op": "pong", "n": ping["n"] + 7})
    assert talk.session.latency_seconds is None
    talk.frame({"op": "pong", "n": ping["n"]})
    assert talk.session.latency_seconds == pytest.approx(0.25)


@pytest.mark.parametrize("opened", [False, True])
def test_a_handshake_that_hangs_is_given_up_after_ten_seconds(talk: Talk, opened: bool) -> None:
    talk.subscribe()
    if opened:
        talk.session.opened(talk.now)
    talk.pass_time(9.9)
    assert talk.all(Disconnect) == []
    talk.pass_time(0.2)
    assert len(talk.all(Disconnect)) == 1
    assert talk.connects == 2, "the next attempt has begun"


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_the_pause_is_none_at_first_then_between_half_and_the_whole_of_a_doubling_cap() -> None:
    caps = [0, 0.5, 1, 2, 4, 8, 16, 20, 20]
    assert [schedule.delay_seconds(n, lambda: 0.0) for n in range(9)] == [cap / 2 for cap in caps]
    assert [schedule.delay_seconds(n, lambda: 1.0) for n in range(9)] == caps
    assert schedule.delay_seconds(10_000, lambda: 1.0) == 20


@pytest.mark.parametrize("random", [0.0, 0.5, 0.999])
def test_a_server_that_accepts_and_closes_at_once_sees_at_most_eight_attempts_in_ten_seconds(random: float) -> None:
    talk = Talk(random)
    talk.subscribe()

    def accept_then_close() -> None:
        talk.welcome()
        talk.session.closed(talk.now, 1001)

    moments = attempts_within(talk, 10, accept_then_close)
    assert 5 <= len(moments) <= 8
    assert moments[1] == moments[0], "the first time at once"


def test_a_handshake_does_not_reset_the_schedule_ten_seconds_of_ready_do(talk: Talk) -> None:
    ready(talk)
    for _ in range(4):
        talk.session.lost(talk.now, "cut")
        talk.pass_time(9)
        talk.welcome()
    talk.pass_time(9.9)
    talk.session.lost(talk.now, "cut")
    assert talk.session.state is ConnectionState.BACKOFF
    talk.pass_time(20)
    talk.welcome()
    talk.pass_time(10)
    talk.session.lost(talk.now, "cut")
    assert talk.session.state is ConnectionState.CONNECTING


def test_reconnects_are_counted_from_the_second_ready_on(talk: Talk) -> None:
    ready(talk)
    assert talk.session.reconnects == 0
    talk.session.lost(talk.now, "cut")
    talk.welcome()
    assert (talk.session.reconnects, talk.session.attempts) == (1, 2)


def _in_a_long_pause(talk: Talk, *, reached: bool) -> None:
    ready(talk)
    for _ in range(5):
        talk.session.lost(talk.now, "no", reached=reached)
        talk.end_pause()
    talk.session.lost(talk.now, "no", reached=reached)
    talk.forget()


def test_a_success_over_http_ends_a_pause_that_waits_for_the_server_but_not_twice_a_second(talk: Talk) -> None:
    _in_a_long_pause(talk, reached=False)
    talk.session.wake(talk.now)
    assert talk.connects == 1
    talk.session.lost(talk.now, "no", reached=False)
    talk.session.wake(talk.now + 0.5)
    assert talk.connects == 1
    talk.session.wake(talk.now + 1.5)
    assert talk.connects == 2


def test_a_success_over_http_does_not_hurry_a_server_that_was_there_and_cut_us_off(talk: Talk) -> None:
    _in_a_long_pause(talk, reached=True)
    talk.session.wake(talk.now)
    assert talk.connects == 0


# --- goodbye ----------------------------------------------------------------------------------------------------------


def test_goodbye_keeps_the_connection_until_its_moment_in_the_spread_then_moves(talk: Talk) -> None:
    ready(talk)
    talk.frame({"op": "goodbye", "reason": "draining", "reconnect_after_ms": 1000, "spread_ms": 8000})
    talk.pass_time(4.9)
    assert talk.all(Disconnect) == []
    talk.pass_time(0.2)
    assert len(talk.all(Disconnect)) == 1
    assert talk.connects == 1


def test_failures_before_a_connection_that_settled_do_not_count_after_a_move(talk: Talk) -> None:
    talk.subscribe()
    for _ in range(8):
        talk.session.lost(talk.now, "nothing listens there", reached=False)
        talk.end_pause()
    talk.welcome(heartbeat_seconds=100)
    talk.pass_time(11)
    talk.frame({"op": "goodbye", "reason": "draining"})
    talk.pass_time(0)
    assert talk.session.state is ConnectionState.CONNECTING
    talk.session.lost(talk.now, "nothing listens there", reached=False)
    assert talk.session.state is ConnectionState.CONNECTING, "at once, the first time"


def test_a_goodbye_to_a_connection_that_nobody_wants_ends_it(talk: Talk) -> None:
    key = talk.subscribe()
    talk.welcome()
    talk.session.unsubscribe(key)
    talk.frame({"op": "goodbye", "reason": "draining"})
    talk.pass_time(0)
    assert talk.session.state is ConnectionState.IDLE
    assert talk.connects == 1


def test_a_connection_lost_after_goodbye_waits_for_the_moment_all_the_same_and_nothing_hurries_it(talk: Talk) -> None:
    ready(talk)
    talk.frame({"op": "goodbye", "reason": "draining", "reconnect_after_ms": 0, "spread_ms": 8000})
    talk.session.lost(talk.now, "nothing was heard", reached=False)
    talk.session.wake(talk.now)
    assert talk.session.state is ConnectionState.BACKOFF
    assert talk.session.next_timer == talk.now + 4


def test_goodbye_spreads_many_clients_over_its_whole_spread() -> None:
    moments = [schedule.spread_seconds(500, 8000, lambda n=n: n / 200) for n in range(200)]
    assert min(moments) == 0.5
    assert 8.4 < max(moments) < 8.5
    busiest = max(sum(at <= moment < at + 1 for moment in moments) for at in range(9))
    assert busiest <= 30


# --- closes and refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "error"), [(4403, RealtimeAuthError), (4406, RealtimeProtocolError)])
def test_another_subject_and_another_version_are_fatal(talk: Talk, code: int, error: type[RealtimeError]) -> None:
    ready(talk)
    talk.session.closed(talk.now, code)
    assert talk.session.state is ConnectionState.FAILED
    assert type(talk.ends[0].error) is error
    assert talk.session.failure is talk.ends[0].error


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 1012, 1013, 4001, 4008, 4999])
def test_all_other_closes_reconnect_for_ever(talk: Talk, code: int) -> None:
    ready(talk)
    for _ in range(20):
        talk.session.closed(talk.now, code)
        talk.end_pause()
        assert talk.session.state is ConnectionState.CONNECTING
        talk.session.opened(talk.now)


SUSPECT_CODES = pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010])


@SUSPECT_CODES
@pytest.mark.parametrize("ready_between", [False, True])
def test_closes_that_smell_of_a_broken_contract_are_fatal_after_three_without_progress(
    talk: Talk, code: int, ready_between: bool
) -> None:
    talk.subscribe()
    for n in range(3):
        assert talk.session.state is not ConnectionState.FAILED, n
        talk.end_pause()
        talk.session.opened(talk.now)
        if ready_between:
            talk.welcome()
        talk.session.closed(talk.now, code)
    assert talk.session.state is ConnectionState.FAILED
    assert isinstance(talk.session.failure, RealtimeProtocolError)


@SUSPECT_CODES
@pytest.mark.parametrize("settle", [False, True])
def test_events_between_such_closes_or_ten_seconds_of_ready_let_it_go_on(talk: Talk, code: int, settle: bool) -> None:
    talk.subscribe()
    for n in range(6):
        talk.end_pause()
        talk.welcome()
        talk.subscribed(talk.sid, seq=n)
        if settle:
            talk.pass_time(10)
        else:
            talk.events(talk.sid, n, n + 1)
        talk.session.closed(talk.now, code)
        assert talk.session.failure is None, n


def test_an_end_that_nobody_can_be_blamed_for_ends_only_what_was_owed_events_and_got_none(talk: Talk) -> None:
    stuck = talk.subscribe("runs", start=Cursor("e1", 0))
    talk.subscribe("tasks", start=Cursor("e1", 0))
    for n in range(3):
        assert talk.ends == []
        talk.end_pause()
        talk.welcome()
        talk.subscribed(talk.sid_of("runs"), head=7)
        talk.subscribed(talk.sid_of("tasks"), seq=n, head=n + 1)
        talk.events(talk.sid_of("tasks"), n, n + 1)
        talk.session.closed(talk.now, 1009)
    assert [end.key for end in talk.ends] == [stuck]
    assert isinstance(talk.ends[0].error, RealtimeProtocolError)
    assert talk.session.failure is None


def test_a_frame_that_cannot_be_read_three_times_ends_the_subscription_that_it_is_for(talk: Talk) -> None:
    stuck = talk.subscribe("runs", start=Cursor("e1", 0))
    talk.subscribe("tasks", start=Cursor("e1", 0))
    for n in range(3):
        assert talk.ends == []
        talk.end_pause()
        talk.welcome()
        talk.subscribed(talk.sid_of("runs"))
        talk.subscribed(talk.sid_of("tasks"), seq=n)
        talk.events(talk.sid_of("tasks"), n, n + 1)
        with pytest.raises(UnreadableFrameError) as unreadable:
            talk.frame(f'{{"op":"events","sid":"{talk.sid_of("runs")}","prev":0,"events":[[[[')
        talk.session.unreadable(talk.now, str(unreadable.value), sid=unreadable.value.sid)
    assert [end.key for end in talk.ends] == [stuck]
    assert isinstance(talk.ends[0].error, RealtimeProtocolError)
    assert talk.session.failure is None


def test_a_frame_that_cannot_be_read_closes_with_1002_and_counts_as_such_a_close(talk: Talk) -> None:
    talk.subscribe()
    for _ in range(3):
        talk.session.opened(talk.now)
        talk.session.unreadable(talk.now, "a frame is not JSON")
        talk.end_pause()
    assert [each.code for each in talk.all(Disconnect)] == [1002] * 3
    assert isinstance(talk.session.failure, RealtimeProtocolError)


@pytest.mark.parametrize(
    "fields", [{"heartbeat_seconds": 0}, {"heartbeat_seconds": -1}, {"heartbeat_seconds": float("inf")}, {"v": 2}]
)
def test_a_welcome_that_makes_no_sense_is_no_welcome(talk: Talk, fields: dict[str, object]) -> None:
    talk.subscribe()
    try:
        talk.welcome(**fields)
    except ValueError:
        return  # JSON has no infinity: such a frame cannot be read at all
    assert talk.session.state is not ConnectionState.READY
    assert len(talk.all(Disconnect)) == 1
    assert (talk.session.state is ConnectionState.FAILED) == ("v" in fields)


def test_a_second_welcome_is_a_broken_contract(talk: Talk) -> None:
    ready(talk)
    talk.frame({"op": "welcome", "v": 1, "connection_id": "c", "heartbeat_seconds": 1, "max_frame_bytes": 1})
    assert talk.all(Disconnect)[0].code == 1002


def test_401_on_the_upgrade_renews_the_credentials_once_then_is_fatal(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 401)
    assert len(talk.all(RenewCredentials)) == 1
    assert talk.connects == 1
    talk.session.renewed(talk.now, "new")
    assert talk.connects == 2
    talk.session.refused(talk.now, 401, None, "the key was revoked")
    assert talk.session.state is ConnectionState.FAILED
    assert isinstance(talk.ends[0].error, RealtimeAuthError)
    assert "the key was revoked" in str(talk.ends[0].error)


def test_401_without_other_credentials_is_fatal(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 401)
    talk.session.renewed(talk.now, "same")
    assert isinstance(talk.session.failure, RealtimeAuthError)
    assert talk.connects == 1


def test_a_provider_that_cannot_be_asked_is_asked_again(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 401)
    talk.session.renewed(talk.now, "failed")
    talk.pass_time(1)
    assert talk.connects == 2
    talk.session.refused(talk.now, 401)
    assert len(talk.all(RenewCredentials)) == 2


def test_a_provider_that_hangs_does_not_stop_the_client(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 401)
    talk.pass_time(31)
    assert talk.connects == 2
    talk.session.renewed(talk.now, "same")
    assert talk.session.state is ConnectionState.CONNECTING, "an answer that comes too late is none"


def test_4401_renews_once_for_each_ready_and_a_server_that_does_it_always_is_not_stormed(talk: Talk) -> None:
    ready(talk)

    def welcome_then_4401() -> None:
        talk.welcome()
        talk.session.closed(talk.now, 4401)
        talk.session.renewed(talk.now, "new")

    talk.session.lost(talk.now, "cut")
    assert len(attempts_within(talk, 10, welcome_then_4401)) <= 8
    assert talk.session.state is ConnectionState.BACKOFF


def test_no_credentials_are_fatal_when_the_provider_is_sure_and_retried_when_not(talk: Talk) -> None:
    talk.subscribe()
    talk.session.no_credentials(talk.now, "the token endpoint is down", refused=False)
    assert talk.connects == 2
    talk.session.no_credentials(talk.now, "wrong password", refused=True)
    assert isinstance(talk.ends[0].error, RealtimeAuthError)


def test_403_on_the_upgrade_asks_who_the_caller_is(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 403)
    assert len(talk.all(CheckIdentity)) == 1
    assert talk.session.state is ConnectionState.BACKOFF
    talk.session.identity(talk.now, None)
    assert talk.session.state is ConnectionState.BACKOFF
    talk.session.identity(talk.now, "refused")
    assert isinstance(talk.session.failure, RealtimeAuthError)


def test_403_where_http_asks_for_newer_credentials_renews_them_once(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 403)
    talk.session.identity(talk.now, "expired")
    assert talk.all(RenewCredentials)
    talk.session.renewed(talk.now, "new")
    talk.end_pause()
    talk.session.refused(talk.now, 403)
    talk.session.identity(talk.now, "expired")
    assert isinstance(talk.session.failure, RealtimeAuthError)


def test_403_although_http_accepts_the_credentials_means_a_blocked_path(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 403)
    talk.session.identity(talk.now, "known")
    assert type(talk.session.failure) is RealtimeConnectError


@pytest.mark.parametrize("status", [404, 405, 426, 501, 301, 307])
def test_no_websocket_here_fails_fast_at_first_and_is_tried_again_once_it_has_worked(talk: Talk, status: int) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, status)
    assert isinstance(talk.ends[0].error, RealtimeConnectError)
    talk.subscribe()
    talk.welcome()
    talk.session.lost(talk.now, "cut")
    talk.session.refused(talk.now, status)
    assert talk.session.state is ConnectionState.BACKOFF


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_is_as_told_and_a_little_spread(talk: Talk, status: int) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, status, retry_after_seconds=30)
    assert talk.session.next_timer == talk.now + 30.5
    talk.session.wake(talk.now)
    assert talk.connects == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_answer_that_says_no_is_never_asked_again_at_once(talk: Talk, status: int) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, status)
    if status in (429, 503):
        assert talk.connects == 1
    talk.pass_time(5)
    assert talk.connects >= 2
    assert talk.session.failure is None


def test_what_cannot_heal_fails_the_first_connection_at_once_but_not_a_later_one(talk: Talk) -> None:
    talk.subscribe()
    talk.session.lost(talk.now, "its TLS certificate is not trusted", reached=False, permanent=True)
    assert isinstance(talk.ends[0].error, RealtimeConnectError)
    talk.subscribe()
    talk.welcome()
    talk.session.lost(talk.now, "cut")
    talk.session.lost(talk.now, "the name cannot be resolved", reached=False, permanent=True)
    assert talk.session.state is ConnectionState.BACKOFF


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_newer_token_goes_in_band_when_a_fifth_of_the_lifetime_remains(talk: Talk) -> None:
    ready(talk, token_expires_in_seconds=100)
    for _ in range(8):
        talk.pass_time(9.99)
        talk.frame({"op": "ping", "n": 1})
    assert talk.all(RefreshToken) == []
    talk.pass_time(0.2)
    assert len(talk.all(RefreshToken)) == 1
    talk.session.token(talk.now, "newer")
    (auth,) = talk.sent("auth")
    assert auth["token"] == "newer"
    talk.frame({"op": "authenticated", "id": auth["id"] + 5, "token_expires_in_seconds": 1})
    talk.frame({"op": "authenticated", "id": auth["id"], "token_expires_in_seconds": 20})
    talk.frame({"op": "ping", "n": 1})
    talk.pass_time(14)
    assert len(talk.all(RefreshToken)) == 1
    talk.pass_time(2)
    assert len(talk.all(RefreshToken)) == 2


@pytest.mark.parametrize(("lives_seconds", "asked_after_seconds"), [(2, 1), (8, 4), (10, 5), (20, 15)])
def test_a_short_lived_token_is_renewed_with_time_to_spare(
    talk: Talk, lives_seconds: float, asked_after_seconds: float
) -> None:
    ready(talk, token_expires_in_seconds=lives_seconds)
    talk.pass_time(asked_after_seconds - 0.1)
    assert talk.all(RefreshToken) == []
    talk.pass_time(0.2)
    assert len(talk.all(RefreshToken)) == 1


def test_without_a_newer_token_it_is_asked_for_again_at_half_of_what_is_left(talk: Talk) -> None:
    ready(talk, token_expires_in_seconds=20)
    talk.pass_time(16)
    talk.session.token(talk.now, None)
    talk.pass_time(2)
    assert len(talk.all(RefreshToken)) == 2
    talk.now += 1.5
    talk.session.token(talk.now, None)
    talk.pass_time(3)
    assert len(talk.all(RefreshToken)) == 2, "too late for another"


def test_a_newer_token_that_is_refused_in_band_is_followed_by_another_before_the_old_one_expires(talk: Talk) -> None:
    ready(talk, token_expires_in_seconds=20)
    talk.pass_time(16)
    talk.session.token(talk.now, "newer")
    (auth,) = talk.sent("auth")
    talk.frame({"op": "error", "id": auth["id"], "code": "unauthenticated", "message": "", "retry": False})
    talk.pass_time(2.1)
    assert len(talk.all(RefreshToken)) == 2
    talk.session.token(talk.now, "newest")
    talk.frame({"op": "authenticated", "id": talk.sent("auth")[-1]["id"], "token_expires_in_seconds": 900})
    for _ in range(10):
        talk.pass_time(10)
        talk.frame({"op": "ping", "n": 1})
    assert talk.all(Disconnect) == []


def test_a_newer_token_that_is_never_accepted_means_a_new_connection(talk: Talk) -> None:
    ready(talk, token_expires_in_seconds=20)
    talk.pass_time(16)
    talk.session.token(talk.now, "newer")
    for _ in range(12):
        talk.pass_time(1)
        talk.frame({"op": "ping", "n": 1})
    assert len(talk.all(Disconnect)) == 1
    assert talk.session.state is ConnectionState.CONNECTING


def test_a_token_of_no_life_does_not_make_a_storm(talk: Talk) -> None:
    ready(talk)
    talk.session.token(talk.now, "t")
    for _ in range(20):
        talk.frame({"op": "authenticated", "id": talk.sent("auth")[-1]["id"], "token_expires_in_seconds": 0})
        talk.pass_time(0.05)
        if talk.all(RefreshToken):
            talk.session.token(talk.now, "t")
    assert len(talk.all(RefreshToken)) <= 10


def test_facts_that_come_too_late_change_nothing(talk: Talk) -> None:
    ready(talk)
    talk.session.renewed(talk.now, "same")
    talk.session.identity(talk.now, "refused")
    talk.session.wake(talk.now)
    assert talk.session.state is ConnectionState.READY
    talk.session.lost(talk.now, "cut")
    talk.session.token(talk.now, "late")
    talk.frame({"op": "ping", "n": 1})
    assert talk.sent("auth") == talk.sent("pong") == []
    assert talk.all(Connect)
