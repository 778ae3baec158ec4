"""A collection is read once; after that its topic's events say how it stands, whatever happens to the backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from playcall import ApiKey, Playcall
from playcall.dashboard import collection
from playcall.dashboard.collection import STEPS_KEPT, Collection
from playcall.dashboard.finding import PlaybookWish, RunWish, TaskWish
from playcall.dashboard.following import Following
from playcall.models import AnyEvent, Run
from playcall.testing import LiveBackend

from .desk import AGENT, Desk
from .waiting import until

ZERO = datetime(2026, 1, 1, tzinfo=UTC)
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def run(id: str, *, version: int = 1, age: int = 0, status: str = "running") -> Run:
    moment = ZERO - timedelta(seconds=age)
    return Run.model_validate(
        {
            "id": id,
            "version": version,
            "created_at": moment,
            "updated_at": moment,
            "playbook_id": "p",
            "playbook_name": "P",
            "playbook_version": 1,
            "status": status,
            "inputs": {"large": "x" * 100},
            "output": "y" * 100,
            "steps_total": 1,
            "steps_finished": 0,
        }
    )


def event(type: str, **data: Any) -> AnyEvent:
    return EVENT.validate_python({"seq": 1, "id": "evt_1", "time": ZERO, "type": type, "data": data}, extra="ignore")


def of_runs(*, most: int = 10, **options: Any) -> Collection[Run]:
    return Collection("runs", lambda client, most: [], Run, most=most, **options)


def ids(known: Collection[Any]) -> list[str]:
    return [str(each.id) for each in known.items()]


def test_the_newest_are_first() -> None:
    runs = of_runs()
    runs.replace([run("old", age=9), run("new")])
    runs.take(event("run.created", run=run("middle", age=5)))
    assert ids(runs) == ["new", "middle", "old"]


def test_an_event_from_before_the_reading_changes_nothing() -> None:
    runs = of_runs()
    runs.replace([run("a", version=5, status="completed")])
    before = runs.version
    runs.take(event("run.changed", run=run("a", version=4)))
    assert runs.version == before
    runs.take(event("run.changed", run=run("a", version=6, status="failed")))
    assert runs.items()[0].status == "failed"


def test_what_was_deleted_is_gone_and_what_is_not_known_can_be_deleted() -> None:
    runs = of_runs()
    runs.replace([run("a")])
    runs.take(event("run.deleted", run_id="other"))
    runs.take(event("run.deleted", run_id="a"))
    assert ids(runs) == []


def test_only_the_newest_are_kept() -> None:
    runs = of_runs(most=2)
    runs.replace([run("a", age=2), run("b", age=1)])
    assert runs.full
    runs.take(event("run.created", run=run("c")))
    assert ids(runs) == ["c", "b"]


def test_that_older_ones_are_left_out_is_not_forgotten_when_a_kept_one_is_deleted() -> None:
    runs = of_runs(most=2)
    runs.replace([run("a", age=2), run("b", age=1)])
    runs.take(event("run.deleted", run_id="b"))
    assert runs.full
    runs.take(event("run.changed", run=run("older", version=2, age=9)))
    assert ids(runs) == ["a"], "there may be others between them"
    runs.replace([run("a", age=2)])
    assert not runs.full


def test_of_more_than_are_kept_the_oldest_comes_back_where_there_is_room_again() -> None:
    runs = of_runs(most=2)
    for number, each in enumerate("abc"):
        runs.take(event("run.created", run=run(each, age=9 - number)))
    assert (ids(runs), runs.full) == (["c", "b"], True)
    runs.take(event("run.deleted", run_id="c"))
    runs.take(event("run.changed", run=run("a", version=2, age=9)))
    assert ids(runs) == ["b", "a"]


def test_what_does_not_fit_any_more_leaves_and_what_has_come_to_fit_joins() -> None:
    running = of_runs(fits=RunWish(status="running").fits)
    running.replace([run("a")])
    running.take(event("run.changed", run=run("a", version=1, status="completed")))
    assert ids(running) == ["a"], "the reading was newer"
    running.take(event("run.changed", run=run("a", version=2, status="completed")))
    running.take(event("run.changed", run=run("b", version=2, age=5)))
    assert ids(running) == ["b"]


def test_events_of_something_else_move_nothing() -> None:
    runs = of_runs()
    runs.take(event("run.step.started", run_id="a", step={"id": "s", "type": "standard", "status": "running"}))
    runs.take(event("something.new", anything=1))
    assert (runs.version, runs.ready) == (0, False)


def test_a_reading_replaces_what_was_known() -> None:
    runs = of_runs()
    runs.replace([run("a", version=9)])
    runs.replace([run("a", version=1), run("b")])
    assert {(each.id, each.version) for each in runs.items()} == {("a", 1), ("b", 1)}


@contextmanager
def followed(client: Playcall) -> Iterator[Following]:
    following = Following(client)
    try:
        yield following
    finally:
        following.close()


def test_what_others_make_change_and_delete_comes_by_itself(desk: Desk) -> None:
    with followed(desk.client) as following:
        agents = collection.agents(following)
        assert agents.wait(30)
        made = desk.client.agents.create({"name": "New", "tools": ["wait"]})
        until(lambda: agents.get(made.id) is not None)
        desk.client.agents.update(made.id, {"description": "changed"})
        until(lambda: (known := agents.get(made.id)) is not None and known.description == "changed")
        desk.client.agents.delete(made.id)
        until(lambda: agents.get(made.id) is None)


def test_runs_and_tasks_are_kept_without_what_may_be_large(desk: Desk) -> None:
    made = desk.ended(desk.run("Work", {"use": "files.write", "path": "a.txt", "content": "a" * 1_000}))
    with followed(desk.client) as following:
        runs, tasks = collection.runs(following), collection.tasks(following)
        assert runs.wait(30)
        assert tasks.wait(30)
        known = runs.get(made.id)
        assert known is not None
        assert (known.status, known.output, known.inputs) == ("completed", None, {})
        assert [(task.output, task.parameters) for task in tasks.items()] == [(None, {})]


def test_a_playbook_of_very_many_steps_is_known_without_them(desk: Desk) -> None:
    with followed(desk.client) as following:
        playbooks = collection.playbooks(following)
        assert playbooks.wait(30)
        agent = desk.client.agents.create({"name": "W", "tools": ["wait"]})
        steps = [
            {"id": f"s{n}", "type": "standard", "agent": agent.name, "operation": "wait", "parameters": {"seconds": 0}}
            for n in range(STEPS_KEPT + 1)
        ]
        many = desk.client.playbooks.create({"name": "many", "agents": [agent.name], "steps": steps})
        few = desk.client.playbooks.create({"name": "few", "agents": [agent.name], "steps": steps[:2]})
        until(lambda: playbooks.get(few.id) is not None)
        known = [playbooks.get(each.id) for each in (many, few)]
        assert [len(each.steps) if each else None for each in known] == [0, 2]


def test_what_is_looked_for_among_more_than_are_kept_stays_current(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "MOST", 1)
    older = desk.at_gate("Older", tags=["old"])
    newer = desk.ended(desk.run("Newer", {"use": "wait", "seconds": 0}))
    wish, of_older = PlaybookWish(tag="old"), TaskWish(run_id=older.id, status="running")
    with followed(desk.client) as following:
        for known in (collection.runs(following), collection.tasks(following), collection.playbooks(following)):
            assert known.wait(30)
            assert known.full
        running, done = (collection.runs(following, RunWish(status=each)) for each in ("running", "completed"))
        tasks, playbooks = collection.tasks(following, of_older), collection.playbooks(following, wish)
        for found in (running, done, tasks, playbooks):
            assert found.wait(30)
        assert (ids(running), ids(done)) == ([older.id], [newer.id])
        assert (len(tasks.items()), ids(playbooks)) == (1, [older.playbook_id])
        desk.gate.open(1)
        until(lambda: (ids(running), ids(done), tasks.items()) == ([], [newer.id, older.id], ()))
        desk.client.playbooks.delete(older.playbook_id)
        until(lambda: ids(playbooks) == [])


def test_where_everything_is_known_nothing_more_is_read_for_what_is_looked_for(desk: Desk) -> None:
    with followed(desk.client) as following:
        known = collection.runs(following)
        assert known.wait(30)
        assert collection.runs(following, RunWish(status="running")) is known


def test_where_many_have_gone_the_older_ones_are_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "MOST", 4)
    step = {"id": "s", "type": "standard", "agent": AGENT, "operation": "wait", "parameters": {"seconds": 0}}
    made = [desk.client.playbooks.create({"name": n, "agents": [AGENT], "steps": [step]}).id for n in "abcdef"]
    with followed(desk.client) as following:
        known = collection.playbooks(following)
        assert known.wait(30)
        assert ids(known) == made[:1:-1]
        for each in made[3:]:
            desk.client.playbooks.delete(each)
        until(lambda: ids(known) == made[2::-1])
        assert not known.full


def test_a_collection_stays_current_over_the_death_of_the_backend() -> None:
    with (
        LiveBackend() as backend,
        Playcall(backend.url, auth=ApiKey(backend.api_key)) as client,
        followed(client) as following,
    ):
        agents = collection.agents(following)
        assert agents.wait(30)
        backend.kill()
        backend.restart()
        made = client.agents.create({"name": "W", "tools": ["wait"]})
        until(lambda: agents.get(made.id) is not None)
        assert agents.error is None
