"""One task as it stands, with what its agent's model is writing: read once, then moved by its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from playcall import Playcall
from playcall.dashboard.deletion import until_deleted
from playcall.dashboard.event_log import earlier_events, head_of
from playcall.dashboard.following import Closable, Followed, Following
from playcall.models import AnyEvent, Task
from playcall.models.event import TaskData, TaskOutputDeltaData, TaskProgressData
from playcall.models.topic import TASKS, task_topic
from playcall.realtime.items import Gap

__all__ = ["TaskModel", "task_model"]

TEXT_KEPT: Final = 20_000
"""Characters of what is being written, the last; all of it is the task's output in the end."""


class TaskModel(Followed):
    """`task` is None until it was read; `text` is the model's turn that is being written."""

    def __init__(self, task_id: str) -> None:
        super().__init__()
        self.task_id = task_id
        self.task: Task | None = None
        self.progress: TaskProgressData | None = None
        self.text = ""
        self._round: int = -1
        self._written = 0
        """Characters of the round so far, also those that are no longer kept."""

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        def read() -> None:
            self.replace(client.tasks.get(self.task_id))

        read()
        if not self.ended():
            # What happened before the subscription stood is seen by reading it once more.
            with client.events.subscribe(task_topic(self.task_id), on_gap="yield") as feed:
                closing(feed)
                read()
                self.take_last_progress(client)
                for item in feed:
                    if isinstance(item, Gap):
                        read()
                    else:
                        self.take(item)
                    if self.ended():
                        break
        if self.ended():
            until_deleted(client, TASKS, self.task_id, read, closing)

    def ended(self) -> bool:
        """An event may have said so, which has the beginning of a large output only: it is over when it was read."""
        with self.lock:
            return self.task is not None and self.task.ended_at is not None

    def take_last_progress(self, client: Playcall) -> None:
        """What it said last of how far it is: it may not say more for a long while."""
        topic = task_topic(self.task_id)
        head = head_of(client, topic)
        if head is not None:
            page = earlier_events(client, topic, head.epoch, head.seq, types=["task.progress"], want=1)
            for event in page.events[-1:]:
                self.take(event)

    def replace(self, task: Task) -> None:
        """As it was read."""
        with self.lock:
            self._take_task(task)
            self.over = self.ended()
            self.moved()

    def take(self, event: AnyEvent) -> None:
        """One event of the task's topic."""
        with self.lock:
            match event.data:
                case TaskData(task=task):
                    self._take_task(task)
                case TaskProgressData() as progress:
                    self.progress = progress
                case TaskOutputDeltaData() as delta:
                    self._take_text(delta)
                case _:
                    return
            self.moved()

    def _take_task(self, task: Task) -> None:
        if self.task is not None and self.task.version > task.version:
            return
        self.task = task
        if task.ended_at is not None:
            self.progress, self.text = None, ""

    def _take_text(self, delta: TaskOutputDeltaData) -> None:
        if delta.round != self._round or delta.offset == 0:
            self._round, self._written, self.text = delta.round, delta.offset, ""
        new = delta.text[max(0, self._written - delta.offset) :]
        self.text = (self.text + new)[-TEXT_KEPT:]
        self._written = max(self._written, delta.offset + len(delta.text))


def task_model(following: Following, task_id: str) -> TaskModel:
    return following.look(f"task:{task_id}", lambda: TaskModel(task_id))
