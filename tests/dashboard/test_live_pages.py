"""The parts of the pages that tick: what they show stays true, and what is clicked there happens once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from playcall import Playcall
from playcall.dashboard import connection, gantt
from playcall.dashboard.following import MOST, Closable, Followed
from playcall.models import Run
from playcall.testing import FaultProxy

from .app import App, serve
from .desk import AGENT, Desk
from .waiting import until


@pytest.fixture
def app(desk: Desk) -> Iterator[App]:
    with serve(desk.url, desk.api_key) as served:
        yield served


@pytest.fixture
def proxy(desk: Desk) -> Iterator[FaultProxy]:
    with FaultProxy(desk.url) as running:
        yield running


@pytest.fixture
def app_behind(proxy: FaultProxy, desk: Desk) -> Iterator[App]:
    """Reaches the backend through `proxy`."""
    with serve(proxy.url, desk.api_key) as served:
        yield served


class Another(Followed):
    """A model of something else that is looked at."""

    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        pass


def let_all_go() -> None:
    for number in range(MOST):
        connection.following().look(f"another {number}", Another)


def ended(desk: Desk, name: str, *steps: dict[str, Any], **fields: Any) -> Run:
    return desk.ended(desk.run(name, *(steps or ({"use": "wait", "seconds": 0},)), **fields))


def tool_id(desk: Desk, name: str) -> str:
    return next(str(each.id) for each in desk.client.tools.list() if each.name == name)


# --- what was let go --------------------------------------------------------------------------------------------------


def test_a_run_s_page_goes_on_though_its_model_was_let_go(desk: Desk, app: App) -> None:
    run = desk.at_gate("Work")
    assert "running" in app.open("runs", run=run.id).tick().text
    let_all_go()
    desk.gate.open(1)
    app.ticks_until_it_says("completed")


def test_a_task_s_page_goes_on_though_its_model_was_let_go(desk: Desk, app: App) -> None:
    gate = {"folder": str(desk.gate.folder), "marks": 1}
    task = desk.client.tasks.create({"agent": AGENT, "operation": "show.gate", "parameters": gate})
    app.open("tasks", task=task.id).ticks_until_it_says("running")
    let_all_go()
    desk.gate.open(1)
    app.ticks_until_it_says("completed")


def test_the_page_of_an_ended_run_that_was_let_go_is_read_anew_by_a_click_however_long_that_takes(
    desk: Desk, proxy: FaultProxy, app_behind: App
) -> None:
    run = ended(desk, "Work")
    app_behind.open("runs", run=run.id).ticks_until_it_says("Retry")
    until(lambda: not app_behind.tick().shown.title)  # the run does not tick any more
    let_all_go()
    proxy.half_open()
    assert "Retry" not in app_behind.redraw_fragments().text
    proxy.heal()
    app_behind.ticks_until_it_says("Retry")


# --- what was deleted -------------------------------------------------------------------------------------------------


def test_a_run_that_was_deleted_is_not_opened_with_its_buttons(desk: Desk, app: App) -> None:
    run = ended(desk, "Work")
    app.open("runs", run=run.id).ticks_until_it_says("Retry")
    desk.client.runs.delete(run.id)
    until(lambda: "Retry" not in app.open("runs", run=run.id).text)
    assert "answered 404" in app.text


def test_a_task_that_was_deleted_is_not_opened_as_if_it_were_there(desk: Desk, app: App) -> None:
    task = desk.client.tasks.create({"agent": AGENT, "operation": "wait", "parameters": {"seconds": 0}})
    app.open("tasks", task=task.id).ticks_until_it_says("completed")
    desk.client.tasks.delete(task.id)
    until(lambda: "completed" not in app.open("tasks", task=task.id).text)
    assert "answered 404" in app.text


# --- what is on its way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "shows"), [("run", "Playbook"), ("agents", "Create"), ("tasks", "Operation")])
def test_a_page_that_waits_for_the_backend_is_drawn_once_it_has_answered(
    page: str, shows: str, proxy: FaultProxy, app_behind: App
) -> None:
    proxy.half_open()
    let_all_go()
    assert "Waiting for the backend" in app_behind.open(page).text
    proxy.heal()
    app_behind.ticks_until_it_says(shows)


# --- what is clicked twice --------------------------------------------------------------------------------------------


def test_a_retry_whose_answer_was_lost_is_clicked_again_and_happens_once(
    desk: Desk, proxy: FaultProxy, app_behind: App
) -> None:
    run = ended(desk, "Work")
    losing = True
    proxy.lose_answers_by(lambda request: "after" if losing and request.path.endswith("/retry") else None)
    app_behind.open("runs", run=run.id).ticks_until_it_says("Retry")
    app_behind.press("Retry").run()
    assert "answered" not in app_behind.text
    assert proxy.answers_lost > 0
    losing = False
    app_behind.press("Retry")
    assert "this is the new one" in app_behind.text
    assert len(list(desk.client.runs.list())) == 2
    app_behind.open("runs", run=run.id).press("Retry")
    assert len(list(desk.client.runs.list())) == 3, "that one was answered: it is another command"


def test_a_tool_whose_answer_was_lost_is_tried_again_and_called_once(
    desk: Desk, proxy: FaultProxy, app_behind: App
) -> None:
    losing = True
    proxy.lose_answers_by(lambda request: "after" if losing and "/execute" in request.path else None)
    app_behind.open("tools", tool=tool_id(desk, "wait"))
    field(app_behind, "seconds").set_value("0")
    app_behind.press("Try it").run()
    assert proxy.answers_lost > 0
    losing = False
    app_behind.press("Try it")
    assert "It gave" in app_behind.text
    assert len(list(desk.client.tasks.list())) == 1
    app_behind.press("Try it")
    assert len(list(desk.client.tasks.list())) == 2, "that one was answered: it is another command"


def test_a_tool_that_failed_is_called_again_by_another_click(desk: Desk, app: App) -> None:
    app.open("tools", tool=tool_id(desk, "files.read"))
    field(app, "path").set_value("nothing.txt")
    app.press("Try it").press("Try it")
    assert len(list(desk.client.tasks.list())) == 2


def test_what_is_wrong_at_a_field_of_a_tool_is_said_until_it_is_tried_again(desk: Desk, app: App) -> None:
    app.open("tools", tool=tool_id(desk, "wait"))
    field(app, "seconds").set_value("many")
    said = "Not called: see what is said at the fields."
    assert said in app.press("Try it").text
    assert said in app.run().text


def field(app: App, name: str) -> Any:
    return next(each for each in app.shown.text_input if each.label.startswith(name))


# --- what belongs to one thing ----------------------------------------------------------------------------------------


def test_the_steps_that_are_looked_at_in_one_run_are_not_those_of_another(
    desk: Desk, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gantt, "WINDOW", 1)
    one, other = (ended(desk, name, *[{"use": "wait", "seconds": 0}] * 2) for name in ("One", "Other"))
    app.open("runs", run=one.id).ticks_until_it_says("steps 1 to")
    assert "Follow the run" in app.press("Earlier steps").text
    app.open("runs", run=other.id).ticks_until_it_says("steps 1 to")
    assert "Follow the run" not in app.text


def test_earlier_lines_of_one_level_are_not_shown_as_those_of_another(desk: Desk, app: App) -> None:
    run = ended(desk, "Lines", {"use": "show.lines", "lines": 1_000})
    app.open("runs", run=run.id).ticks_until_it_says("Earlier lines")
    app.shown.segmented_control(key="playcall_level").set_value("error")
    app.press("Earlier lines")  # both before the page was drawn again
    assert "Newest lines" not in app.text


def test_what_was_held_of_one_topic_is_not_shown_for_another(desk: Desk, app: App) -> None:
    app.open("events", topic="agents").ticks_until_it_says("live")
    assert "paused" in app.press("Pause").text
    app.open("events", topic="tools").ticks_until_it_says("live")
    assert "paused" not in app.text


def test_a_value_that_is_cut_is_said_to_be_and_one_that_is_missing_too(desk: Desk, app: App) -> None:
    spec = {"name": "Values", "agents": [AGENT], "inputs": {"long": {"type": "string"}}}
    step = {"id": "a", "type": "standard", "agent": AGENT, "operation": "wait", "parameters": {"seconds": 0}}
    playbook = desk.client.playbooks.create({**spec, "steps": [step]})
    long = desk.ended(desk.client.playbooks.run(playbook.id, inputs={"long": "x" * 50_000}))
    app.open("runs", run=long.id).ticks_until_it_says("Retry")
    app.shown.segmented_control(key="playcall_section").set_value("Inputs and output")
    assert "The first 20,000 characters." in app.run().text
    assert "x" * 20_000 in app.text
    none = ended(desk, "No values")
    app.open("runs", run=none.id).ticks_until_it_says("Retry")
    assert "It took no inputs." in app.text


# --- the health of a tool ---------------------------------------------------------------------------------------------


def test_a_health_that_could_not_be_had_is_not_said_any_more_when_it_was_had(
    desk: Desk, proxy: FaultProxy, app_behind: App
) -> None:
    app_behind.open("tools", tool=tool_id(desk, "wait"))
    proxy.refuse()
    proxy.cut()
    app_behind.press("Check its health")
    assert "/health" in app_behind.text
    proxy.heal()
    app_behind.press("Check its health")
    assert "It could be called" in app_behind.text
    assert "/health" not in app_behind.text
