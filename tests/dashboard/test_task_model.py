"""One task as it stands, from its events, with what is being written."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from playcall.dashboard.following import Following
from playcall.dashboard.task_actions import cancel
from playcall.dashboard.task_model import TEXT_KEPT, TaskModel, task_model
from playcall.errors import TaskNotCancellableError, TaskNotFoundError
from playcall.models import AnyEvent, Cursor, Task

from .desk import AGENT, Desk
from .waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def task(**fields: Any) -> dict[str, Any]:
    base = {"id": "t", "operation": "wait", "status": "running", "version": 1, "created_at": NOW, "updated_at": NOW}
    return {**base, **fields}


class Story:
    """A model, and events told to it in order."""

    def __init__(self) -> None:
        self.model = TaskModel("t")
        self.model.replace(Task.model_validate(task(version=2)))
        self.seq = count(1)

    def tell(self, type: str, **data: Any) -> None:
        said = {"seq": next(self.seq), "id": "evt_1", "time": NOW, "type": type, "data": data}
        self.model.take(EVENT.validate_python(said, extra="ignore"))

    def write(self, round: int, offset: int, text: str) -> str:
        self.tell("task.output.delta", task_id="t", round=round, offset=offset, text=text)
        return self.model.text


def test_progress_is_shown_while_it_runs_and_gone_when_it_has_ended() -> None:
    story = Story()
    story.tell("task.progress", task_id="t", done=1, total=4, message="m")
    assert story.model.progress is not None
    assert not story.model.over
    story.tell("task.completed", task=task(version=3, status="completed", ended_at=NOW, output="o"))
    assert story.model.task is not None
    assert (story.model.task.output, story.model.progress) == ("o", None)
    assert not story.model.over, "an event has the beginning of a large output only"
    story.model.replace(Task.model_validate(task(version=3, status="completed", ended_at=NOW, output="of it all")))
    assert (story.model.task.output, story.model.over) == ("of it all", True)


def test_an_event_that_is_older_than_what_was_read_moves_nothing_back() -> None:
    story = Story()
    story.tell("task.created", task=task(version=1, status="queued"))
    assert story.model.task is not None
    assert story.model.task.status == "running"


def test_what_a_model_writes_is_put_together_each_piece_once() -> None:
    story = Story()
    assert story.write(0, 0, "It ") == "It "
    assert story.write(0, 3, "rains") == "It rains"
    assert story.write(0, 3, "rains.") == "It rains.", "a piece that came in part already"
    assert story.write(1, 0, "Anew") == "Anew", "another turn"
    assert story.write(1, 0, "Again") == "Again", "a turn that a crash made begin again"
    long = "x" * TEXT_KEPT
    assert story.write(1, 5, long) == long, "bounded: its end"
    assert story.write(1, 5 + len(long), "y") == long[1:] + "y"
    story.tell("task.completed", task=task(version=3, status="completed", ended_at=NOW))
    assert story.model.text == ""


def test_a_real_task_is_followed_to_its_end_and_says_so(desk: Desk) -> None:
    following = Following(desk.client)
    made = desk.client.tasks.create({"agent": AGENT, "operation": "wait", "parameters": {"seconds": 60}})
    model = task_model(following, made.id)
    until(lambda: model.progress is not None)
    assert cancel(desk.client, made.id).good
    until(lambda: model.over)
    assert model.task is not None
    assert model.task.status == "cancelled"
    late = cancel(desk.client, made.id)
    assert not late.good
    assert late.sentence == "Nothing to cancel: the task had ended already, as cancelled."
    following.close()


def test_a_task_that_was_deleted_is_told_as_one_that_is_not_there(desk: Desk) -> None:
    following = Following(desk.client)
    made = desk.client.tasks.create({"agent": AGENT, "operation": "wait", "parameters": {"seconds": 0}})
    model = task_model(following, made.id)
    until(lambda: model.over)
    assert model.ready
    desk.client.tasks.delete(made.id)
    until(lambda: not model.ready)
    assert isinstance(model.error, TaskNotFoundError)
    following.close()


def test_how_far_it_is_is_known_at_once_however_long_ago_it_said_so(desk: Desk) -> None:
    run = desk.at_gate("Slow work")
    (made,) = desk.client.tasks.list(run=run.id)
    following = Following(desk.client)
    model = task_model(following, made.id)
    until(lambda: model.progress is not None)
    with pytest.raises(TaskNotCancellableError, match="run"):
        cancel(desk.client, made.id)
    desk.gate.open(1)
    until(lambda: model.over)
    following.close()


def test_how_far_it_is_is_known_also_after_it_has_written_much() -> None:
    """A model's turns are thousands of events, and it reports in between."""
    said = {"seq": 10, "id": "evt_1", "time": NOW, "type": "task.progress", "data": {"task_id": "t", "done": 1}}

    def history(topic: str, start: Cursor, end: Cursor, **_: object) -> list[AnyEvent]:
        return [EVENT.validate_python(said, extra="ignore")] if start.seq < 10 <= end.seq else []

    head = SimpleNamespace(topic="task:t", types=None, received=Cursor("e", 5_000))
    client = SimpleNamespace(
        events=SimpleNamespace(picture=SimpleNamespace(subscriptions=[head]), history=history),
    )
    model = TaskModel("t")
    model.take_last_progress(client)  # type: ignore[arg-type]
    assert model.progress is not None
    assert model.progress.done == 1


def test_a_task_that_is_not_there_is_said_to_be_so(desk: Desk) -> None:
    following = Following(desk.client)
    model = task_model(following, "tsk_000000000000000000000000")
    until(lambda: model.over)
    assert isinstance(model.error, TaskNotFoundError)
    following.close()
