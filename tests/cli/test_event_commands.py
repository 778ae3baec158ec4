"""`playcall events` against a real backend."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from playcall import Playcall

from .commands import Run, done, objects, said


def test_the_events_that_are_kept_are_printed_in_order(playcall: Run, client: Playcall) -> None:
    agent = client.agents.create({"name": "Told", "tools": ["text.stats"]})
    client.agents.stop(agent.id)
    told = objects(playcall("events", "history", f"agent:{agent.id}", "--json"))
    assert [event["type"] for event in told] == ["agent.created", "agent.changed"]
    assert told[0]["data"]["agent"]["name"] == "Told"
    assert [event["seq"] for event in told] == [1, 2]
    printed = done(playcall("events", "history", f"agent:{agent.id}", "--type", "agent.changed")).splitlines()
    assert [line.split()[2] for line in printed] == ["agent.changed"]
    (first,) = objects(playcall("events", "history", f"agent:{agent.id}", "-n", "1", "--json"))
    assert first["type"] == "agent.created"


def test_a_place_that_is_none_and_a_topic_that_is_none_are_told(playcall: Run) -> None:
    assert "--since is start, head or a cursor" in said(
        playcall("events", "history", "runs", "--since", "yesterday"), 2
    )
    assert "the end of history" in said(playcall("events", "history", "runs", "--since", "head"), 2)
    assert said(playcall("events", "tail", "weather"), 1)


def test_events_are_printed_as_they_come_until_ctrl_c(live_environment: dict[str, str], client: Playcall) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "playcall", "events", "tail", "playbooks", "--since", "start", "--json"],
        env=live_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for name in ("Tailed one", "Tailed two"):
            step = {"id": "s", "type": "standard", "agent": "Reader", "operation": "text.stats"}
            made = client.playbooks.create({"name": name, "agents": ["Reader"], "steps": [step]})
            while json.loads(process.stdout.readline())["data"].get("playbook", {}).get("id") != made.id:
                pass
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "playcall: interrupted\n")


def test_a_tail_ends_with_its_topic_or_its_limit(playcall: Run, client: Playcall) -> None:
    agent = client.agents.create({"name": "Ending", "tools": []})
    client.agents.delete(agent.id)
    topic = f"agent:{agent.id}"
    told = objects(playcall("events", "tail", topic, "--since", "start", "--json"))
    assert [event["type"] for event in told] == ["agent.created", "agent.deleted"]
    assert len(objects(playcall("events", "tail", topic, "--since", "start", "--limit", "1", "--json"))) == 1
