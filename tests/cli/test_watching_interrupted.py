"""Ctrl-C at a watched run when more is going on than that: nobody there to answer, or somebody else cancels too."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from playcall import Playcall
from playcall.models import Run
from playcall.testing import FaultProxy, LiveBackend

from .commands import Run as Command
from .terminal import CTRL_C, Terminal

_numbers = count(1)
QUESTION = "[w]?"


@pytest.fixture
def run(client: Playcall) -> Run:
    """Takes longer than anybody has patience for, and is cancelled at the end."""
    step = {"id": "long", "type": "standard", "agent": "Reader", "operation": "wait", "parameters": {"seconds": 600}}
    playbook = client.playbooks.create(
        {"name": f"Interrupted {next(_numbers)}", "agents": ["Reader"], "steps": [step, {**step, "id": "longer"}]}
    )
    return client.playbooks.run(playbook.id)


@pytest.fixture
def proxy(live: LiveBackend) -> Iterator[FaultProxy]:
    with FaultProxy(live.url) as between:
        yield between


def environment(url: str, live: LiveBackend) -> dict[str, str]:
    return {"PLAYCALL_URL": url, "PLAYCALL_API_KEY": live.api_key}


def test_who_goes_on_watching_while_nobody_answers_sees_the_run_once_somebody_does(
    run: Run, proxy: FaultProxy, live: LiveBackend, client: Playcall
) -> None:
    with Terminal("runs", "watch", run.id, environment=environment(proxy.url, live), rows=30) as terminal:
        terminal.until("● connected")
        proxy.refuse()
        proxy.cut()
        terminal.until("↻ reconnecting")
        terminal.type(CTRL_C)
        terminal.until(QUESTION)
        terminal.type("w\n")
        terminal.until("↻ reconnecting")
        terminal.type(CTRL_C)
        terminal.until(lambda screen: screen.count(QUESTION) == 2)
        terminal.type("c\n")
        terminal.until(lambda screen: "it could not be asked to cancel: " in screen and "↻ reconnecting" in screen)
        proxy.heal()
        terminal.until("connected, 1 reconnect")
        assert client.runs.get(run.id).wish is None
        client.runs.cancel(run.id)
        assert terminal.ended() == 1
        assert f"{run.playbook_name}  cancelled" in terminal.text


def test_two_terminals_that_cancel_at_once_both_see_it_cancelled(run: Run, live: LiveBackend) -> None:
    command = ("runs", "watch", run.id)
    with (
        Terminal(*command, environment=environment(live.url, live)) as one,
        Terminal(*command, environment=environment(live.url, live)) as other,
    ):
        for terminal in (one, other):
            terminal.until("● connected")
            terminal.type(CTRL_C)
            terminal.until(QUESTION)
        for terminal in (one, other):
            terminal.type("c\n")
        for terminal in (one, other):
            assert terminal.ended() == 1
            assert f"{run.playbook_name}  cancelled" in terminal.text
            assert "playcall: the run ended as cancelled: the run was cancelled" in terminal.text
            assert ("asked to cancel" in terminal.text) or ("it has ended already" in terminal.text)


def test_who_is_asked_while_somebody_else_cancels_is_told_that_it_has_ended(
    run: Run, live: LiveBackend, process: Command, client: Playcall
) -> None:
    with Terminal("runs", "watch", run.id, environment=environment(live.url, live)) as terminal:
        terminal.until("● connected")
        terminal.type(CTRL_C)
        terminal.until(QUESTION)
        assert process("runs", "cancel", run.id).returncode == 0
        client.runs.wait(run.id)
        terminal.type("c\n")
        assert terminal.ended() == 1
        assert "it has ended already" in terminal.text
    again = process("runs", "cancel", run.id)
    assert (again.returncode, again.stdout) == (0, f"{run.id}  cancelled\n")


def test_a_question_takes_the_place_of_the_bars_and_of_nothing_else(
    run: Run, live: LiveBackend, client: Playcall
) -> None:
    above = "$ date\nFri Nov 27 01:02:03 UTC 2026\n"
    with Terminal("runs", "watch", run.id, environment=environment(live.url, live), shows=above) as terminal:
        terminal.until("● connected")
        terminal.type(CTRL_C)
        terminal.until(QUESTION)
        assert terminal.text.startswith(f"{above}Leave it running"), "in the very place of the bars"
        terminal.type("no\n")
        terminal.until(lambda screen: screen.count(QUESTION) == 2)
        terminal.type("w\n")
        screen = terminal.until("● connected")
        assert screen.startswith(f"{above}Leave it running"), "the bars come below what is there"
        assert screen.count(QUESTION) == 2
        client.runs.cancel(run.id)
        assert terminal.ended() == 1
        assert terminal.text.startswith(f"{above}Leave it running")
        assert terminal.text.count(f"{run.playbook_name}  ") == 1, "the bars stand there once"
