"""The demo's parts without its backend: what is refused, what each event says, how both views show it."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from rich.console import Console
from typer.testing import CliRunner

from playcall.cli import demo as command
from playcall.cli import demo_story
from playcall.cli.app import app
from playcall.cli.demo_story import Outcome
from playcall.cli.demo_view import LiveView, PlainView, view_for
from playcall.cli.run_picture import Picture
from playcall.errors import PlaycallError
from playcall.models import StepId
from playcall.models.event import AnyEvent
from playcall.testing.live_backend import BackendStartError
from playcall.testing.oracle import Verdict

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


class Story:
    """Makes a run's events, one after another."""

    def __init__(self) -> None:
        self.seq = 0

    def event(self, type: str, data: dict[str, Any]) -> AnyEvent:
        self.seq += 1
        at = (BEGAN + timedelta(seconds=self.seq / 10)).isoformat()
        return EVENT.validate_python({"seq": self.seq, "id": f"e{self.seq}", "time": at, "type": type, "data": data})

    def run(self, what: str, status: str, **more: Any) -> AnyEvent:
        run = {
            "id": "run_1", "version": 1, "created_at": BEGAN, "updated_at": BEGAN, "playbook_id": "p", "playbook_name": "P",
            "playbook_version": 1, "status": status, "steps_total": 2, "steps_finished": 1,
        }  # fmt: skip
        return self.event(f"run.{what}", {"run": {**run, **more}})

    def step(self, what: str, id: str, status: str, **more: Any) -> AnyEvent:
        step = {"id": id, "type": "standard", "status": status, "started_at": BEGAN}
        return self.event(f"run.step.{what}", {"run_id": "run_1", "step": {**step, **more}})

    def task(self, what: str, id: str, operation: str, status: str, *, step: str | None, **more: Any) -> AnyEvent:
        task = {
            "id": id, "version": 1, "created_at": BEGAN, "updated_at": BEGAN, "agent": "A", "operation": operation,
            "status": status, "run_id": "run_1", "step_id": step, "started_at": BEGAN,
        }  # fmt: skip
        return self.event(f"task.{what}", {"task": {**task, **more}})

    def progress(self, id: str, done: float, total: float | None, message: str = "") -> AnyEvent:
        return self.event("task.progress", {"task_id": id, "done": done, "total": total, "message": message})


def whole_story() -> list[AnyEvent]:
    story, ended = Story(), BEGAN + timedelta(seconds=1.5)
    return [
        story.run("created", "queued"),
        story.step("started", "read", "running"),
        story.task("created", "t1", "sizes", "queued", step="read"),
        story.task("created", "t2", "todos", "queued", step="read"),
        story.task("started", "t1", "sizes", "running", step="read"),
        story.progress("t1", 5, 10, "a\x1b[31m.py"),
        story.task("completed", "t1", "sizes", "completed", step="read", ended_at=ended),
        story.event("run.log", {"run_id": "run_1", "level": "warning", "message": "left out b.py"}),
        story.event(
            "run.artifact.created",
            {
                "run_id": "run_1",
                "artifact": {
                    "name": "r.md",
                    "media_type": "text/markdown",
                    "size_bytes": 2048,
                    "sha256": "0",
                    "created_at": BEGAN,
                },
            },
        ),
        story.task(
            "failed",
            "t2",
            "todos",
            "failed",
            step="read",
            ended_at=ended,
            error={"code": "x", "message": "no such file"},
        ),
        story.step("finished", "read", "failed", ended_at=ended, error={"code": "x", "message": "no such file"}),
        story.run("changed", "running"),
        story.event("run.something.new", {"of": "a later version"}),
        story.run("failed", "failed", error={"code": "x", "message": "no such file"}),
    ]


# --- what the events say ----------------------------------------------------------------------------------------------


def test_each_event_has_its_line() -> None:
    picture = Picture([StepId("read"), StepId("report")])
    assert [picture.take(event) for event in whole_story()] == [
        "P: queued",
        "read: standard",
        "A: sizes",
        "A: todos",
        "A: sizes",
        "sizes 5/10 a?[31m.py",
        "A: sizes completed after 1.50 s",
        "warning: left out b.py",
        "r.md, 2.0 kB",
        "A: todos failed after 1.50 s: no such file",
        "read failed after 1.50 s: no such file",
        "P: 1 of 2 steps finished",
        '{"of":"a later version"}',
        "P: failed: no such file",
    ]
    assert picture.events == 14


def test_the_bars_stand_where_the_events_left_them() -> None:
    picture = Picture([StepId("read"), StepId("report")])
    events = whole_story()
    for event in events[:6]:
        picture.take(event)
    assert [(bar.label, bar.level, bar.figure) for bar in picture.bars] == [
        ("read", 0, "0/2"),
        ("sizes", 1, "5/10"),
        ("todos", 1, "queued"),
        ("report", 0, "pending"),
    ]
    assert 0 < picture.bars[0].done < 1
    for event in events[6:]:
        picture.take(event)
    assert [bar.figure for bar in picture.bars] == ["failed", "5/10", "failed", "pending"]
    assert [bar.well for bar in picture.bars] == [False, True, False, False]


def test_a_step_with_one_task_is_one_bar_and_full_at_its_end() -> None:
    story, picture = Story(), Picture([StepId("report")])
    picture.take(story.task("started", "t", "render", "running", step="report"))
    picture.take(story.progress("t", 3, None))
    assert [bar.total for bar in picture.bars] == [None]
    picture.take(story.step("finished", "report", "completed", ended_at=BEGAN))
    assert [(bar.label, bar.figure) for bar in picture.bars] == [("report", "1/1")]


def test_a_task_outside_of_any_step_breaks_nothing() -> None:
    story, picture = Story(), Picture([])
    assert picture.take(story.task("started", "t", "render", "running", step=None, agent=None)) == "a call: render"
    assert picture.bars == []


# --- how it is shown --------------------------------------------------------------------------------------------------


def show(view: PlainView | LiveView) -> None:
    with view:
        view.busy("starting …")
        view.say("backend", "http://127.0.0.1:1")
        view.begin(Picture([StepId("read"), StepId("report")]))
        view.connection("the connection is cut", good=False)
        for event in whole_story():
            view.event(event)
        view.connection("connected again", good=True)
        view.busy("")
    view.say("run", "failed\x1b[2J")


def test_the_plain_view_is_lines_without_control_codes() -> None:
    out = io.StringIO()
    show(PlainView(out))
    text = out.getvalue()
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "    6    0.50 s  task.progress         sizes 5/10 a?[31m.py\n" in text
    assert "-X- the connection is cut\n" in text
    assert text.endswith("run       failed?[2J\n")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_live_view_shows_each_event_in_one_line_at_any_width(width: int) -> None:
    out = io.StringIO()
    show(LiveView(Console(file=out, width=width, color_system=None, highlight=False, markup=False)))
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines) <= width
    seqs = [line.split()[0] for line in lines if line[:4].strip().isdigit()]
    assert seqs == [str(number) for number in range(1, 15)]
    assert [line.split()[0] for line in lines[-5:-1]] == ["read", "sizes", "todos", "report"]


def test_the_live_view_draws_while_it_waits() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, width=80, force_terminal=True))
    with view:
        view.busy("starting …")
        while "starting" not in out.getvalue():
            view._live._over.wait(0.01)
    assert not view._live._ticker.is_alive()


def test_plain_is_the_default_where_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(view_for(None), PlainView)
    assert isinstance(view_for(False), LiveView)


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "code"


def test_arguments_that_make_no_sense_are_told_in_one_sentence(tree: Path) -> None:
    (tree.parent / "empty").mkdir()
    hidden = tree.parent / "empty" / ".hidden"
    hidden.mkdir()
    (hidden / "a.py").write_text("")
    for arguments, said in [
        (["nowhere"], "there is no folder nowhere"),
        (["code/a.py"], "code/a.py is not a folder"),
        (["empty"], "there are no Python files under empty"),
        (["code", "--output", "code"], "code is a folder; --output takes a file"),
        (["code", "--output", "nowhere/report.md"], "there is no folder"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith(f"playcall: {said}")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


def test_a_missing_extra_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "dbos" else object())
    result = run("code")
    assert result.exit_code == 1
    assert result.stderr == "playcall: dbos is missing; the demo needs: pip install 'playcall[all]'\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (
            BackendStartError("it ended; it wrote:\nplaycall: the disk is full"),
            1,
            "could not be started: the disk is full",
        ),
        (PlaycallError("the log is gone"), 1, "the log is gone"),
        (KeyboardInterrupt(), 130, "interrupted; the backend was stopped"),
        (SystemExit(143), 143, ""),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_a_status(
    tree: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(demo_story, "tell", fail)
    result = run("code")
    assert result.exit_code == status
    assert said in result.stderr
    assert result.stderr.count("\n") <= 1


@pytest.mark.parametrize(
    ("status", "verdict", "report", "expected"),
    [
        ("completed", Verdict(3, 3), "r.md", 0),
        ("completed", Verdict(3, 2, lost=("e2",)), "r.md", 1),  # type: ignore[arg-type]
        ("completed", Verdict(3, 4, repeated=("e2",)), "r.md", 1),  # type: ignore[arg-type]
        ("completed", Verdict(3, 3), None, 1),
        ("failed", Verdict(3, 3), None, 1),
    ],
)
def test_only_a_completed_run_delivered_once_is_a_success(
    tree: Path, monkeypatch: pytest.MonkeyPatch, status: str, verdict: Verdict, report: str | None, expected: int
) -> None:
    asked: list[Path] = []

    def tell(source: Path, output: Path, view: object) -> tuple[Outcome, Verdict]:
        asked.extend([source, output])
        outcome = Outcome("run_1", status, verdict.in_log, verdict.received, len(verdict.repeated), 1, report)
        return outcome, verdict

    monkeypatch.setattr(demo_story, "tell", tell)
    result = run("code")
    assert result.exit_code == expected
    said = json.loads(result.stdout.splitlines()[-1])
    assert list(said) == [
        "run_id",
        "status",
        "events_in_log",
        "events_received",
        "events_repeated",
        "reconnects",
        "report",
    ]
    assert asked == [tree.resolve(), tree.parent / "playcall-demo-report.md"]


def test_without_a_path_it_reads_its_own_source(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(source: Path, output: Path, view: object) -> None:
        raise PlaycallError(f"asked for {source}")

    monkeypatch.setattr(demo_story, "tell", tell)
    assert run().stderr.strip().endswith("playcall")
