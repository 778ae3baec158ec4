"""Rule 8: where a WebSocket's path is blocked the session goes on by the second way, and tries the first again later."""

from __future__ import annotations

import pytest

from playcall.errors import RealtimeAuthError, RealtimeConnectError
from playcall.models.frames import Hello
from playcall.realtime.effects import CheckIdentity, Connect, Disconnect, Probe, RenewCredentials
from playcall.realtime.fallback import DOUBTS, FIRST_PROBE_SECONDS, LAST_PROBE_SECONDS
from playcall.realtime.session import Session
from playcall.realtime.states import ConnectionState

from .talk import Talk


@pytest.fixture
def talk() -> Talk:
    return Talk(fallback=True)


def ways(talk: Talk) -> list[bool]:
    """For each attempt, whether it took the second way."""
    return [effect.fallback for effect in talk.all(Connect)]


def ready(talk: Talk) -> None:
    talk.subscribe()
    talk.welcome()
    talk.forget()


def on_the_second_way(talk: Talk, status: int = 404) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, status)
    talk.welcome()
    assert talk.session.way.in_use
    talk.forget()


@pytest.mark.parametrize("status", [404, 405, 426, 501, 301])
def test_a_blocked_upgrade_goes_on_by_the_second_way_at_once(talk: Talk, status: int) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, status, detail="no such path")
    assert ways(talk) == [False, True]
    assert talk.session.way.why == f"the upgrade was answered {status}: no such path"
    talk.welcome()
    assert talk.session.state is ConnectionState.READY


def test_without_a_second_way_a_blocked_upgrade_is_fatal() -> None:
    talk = Talk()
    talk.subscribe()
    talk.session.refused(talk.now, 404)
    assert isinstance(talk.session.failure, RealtimeConnectError)


def test_403_falls_back_only_when_http_accepts_the_credentials(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 403)
    assert talk.all(CheckIdentity)
    assert ways(talk) == [False]
    talk.session.identity(talk.now, "known")
    assert ways(talk) == [False, True]


def test_403_over_http_as_well_is_fatal(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 403)
    talk.session.identity(talk.now, "refused")
    assert isinstance(talk.session.failure, RealtimeAuthError)


def test_an_upgrade_that_is_not_answered_is_tried_the_second_way_and_in_turns_if_that_fails_too(talk: Talk) -> None:
    talk.subscribe()
    talk.pass_time(10)
    assert ways(talk) == [False, True]
    for _ in range(2):
        talk.session.lost(talk.now, "refused", reached=False)
        talk.end_pause()
    talk.pass_time(10)
    assert ways(talk)[:4] == [False, True, False, False]
    talk.end_pause()
    assert ways(talk)[-1], "the second silence falls back again"


def test_the_second_way_stays_for_a_failure_or_two_when_the_first_was_refused_as_such(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 404)
    for _ in range(DOUBTS - 1):
        talk.session.lost(talk.now, "refused", reached=False)
        talk.end_pause()
    assert ways(talk) == [False, True, True, True]


def test_an_address_where_both_ways_are_blocked_fails(talk: Talk) -> None:
    talk.subscribe()
    talk.session.refused(talk.now, 404)
    talk.session.refused(talk.now, 404)
    assert isinstance(talk.session.failure, RealtimeConnectError)


def test_an_address_where_nothing_can_be_reached_fails_without_a_second_try(talk: Talk) -> None:
    talk.subscribe()
    talk.session.lost(talk.now, "no such name", reached=False, permanent=True)
    assert ways(talk) == [False]
    assert isinstance(talk.session.failure, RealtimeConnectError)


def test_connections_that_are_never_welcomed_are_doubted_after_three(talk: Talk) -> None:
    talk.subscribe()
    for _ in range(DOUBTS):
        talk.session.opened(talk.now)
        talk.session.closed(talk.now, 1006)
        talk.end_pause()
    assert ways(talk) == [False, False, False, True]


def test_a_backend_that_restarts_is_not_taken_for_a_blocked_path(talk: Talk) -> None:
    ready(talk)
    talk.session.closed(talk.now, 1006)
    for _ in range(10):
        talk.end_pause()
        talk.session.lost(talk.now, "nothing listens there", reached=False)
        talk.end_pause()
        talk.session.refused(talk.now, 502)
        talk.end_pause()
        talk.session.lost(talk.now, "it broke during the upgrade")
    talk.end_pause()
    assert not any(ways(talk))


def test_a_path_that_has_worked_is_blocked_only_after_three_refusals(talk: Talk) -> None:
    ready(talk)
    talk.session.closed(talk.now, 1006)
    for _ in range(DOUBTS):
        talk.session.refused(talk.now, 404)
        talk.end_pause()
    assert ways(talk) == [False, False, False, True]


def test_the_first_way_is_tried_again_later_and_later_beside_what_works(talk: Talk) -> None:
    on_the_second_way(talk)
    pauses: list[float] = []
    for _ in range(7):
        asked_at = talk.now
        while not talk.all(Probe):
            talk.now = talk.session.next_timer
            talk.session.tick(talk.now)
            talk.frame({"op": "pong", "n": 0})  # somebody is there
        assert isinstance(talk.all(Probe)[0].greeting, Hello)
        assert talk.session.state is ConnectionState.READY
        pauses.append(talk.now - asked_at)
        talk.forget()
        talk.session.probed(talk.now, False)
    assert pauses[:3] == pytest.approx([0.75 * FIRST_PROBE_SECONDS * 2**n for n in range(3)])
    assert pauses[-1] == pytest.approx(0.75 * LAST_PROBE_SECONDS)


def test_a_first_way_that_is_open_again_is_taken_at_once_and_left_again_at_one_refusal(talk: Talk) -> None:
    on_the_second_way(talk)
    talk.session.probed(talk.now, True)
    assert talk.all(Disconnect)
    assert ways(talk) == [False]
    assert talk.session.way.why is None
    talk.session.refused(talk.now, 404)
    talk.end_pause()
    assert ways(talk) == [False, True]


def test_a_probe_that_answers_too_late_disturbs_nothing(talk: Talk) -> None:
    on_the_second_way(talk)
    talk.session.close()
    talk.forget()
    talk.session.probed(talk.now, True)
    talk.session.probed(talk.now, False)
    assert talk.all(Connect) == []


def test_a_failed_session_begins_again_with_the_first_way(talk: Talk) -> None:
    on_the_second_way(talk)
    talk.session.closed(talk.now, 4403)
    talk.forget()
    talk.subscribe()
    assert ways(talk) == [False]


def test_without_a_second_way_nothing_is_probed() -> None:
    session = Session(random=lambda: 0.5)
    assert not session.way.blocked("why")
    assert not session.way.unanswered("why")
    assert session.way.probe_at == float("inf")


# --- what the second way says for itself --------------------------------------------------------------------------------


def doubted(talk: Talk) -> None:
    """The first way was never answered, so the second is tried."""
    talk.subscribe()
    talk.pass_time(10)
    assert ways(talk) == [False, True]
    talk.forget()


def test_credentials_that_the_second_way_refuses_are_renewed_there_also_if_the_first_was_only_doubted(
    talk: Talk,
) -> None:
    doubted(talk)
    talk.session.refused(talk.now, 401)
    assert talk.all(RenewCredentials)
    talk.session.renewed(talk.now, "same")
    assert isinstance(talk.session.failure, RealtimeAuthError)


def test_403_of_the_second_way_asks_who_we_are(talk: Talk) -> None:
    doubted(talk)
    talk.session.refused(talk.now, 403)
    assert talk.all(CheckIdentity)
    talk.session.identity(talk.now, "refused")
    assert isinstance(talk.session.failure, RealtimeAuthError)


def test_a_second_way_that_is_blocked_too_is_fatal_also_if_the_first_was_only_doubted(talk: Talk) -> None:
    doubted(talk)
    talk.session.refused(talk.now, 404)
    assert isinstance(talk.session.failure, RealtimeConnectError)


def test_a_second_way_that_stops_working_gives_the_first_another_chance(talk: Talk) -> None:
    ready(talk)
    talk.session.closed(talk.now, 1006)
    for _ in range(DOUBTS):
        talk.session.refused(talk.now, 404)
        talk.end_pause()
    talk.forget()
    for _ in range(4 * DOUBTS):
        talk.session.refused(talk.now, 404)
        talk.end_pause()
    assert talk.session.state is ConnectionState.CONNECTING
    assert False in ways(talk)
    assert True in ways(talk)


def test_a_probe_that_succeeds_while_the_second_way_is_reconnected_takes_the_first(talk: Talk) -> None:
    on_the_second_way(talk)
    talk.pass_time(0)
    talk.session.closed(talk.now, 1006)
    talk.end_pause()
    assert ways(talk)[-1], "it is being reconnected the second way"
    talk.forget()
    talk.session.probed(talk.now, True)
    assert ways(talk) == [False]
    assert talk.all(Disconnect), "of the attempt under way"
    talk.welcome()
    assert not talk.session.way.in_use


def test_a_second_way_that_breaks_again_and_again_does_not_put_the_probe_off(talk: Talk) -> None:
    on_the_second_way(talk)
    probes = 0
    for _ in range(40):
        talk.pass_time(15)
        if talk.all(Probe):
            probes += 1
            talk.session.probed(talk.now, False)
        talk.forget()
        talk.session.closed(talk.now, 1006)
        talk.end_pause()
        talk.welcome()
    assert probes >= 2


@pytest.mark.parametrize("status", [200, 400, 407, 410, 502, 504])
def test_an_upgrade_that_is_answered_with_anything_else_three_times_may_be_the_paths_doing(
    talk: Talk, status: int
) -> None:
    talk.subscribe()
    for _ in range(DOUBTS):
        talk.session.refused(talk.now, status)
        talk.end_pause()
    assert ways(talk) == [False, False, False, True]


@pytest.mark.parametrize("status", [429, 503])
def test_a_backend_that_says_when_to_come_back_is_no_blocked_path(talk: Talk, status: int) -> None:
    talk.subscribe()
    for _ in range(2 * DOUBTS):
        talk.session.refused(talk.now, status, 1.0)
        talk.end_pause()
    assert not any(ways(talk))


def test_refusals_count_only_in_a_row(talk: Talk) -> None:
    ready(talk)
    talk.session.closed(talk.now, 1006)
    for _ in range(2 * DOUBTS):
        talk.session.refused(talk.now, 404)
        talk.end_pause()
        talk.session.lost(talk.now, "nothing listens there", reached=False)
        talk.end_pause()
    assert not any(ways(talk))


def test_a_provider_that_takes_its_time_is_not_the_paths_doing(talk: Talk) -> None:
    talk.subscribe()
    talk.session.waiting(talk.now)
    talk.pass_time(25)
    talk.session.asking(talk.now)
    talk.pass_time(9)
    assert ways(talk) == [False], "the handshake has its own ten seconds"
    talk.pass_time(1)
    assert ways(talk) == [False, True]


def test_a_provider_that_hangs_is_asked_again_and_says_nothing_of_the_path(talk: Talk) -> None:
    talk.subscribe()
    talk.session.waiting(talk.now)
    talk.pass_time(30)
    assert ways(talk) == [False, False]
    assert talk.session.problem == "no credentials came within 30 s"
