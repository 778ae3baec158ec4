"""One run as it stands: read once, then moved by its events; bounded, however long the run is."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from playcall import Playcall
from playcall.dashboard.deletion import until_deleted
from playcall.dashboard.event_log import earlier_events
from playcall.dashboard.following import Closable, Followed, Following
from playcall.dashboard.json_view import SHOWN_CHARACTERS, as_text
from playcall.dashboard.plain import cut
from playcall.dashboard.run_logs import LogPage, log_line, newest_lines
from playcall.models import AnyEvent, Artifact, Cursor, LogLine, Run, RunStep, Task
from playcall.models.event import RunArtifactData, RunData, RunLogData, RunStepData, TaskData, TaskProgressData
from playcall.models.topic import RUNS, run_topic
from playcall.services.run_service import RunSnapshot

__all__ = ["RunModel", "run_model"]

TASKS_KEPT: Final = 500
LINES_KEPT: Final = 2_000
ARTIFACTS_KEPT: Final = 2_000
VALUE_CHARACTERS: Final = 2_000
"""What is kept of a step's or task's output, and of a line."""
RUN_VALUE_CHARACTERS: Final = SHOWN_CHARACTERS + 1
"""What is kept of the run's own values: one more than is shown, so that it is seen whether that is all of it."""


class RunModel(Followed):
    """A run, its steps, its newest tasks and log lines, and its artifacts."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self.run: Run | None = None
        self.epoch = ""
        """Of the run's log, so that older lines can be read from it."""
        self.lines_from = 0
        """The place in the log from which all lines are here; older ones are to be read."""
        self._steps: dict[str, RunStep] = {}
        self._tasks: dict[str, Task] = {}
        self._progress: dict[str, TaskProgressData] = {}
        self._artifacts: dict[str, Artifact] = {}
        self._lines: deque[LogLine] = deque(maxlen=LINES_KEPT)

    # --- looking: each gives what is its own, whatever happens afterwards ---------------------------------------------

    def steps(self) -> tuple[RunStep, ...]:
        """In the playbook's order; an output is a text, cut where it is long."""
        with self.lock:
            return tuple(self._steps.values())

    def tasks(self) -> tuple[tuple[Task, TaskProgressData | None], ...]:
        """The newest first, each with how far it said that it is while it runs."""
        with self.lock:
            return tuple((task, self._progress.get(key)) for key, task in reversed(self._tasks.items()))

    def artifacts(self) -> tuple[Artifact, ...]:
        with self.lock:
            return tuple(self._artifacts.values())

    def lines(self) -> tuple[LogLine, ...]:
        """The newest lines, oldest first."""
        with self.lock:
            return tuple(self._lines)

    # --- feeding ------------------------------------------------------------------------------------------------------

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        items = client.runs.watch(self.run_id, on_gap="snapshot")
        closing(items)
        with items:
            for item in items:
                if isinstance(item, RunSnapshot):
                    self.begin(item.data.run, item.cursor)
                    # What these read is newer than the snapshot, and events that it has in it come once more: the last
                    # event of a step or task says how it is, so for a moment at the most it looks older than it is.
                    self.replace_steps(client.runs.steps(self.run_id, page_size=1_000))
                    self.replace_lines(newest_lines(client, self.run_id, item.cursor))
                    self.replace_tasks(client.tasks.list(run=self.run_id, newest_first=True, max_items=TASKS_KEPT))
                    self._read_progress(client, item.cursor)
                    self.replace_artifacts(client.runs.artifacts(self.run_id, max_items=ARTIFACTS_KEPT))
                else:
                    self.take(item)
        if self.run is not None and self.run.ended_at is not None:
            # The event of the end has the beginning of a large output only.
            until_deleted(client, RUNS, self.run_id, lambda: self.end(client.runs.get(self.run_id)), closing)

    def begin(self, run: Run, cursor: Cursor) -> None:
        with self.lock:
            self.run = _shortened_run(run)
            self.epoch = cursor.epoch
            self.moved()

    def end(self, run: Run) -> None:
        """As it was read, after its last event."""
        with self.lock:
            self.run = _shortened_run(run)
            self.over = True
            self.moved()

    def replace_steps(self, steps: Iterable[RunStep]) -> None:
        read = {str(step.id): _shortened_step(step) for step in steps}
        with self.lock:
            self._steps = read
            self.moved()

    def replace_tasks(self, newest_first: Iterable[Task]) -> None:
        read = [_shortened_task(task) for task in newest_first]
        with self.lock:
            self._tasks = {str(task.id): task for task in reversed(read)}
            self._progress = {key: each for key, each in self._progress.items() if key in self._tasks}
            self.moved()

    def _read_progress(self, client: Playcall, cursor: Cursor) -> None:
        """What the tasks at work said last: a tool that seldom reports would look dead until it does so again."""
        with self.lock:
            at_work = sum(task.ended_at is None for task in self._tasks.values())
        if at_work:
            topic = run_topic(self.run_id)
            said = earlier_events(client, topic, cursor.epoch, cursor.seq, types=["task.progress"], want=at_work)
            for event in said.events:
                self.take(event)

    def replace_artifacts(self, artifacts: Iterable[Artifact]) -> None:
        read = {each.name: each for each in artifacts}
        with self.lock:
            self._artifacts = read
            self.moved()

    def replace_lines(self, page: LogPage) -> None:
        with self.lock:
            self._lines = deque(page.lines, maxlen=LINES_KEPT)
            self.lines_from = page.before
            self.moved()

    def take(self, event: AnyEvent) -> None:
        """One event of the run's topic."""
        with self.lock:
            match event.data:
                case RunData(run=run):
                    # Large inputs are not whole in an event; and they stay what they were.
                    inputs = run.inputs if self.run is None else self.run.inputs
                    self.run = _shortened_run(run).model_copy(update={"inputs": inputs})
                case RunStepData(step=step):
                    self._steps[str(step.id)] = _shortened_step(step)
                case TaskData(task=task):
                    self._take_task(task)
                case TaskProgressData() as progress:
                    known = self._tasks.get(progress.task_id)
                    if known is not None and known.ended_at is None:
                        self._progress[progress.task_id] = progress
                case RunLogData():
                    self._take_line(log_line(event))
                case RunArtifactData(artifact=artifact):
                    if artifact.name in self._artifacts or len(self._artifacts) < ARTIFACTS_KEPT:
                        self._artifacts[artifact.name] = artifact
                case _:
                    return
            self.moved()

    def _take_task(self, task: Task) -> None:
        key = str(task.id)
        known = self._tasks.get(key)
        if known is not None and known.version > task.version:
            return
        self._tasks[key] = _shortened_task(task)
        if task.ended_at is not None:
            self._progress.pop(key, None)
        while len(self._tasks) > TASKS_KEPT:
            # The oldest that has ended: what runs is what is looked for.
            oldest = next(
                (each for each, held in self._tasks.items() if held.ended_at is not None), next(iter(self._tasks))
            )
            del self._tasks[oldest]
            self._progress.pop(oldest, None)

    def _take_line(self, line: LogLine | None) -> None:
        if line is None or (self._lines and line.seq <= self._lines[-1].seq):
            return  # read already
        if len(self._lines) == LINES_KEPT:
            self.lines_from = self._lines[1].seq - 1
        self._lines.append(line.model_copy(update={"message": cut(line.message, VALUE_CHARACTERS)}))


def run_model(following: Following, run_id: str) -> RunModel:
    return following.look(f"run:{run_id}", lambda: RunModel(run_id))


def _shortened_run(run: Run) -> Run:
    """Its values as text."""

    def short(value: object) -> str:
        return as_text(value, RUN_VALUE_CHARACTERS)[0]

    inputs = {name: short(value) for name, value in run.inputs.items()}
    return run.model_copy(update={"inputs": inputs, "output": None if run.output is None else short(run.output)})


def _shortened_step(step: RunStep) -> RunStep:
    return step.model_copy(update={"output": _short(step.output)})


def _shortened_task(task: Task) -> Task:
    return task.model_copy(update={"output": _short(task.output), "parameters": {}})


def _short(value: Any) -> str | None:  # Any: any JSON value
    """As text; of a long one the beginning only, since it is shown, and never used."""
    if value is None:
        return None
    return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_CHARACTERS)
