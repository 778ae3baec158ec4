"""`playcall agents` against a real backend."""

from __future__ import annotations

import pytest

from playcall import Playcall
from playcall.testing import LiveBackend

from .commands import Run, done, objects, said
from .terminal import Terminal


def test_an_agent_is_made_listed_shown_changed_and_deleted(playcall: Run) -> None:
    arguments = ("--tool", "text.stats", "--tool", "wait", "--description", "reads", "--instructions", "Read.")
    made = done(playcall("agents", "create", "Whole", *arguments, "--type", "reader")).strip()
    assert f"{made}  Whole" in done(playcall("agents", "list"))
    assert made in [each["id"] for each in objects(playcall("agents", "list", "--newest-first", "-n", "1", "--json"))]
    (shown,) = objects(playcall("agents", "show", "Whole", "--json"))
    assert (shown["type"], shown["tools"], shown["instructions"]) == ("reader", ["text.stats", "wait"], "Read.")
    changed = done(playcall("agents", "update", made, "--name", "Changed", "--tool", "wait", "--model", "small"))
    for line in ("name          Changed", "tools         wait", "about         reads", "model         small"):
        assert line in changed.splitlines()
    assert objects(playcall("agents", "delete", "Changed", "-y", "--json")) == [{"id": made, "deleted": True}]
    assert "no agent has the id or the name 'Changed'" in said(playcall("agents", "show", "Changed"), 1)


def test_an_agent_is_stopped_and_started(playcall: Run, client: Playcall) -> None:
    client.agents.create({"name": "Switched", "tools": ["wait"]})
    assert objects(playcall("agents", "stop", "Switched", "--json"))[0]["state"] == "stopped"
    assert "state    ready" in done(playcall("agents", "start", "Switched"))


def test_the_tasks_of_an_agent_are_listed(playcall: Run, client: Playcall) -> None:
    client.agents.create({"name": "Busy", "tools": ["text.stats"]})
    made = [client.tasks.create({"agent": "Busy", "operation": "text.stats"}).id for _ in range(3)]
    newest = objects(playcall("agents", "tasks", "Busy", "--newest-first", "--limit", "2", "--json"))
    assert [each["id"] for each in newest] == [made[2], made[1]]
    assert done(playcall("agents", "tasks", "Busy")).count("text.stats") == 3


def test_nothing_to_change_is_a_usage_error(playcall: Run) -> None:
    assert "nothing is to be changed" in said(playcall("agents", "update", "Reader"), 2)


def test_a_name_that_is_taken_and_a_tool_that_is_not_there_are_told(playcall: Run) -> None:
    assert "409" in said(playcall("agents", "create", "Reader"), 1)
    assert "tools[0]" in said(playcall("agents", "create", "Toolless", "--tool", "no.such"), 1)


@pytest.mark.parametrize("name", ["日本語の読み手", "नमस्ते e\u0301", "[red]brackets[/red]", "--dashes", "a\u202eb"])
def test_an_agent_may_be_called_anything(playcall: Run, client: Playcall, name: str) -> None:
    made = done(playcall("agents", "create", "--", name)).strip()
    assert client.agents.get(made).name == name
    assert objects(playcall("agents", "show", "--json", "--", name))[0]["id"] == made
    row = next(line for line in done(playcall("agents", "list")).splitlines() if line.startswith(made))
    assert name.replace("\u202e", "?") in row


def test_a_narrow_terminal_shows_each_agent_whole(live: LiveBackend, client: Playcall) -> None:
    made = client.agents.create({"name": "日本語の読み手と書き手のための長い名前", "tools": ["text.stats", "wait"]})
    where = {"PLAYCALL_URL": live.url, "PLAYCALL_API_KEY": live.api_key}
    with Terminal("agents", "list", "--newest-first", "-n", "1", environment=where, columns=40) as terminal:
        assert terminal.ended() == 0
        assert made.id in terminal.lines
        assert made.name in "".join(terminal.text.split())
    with Terminal("agents", "list", environment=where, columns=120) as terminal:
        assert terminal.ended() == 0
        assert terminal.lines[0].split() == ["ID", "NAME", "STATE", "TYPE", "TOOLS"]


def test_somebody_is_asked_before_an_agent_is_gone(live: LiveBackend, client: Playcall) -> None:
    made = client.agents.create({"name": "Doomed"})
    where = {"PLAYCALL_URL": live.url, "PLAYCALL_API_KEY": live.api_key}
    for answer, status in (("n", 1), ("y", 0)):
        assert made.id in [each.id for each in client.agents.list()]
        with Terminal("agents", "delete", "Doomed", environment=where) as terminal:
            terminal.until("Delete the agent 'Doomed'")
            terminal.type(f"{answer}\n")
            assert terminal.ended() == status
    assert made.id not in [each.id for each in client.agents.list()]
