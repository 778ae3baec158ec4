"""Whoever asks something of a run is told what is true, also where another was quicker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from playcall.dashboard.run_actions import actions_for, do
from playcall.models import Run

from .desk import Desk

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def run(**fields: Any) -> Run:
    base = {
        "id": "r",
        "playbook_id": "p",
        "playbook_name": "P",
        "playbook_version": 1,
        "steps_total": 1,
        "steps_finished": 0,
    }
    return Run.model_validate({**base, "version": 1, "created_at": NOW, "updated_at": NOW, **fields})


@pytest.mark.parametrize(
    ("fields", "possible"),
    [
        ({"status": "queued"}, {"cancel", "pause"}),
        ({"status": "running"}, {"cancel", "pause"}),
        ({"status": "running", "wish": "pause"}, {"cancel", "resume"}),
        ({"status": "running", "wish": "cancel"}, set()),
        ({"status": "paused"}, {"cancel", "resume"}),
        ({"status": "completed", "ended_at": NOW}, {"retry"}),
        ({"status": "something new"}, {"cancel", "pause"}),
        ({"status": "something new", "ended_at": NOW}, {"retry"}),
    ],
)
def test_only_what_makes_sense_is_offered(fields: dict[str, Any], possible: set[str]) -> None:
    assert actions_for(run(**fields)) == possible


def test_two_who_cancel_the_same_run_are_both_told_the_truth(desk: Desk) -> None:
    seen = desk.at_gate("Work")  # as both of them see it
    first = do(desk.client, "cancel", seen)
    second = do(desk.client, "cancel", seen)
    assert first.good
    assert second.good
    ended = desk.ended(seen)
    assert ended.status == "cancelled"
    third = do(desk.client, "cancel", seen)
    assert (third.sentence, third.good) == ("Nothing to cancel: the run had ended already, as cancelled.", False)


def test_a_pause_is_said_to_come_and_not_to_have_come(desk: Desk) -> None:
    seen = desk.at_gate("Work")
    assert do(desk.client, "pause", seen).sentence == "The run was asked to pause: it does so before its next step."
    assert do(desk.client, "resume", seen).sentence == "The run goes on."
    assert do(desk.client, "cancel", seen).sentence.startswith("The run was asked to stop")


def test_a_pause_after_a_cancel_is_not_promised(desk: Desk) -> None:
    seen = desk.at_gate("Work")
    do(desk.client, "cancel", seen)
    said = do(desk.client, "pause", seen)
    assert (said.sentence, said.good) == ("Nothing to pause: the run is being cancelled.", False)


def test_a_retry_leads_to_the_new_run_and_waits_for_the_end_of_the_old(desk: Desk) -> None:
    seen = desk.at_gate("Work")
    too_early = do(desk.client, "retry", seen)
    assert (too_early.good, too_early.run_id) == (False, None)
    do(desk.client, "cancel", seen)
    desk.ended(seen)
    again = do(desk.client, "retry", seen)
    assert again.run_id is not None
    assert desk.client.runs.get(again.run_id).retry_of == seen.id
    do(desk.client, "cancel", desk.client.runs.get(again.run_id))


def test_two_clicks_on_retry_make_one_run(desk: Desk) -> None:
    seen = desk.at_gate("Work")
    do(desk.client, "cancel", seen)
    desk.ended(seen)
    first = do(desk.client, "retry", seen, command="one")
    second = do(desk.client, "retry", seen, command="one")
    assert first.run_id == second.run_id
    do(desk.client, "cancel", desk.client.runs.get(str(first.run_id)))
