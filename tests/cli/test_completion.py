"""What a shell is told when somebody presses Tab: as it asks, by a process of its own."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from playcall import Playcall
from playcall.cli.profiles import Profile, Profiles, save

from .commands import Completed, Run, done


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that tests run on may be busier than one at which somebody sits."""
    monkeypatch.setattr("playcall.cli.completion.DEADLINE_SECONDS", 30)


def asked(run: Run, shell: str, line: str, **environment: Any) -> Completed:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    args = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return run(_PLAYCALL_COMPLETE=f"complete_{shell}", **words, **args, **environment)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_ids_are_offered_with_their_names_whatever_those_hold(playcall: Run, client: Playcall, shell: str) -> None:
    name = f"to [/red] complete \x1b[2J in {shell}"
    agent = client.agents.create({"name": name})
    offered = done(asked(playcall, shell, f"playcall agents show {agent.id[:-4]}"))
    assert agent.id in offered
    assert "\x1b" not in offered
    if shell != "bash":  # which shows no more than the word
        assert "to [/red] complete ?[2J in" in offered


@pytest.mark.parametrize("noun", ["playbooks", "runs", "tasks", "tools"])
def test_each_noun_offers_its_own(playcall: Run, client: Playcall, noun: str) -> None:
    step = {"id": "s", "type": "standard", "agent": "Reader", "operation": "text.stats"}
    book = client.playbooks.create({"name": f"Completed {noun}", "agents": ["Reader"], "steps": [step]})
    newest = {
        "playbooks": book.id,
        "runs": client.playbooks.run(book.id).id,
        "tasks": client.tasks.create({"agent": "Reader", "operation": "text.stats"}).id,
        "tools": next(iter(client.tools.list())).id,
    }
    assert newest[noun] in done(asked(playcall, "bash", f"playcall {noun} show {newest[noun][:6]}"))


def test_profiles_are_offered_without_a_backend(playcall: Run) -> None:
    save(Profiles({"home": Profile("http://x.example", "pk_secret"), "work": Profile("http://y.example", "pk_secret")}))
    offered = done(asked(playcall, "bash", "playcall whoami --profile h"))
    assert offered.split() == ["home"]


def test_where_no_backend_answers_nothing_is_offered_and_nothing_is_said(
    playcall: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playcall.cli.completion.DEADLINE_SECONDS", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        completed = asked(playcall, "bash", "playcall agents show agt", PLAYCALL_URL=url)
    assert (completed.stdout.strip(), completed.stderr) == ("", "")
