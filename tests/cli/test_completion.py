"""What a shell is told when somebody presses Tab: as it asks, by a process of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from playcall import Playcall
from playcall.cli import completion
from playcall.cli.profiles import Profile, Profiles, save
from playcall.deadline import nearest
from playcall.errors import PlaycallError

from .commands import Completed, Run, done

NO_WORD: Final = """
import socket, sys, time
sys.modules["uvloop"] = None  # which asks the DNS in C
socket.getaddrinfo = lambda *arguments, **options: time.sleep(600)
"""


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


def test_its_time_is_for_all_pages_together_and_what_came_in_it_is_offered(playcall: Run) -> None:
    ends_at: list[float | None] = []

    def ids(client: Playcall) -> Iterator[tuple[str, str]]:
        for page in range(3):
            ends_at.append(nearest(None))
            if page == 2:
                raise PlaycallError("no answer in time")
            yield f"agt_{page}", "its name"

    assert completion._asked(SimpleNamespace(params={}), "agt", ids) == [("agt_0", "its name"), ("agt_1", "its name")]
    assert ends_at[0] is not None
    assert len(set(ends_at)) == 1


def test_a_name_that_the_dns_has_no_word_of_keeps_nobody_waiting(process: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_WORD)
    completed = asked(
        process, "bash", "playcall agents show agt", PLAYCALL_URL="http://silent.example", PYTHONPATH=str(tmp_path)
    )
    assert (completed.returncode, completed.stdout.strip(), completed.stderr) == (0, "", "")
