"""One run as it stands, from its events alone, bounded however long it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

from pydantic import TypeAdapter

from playcall import ApiKey, Playcall
from playcall.dashboard.following import Following
from playcall.dashboard.run_logs import LogPage
from playcall.dashboard.run_model import (
    LINES_KEPT,
    RUN_VALUE_CHARACTERS,
    TASKS_KEPT,
    VALUE_CHARACTERS,
    RunModel,
    run_model,
)
from playcall.errors import RunNotFoundError
from playcall.models import AnyEvent, Cursor, Run, RunStep, Task
from playcall.testing import LiveBackend

from .desk import Desk
from .waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STORED: dict[str, Any] = {"version": 1, "created_at": NOW, "updated_at": NOW}
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def run(**fields: Any) -> dict[str, Any]:
    base = {"id": "run_1", "playbook_id": "p", "playbook_name": "P", "playbook_version": 1, "status": "running"}
    return {**base, "steps_total": 2, "steps_finished": 0, **STORED, **fields}


def task(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "operation": "wait", "status": "running", "run_id": "run_1", **STORED, **fields}


class Story:
    """A model, and events told to it in order."""

    def __init__(self) -> None:
        self.model = RunModel("run_1")
        self.seq = count(1)
        self.model.begin(Run.model_validate(run()), Cursor("e", 0))

    def tell(self, type: str, **data: Any) -> None:
        said = {"seq": next(self.seq), "id": "evt_1", "time": NOW, "type": type, "data": data}
        self.model.take(EVENT.validate_python(said, extra="ignore"))


def test_each_kind_of_event_moves_what_it_is_about() -> None:
    story = Story()
    story.tell("run.step.started", run_id="run_1", step={"id": "s", "type": "standard", "status": "running"})
    story.tell("task.created", task=task("t"))
    story.tell("task.progress", task_id="t", run_id="run_1", done=1, total=4, message="m")
    story.tell("run.log", run_id="run_1", level="info", message="line")
    story.tell("run.artifact.created", run_id="run_1", artifact={"name": "a", "media_type": "m", "size_bytes": 1, "sha256": "x", "created_at": NOW})  # fmt: skip
    story.tell("run.changed", run=run(steps_finished=1))
    model = story.model
    assert model.run is not None
    assert model.run.steps_finished == 1
    assert [step.id for step in model.steps()] == ["s"]
    assert [(known.id, progress.done if progress else None) for known, progress in model.tasks()] == [("t", 1)]
    assert [line.message for line in model.lines()] == ["line"]
    assert [artifact.name for artifact in model.artifacts()] == ["a"]


def test_an_event_that_says_nothing_of_the_run_moves_nothing() -> None:
    story = Story()
    before = story.model.version
    story.tell("something.new", anything=1)
    story.tell("task.output.delta", task_id="t", round=1, offset=0, text="x")
    assert story.model.version == before


def test_a_task_that_has_ended_has_no_progress_any_more() -> None:
    story = Story()
    story.tell("task.created", task=task("t"))
    story.tell("task.progress", task_id="t", done=1, total=4)
    story.tell("task.completed", task=task("t", version=2, status="completed", ended_at=NOW))
    assert [progress for _, progress in story.model.tasks()] == [None]
    story.tell("task.started", task=task("t", version=1))  # read already, and newer
    assert [known.status for known, _ in story.model.tasks()] == ["completed"]


def test_of_very_many_tasks_those_at_work_and_the_newest_are_kept() -> None:
    story = Story()
    story.tell("task.created", task=task("at work"))
    for number in range(TASKS_KEPT + 100):
        story.tell("task.completed", task=task(f"t{number}", status="completed", ended_at=NOW))
    kept = [str(known.id) for known, _ in story.model.tasks()]
    assert len(kept) == TASKS_KEPT
    assert kept[0] == f"t{TASKS_KEPT + 99}"
    assert kept[-1] == "at work"


def test_of_very_many_lines_the_newest_are_kept_and_it_is_known_from_where() -> None:
    story = Story()
    for number in range(LINES_KEPT + 50):
        story.tell("run.log", run_id="run_1", level="info", message=str(number))
    lines = story.model.lines()
    assert len(lines) == LINES_KEPT
    assert lines[0].message == "50"
    assert story.model.lines_from == lines[0].seq - 1


def test_a_line_that_was_read_is_not_taken_again_from_its_event() -> None:
    story = Story()
    story.tell("run.log", run_id="run_1", level="info", message="one")
    story.model.replace_lines(LogPage(story.model.lines(), 0))
    story.seq = count(1)
    story.tell("run.log", run_id="run_1", level="info", message="one")
    story.tell("run.log", run_id="run_1", level="info", message="two")
    assert [line.message for line in story.model.lines()] == ["one", "two"]


def test_large_values_are_kept_as_the_beginning_of_their_text() -> None:
    story = Story()
    large = {"key": "x" * 100_000}
    story.model.begin(Run.model_validate(run(output=large, inputs={"a": large})), Cursor("e", 0))
    story.tell(
        "run.step.finished", run_id="run_1", step={"id": "s", "type": "x", "status": "completed", "output": large}
    )
    story.tell("task.completed", task=task("t", output=large, parameters=large))
    story.tell("run.log", run_id="run_1", level="info", message="m" * 100_000)
    model = story.model
    assert model.run is not None
    known = model.tasks()[0][0]
    kept = [model.steps()[0].output, known.output, model.lines()[0].message]
    assert [len(str(each)) for each in kept] == [VALUE_CHARACTERS] * 3
    assert [len(str(each)) for each in (model.run.output, model.run.inputs["a"])] == [RUN_VALUE_CHARACTERS] * 2
    assert known.parameters == {}


def test_inputs_that_an_event_had_no_room_for_stay_as_they_were_read() -> None:
    story = Story()
    story.model.begin(Run.model_validate(run(inputs={"a": "all of it"})), Cursor("e", 0))
    story.tell("run.changed", run=run(steps_finished=1, inputs={"truncated": True, "size_bytes": 9, "preview": "all"}))
    assert story.model.run is not None
    assert (story.model.run.inputs, story.model.run.steps_finished) == ({"a": "all of it"}, 1)


def test_two_thousand_steps_are_kept_in_the_playbooks_order() -> None:
    story = Story()
    steps = [RunStep.model_validate({"id": f"s{n}", "type": "standard", "status": "pending"}) for n in range(2_000)]
    story.model.replace_steps(steps)
    story.tell("run.step.started", run_id="run_1", step={"id": "s7", "type": "standard", "status": "running"})
    kept = story.model.steps()
    assert [step.id for step in kept] == [f"s{n}" for n in range(2_000)]
    assert kept[7].status == "running"


def test_tasks_that_were_read_newest_first_are_shown_so() -> None:
    story = Story()
    story.model.replace_tasks([Task.model_validate(task("new")), Task.model_validate(task("old"))])
    story.tell("task.created", task=task("newest"))
    assert [str(known.id) for known, _ in story.model.tasks()] == ["newest", "new", "old"]


@contextmanager
def watched(client: Playcall, run_id: str) -> Iterator[RunModel]:
    following = Following(client)
    try:
        yield run_model(following, run_id)
    finally:
        following.close()


def test_a_run_that_has_ended_is_read_whole_and_is_over(desk: Desk) -> None:
    made = desk.ended(desk.run("Work", *({"use": "files.write", "path": f"{n}.txt", "content": "a"} for n in range(3))))
    with watched(desk.client, made.id) as model:
        until(lambda: model.over)
        assert [step.status for step in model.steps()] == ["completed"] * 3
        assert len(model.tasks()) == 3
        assert [artifact.name for artifact in model.artifacts()] == ["0.txt", "1.txt", "2.txt"]


def test_a_run_that_was_deleted_is_told_as_one_that_is_not_there(desk: Desk) -> None:
    kept, deleted = (desk.ended(desk.run(name, {"use": "wait", "seconds": 0})) for name in ("Kept", "Deleted"))
    with watched(desk.client, kept.id) as still, watched(desk.client, deleted.id) as gone:
        until(lambda: still.over and gone.over)
        desk.client.runs.delete(deleted.id)
        until(lambda: not gone.ready)
        assert isinstance(gone.error, RunNotFoundError)
        assert (still.ready, still.error) == (True, None)


def test_a_run_is_followed_to_its_end_over_the_death_of_its_backend() -> None:
    with LiveBackend() as backend, Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        client.agents.create({"name": "W", "tools": ["wait"]})
        steps = [
            {"id": f"s{n}", "type": "standard", "agent": "W", "operation": "wait", "parameters": {"seconds": 1}}
            for n in range(4)
        ]
        playbook = client.playbooks.create({"name": "p", "agents": ["W"], "steps": steps})
        started = client.playbooks.run(playbook.id)
        with watched(client, started.id) as model:
            until(lambda: model.run is not None and model.run.steps_finished >= 1)
            backend.kill()
            backend.restart()
            until(lambda: model.over)
            assert model.run is not None
            assert model.run.status == "completed"
            assert [step.status for step in model.steps()] == ["completed"] * 4
            assert client.events.picture.reconnects >= 1


def test_a_run_that_is_not_there_is_told_and_not_asked_for_again(desk: Desk) -> None:
    with watched(desk.client, "run_000000000000000000000000") as model:
        until(lambda: model.over)
        assert model.error is not None
        assert "404" in model.error.message


def test_who_comes_late_sees_how_far_a_task_at_work_had_said_that_it_is(desk: Desk) -> None:
    seen = desk.at_gate("Work")  # it has told its progress, and will not until the gate opens
    with watched(desk.client, seen.id) as model:
        until(lambda: any(progress is not None for _, progress in model.tasks()))
    desk.client.runs.cancel(seen.id)
