"""`playcall tasks` against a real backend."""

from __future__ import annotations

from playcall import Playcall

from .commands import Run, done, objects, said


def ended(client: Playcall, id: str) -> str:
    """The task's status once it has ended; read from its events, so nothing is waited for in vain."""
    with client.events.subscribe("tasks", start="start") as events:
        for event in events:
            task = getattr(event.data, "task", None)
            if task is not None and task.id == id and task.ended_at is not None:
                return str(task.status)
    raise AssertionError("the events ended first")


def test_a_task_is_given_shown_listed_and_deleted(playcall: Run, client: Playcall) -> None:
    arguments = ("--param", "text=some words", "-p", "top=1", "--description", "counts", "--timeout", "20")
    made = done(playcall("tasks", "create", "Reader", "text.stats", *arguments)).strip()
    assert ended(client, made) == "completed"
    shown = done(playcall("tasks", "show", made)).splitlines()
    for line in (f"id          {made}", "status      completed", "agent       Reader", "timeout     20 s"):
        assert line in shown
    assert objects(playcall("tasks", "show", made, "--json"))[0]["parameters"] == {"text": "some words", "top": 1}
    listed = objects(
        playcall("tasks", "list", "--agent", "Reader", "--status", "completed", "--newest-first", "--json")
    )
    assert made in [each["id"] for each in listed]
    assert made in done(playcall("tasks", "list"))
    assert objects(playcall("tasks", "delete", made, "--yes", "--json")) == [{"id": made, "deleted": True}]
    assert "404" in said(playcall("tasks", "show", made), 1)


def test_a_task_is_cancelled_and_once_it_has_ended_cannot_be(playcall: Run, client: Playcall) -> None:
    (made,) = objects(playcall("tasks", "create", "Reader", "wait", "-p", "seconds=600", "--json"))
    assert objects(playcall("tasks", "cancel", made["id"], "--json"))[0]["id"] == made["id"]
    assert ended(client, made["id"]) == "cancelled"
    assert "409" in said(playcall("tasks", "cancel", made["id"]), 1)


def test_parameters_come_from_standard_input(playcall: Run) -> None:
    given = playcall("tasks", "create", "Reader", "text.stats", "--params", "-", "--json", input='{"text": "a"}')
    assert objects(given)[0]["parameters"] == {"text": "a"}


def test_an_agent_that_is_not_there_and_an_operation_that_is_not_its_own_are_told(playcall: Run) -> None:
    assert "nobody" in said(playcall("tasks", "create", "nobody", "wait"), 1)
    assert "operation" in said(playcall("tasks", "create", "Reader", "files.read"), 1)
    assert "no agent has the id or the name 'nobody'" in said(playcall("tasks", "list", "--agent", "nobody"), 1)
