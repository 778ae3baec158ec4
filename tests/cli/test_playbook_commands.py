"""`playcall playbooks` against a real backend: what works, and how each mistake ends."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from playcall import Playcall
from playcall.testing import LiveBackend

from .commands import Run, done, objects, said

GOOD = """\
name: Look
description: Looks at a path
tags: [docs]
agents: [Reader]
inputs: {path: {type: string}, deep: {type: boolean, default: false}}
steps:
  - {id: look, type: standard, agent: Reader, operation: text.stats, parameters: {text: "{{ inputs.path }}"}}
"""
THREE_MISTAKES = """\
name: Wrong
agents: [Reader]
inputs: {path: {type: strin}}
steps:
  - id: 日本語
    type: telepathy
  - {description: 日本語, id: look, type: standard, agnt: Reader, agent: Reader, operation: text.stats}
"""


def written(folder: Path, name: str, text: str = GOOD) -> str:
    (folder / f"{name}.yaml").write_text(text.replace("name: Look", f"name: {name}"))
    return f"{name}.yaml"


def test_a_playbook_is_checked_stored_listed_shown_run_and_deleted(process: Run, tmp_path: Path) -> None:
    file = written(tmp_path, "Whole")
    assert process("playbooks", "validate", file).stdout == "valid\n"
    stored = done(process("playbooks", "create", file)).strip()
    head, *rows = done(process("playbooks", "list", "--text", "Whole")).splitlines()
    assert head.split() == ["ID", "NAME", "STEPS", "TAGS", "CHANGED"]
    assert [row.split()[:4] for row in rows] == [[stored, "Whole", "1", "docs"]]
    assert [each["id"] for each in objects(process("playbooks", "list", "--text", "Whole", "--json"))] == [stored]
    shown = done(process("playbooks", "show", "Whole"))
    for line in (f"id       {stored}", "path   string   required", "look  standard"):
        assert line in shown
    (started,) = objects(process("playbooks", "run", "Whole", "-i", "path=some words", "--json"))
    assert (started["playbook_id"], started["inputs"]["path"]) == (stored, "some words")
    assert objects(process("playbooks", "delete", "Whole", "--yes", "--json")) == [{"id": stored, "deleted": True}]
    assert "no playbook has the id or the name 'Whole'" in said(process("playbooks", "show", "Whole"), 1)


def test_a_playbook_comes_from_standard_input_and_from_json(playcall: Run, tmp_path: Path) -> None:
    piped = done(playcall("playbooks", "create", "-", input=GOOD.replace("name: Look", "name: Piped"))).strip()
    (shown,) = objects(playcall("playbooks", "show", piped, "--json"))
    again = {name: shown[name] for name in ("description", "tags", "agents", "inputs", "steps")}
    (tmp_path / "again.json").write_text(json.dumps({"name": "Again", **again}))
    (made,) = objects(playcall("playbooks", "create", "again.json", "--json"))
    assert (made["name"], made["steps"]) == ("Again", shown["steps"])


def test_a_name_that_is_longer_than_any_is_nobodys(playcall: Run) -> None:
    assert "no playbook has the id or the name" in said(playcall("playbooks", "show", "x" * 201), 1)


def test_names_are_found_exactly_and_an_id_goes_before_a_name(playcall: Run, client: Playcall, tmp_path: Path) -> None:
    client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: Find work again"))  # which is listed first
    stored = client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: Find work"))
    other = client.playbooks.create_from_yaml(GOOD.replace("name: Look", f"name: {stored.id}"))
    for wanted in ("Find work", stored.id):
        assert objects(playcall("playbooks", "show", wanted, "--json"))[0]["id"] == stored.id
    climbing = client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: ../up"))  # which is no id
    assert objects(playcall("playbooks", "show", "../up", "--json"))[0]["id"] == climbing.id
    said(playcall("playbooks", "show", "find work"), 1)
    client.playbooks.delete(other.id)


def test_deleting_asks_and_where_nobody_can_be_asked_wants_to_be_told(playcall: Run, client: Playcall) -> None:
    client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: Kept"))
    assert "--yes" in said(playcall("playbooks", "delete", "Kept"), 2)
    assert done(playcall("playbooks", "show", "Kept"))


def test_inputs_come_from_a_file_and_arguments_win(playcall: Run, client: Playcall, tmp_path: Path) -> None:
    client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: Filed"))
    (tmp_path / "inputs.json").write_text('{"path": "from the file", "deep": true}')
    arguments = ("playbooks", "run", "Filed", "--json", "--input", "path=NaN", "--inputs")
    for completed in (
        playcall(*arguments, "inputs.json"),
        playcall(*arguments, "-", input=(tmp_path / "inputs.json").read_text()),
    ):
        assert objects(completed)[0]["inputs"] == {"path": "NaN", "deep": True}
    for text, why in (("[1]", "not an object"), ("{", "is not JSON"), ('{"a": "' + "\udcff" + '"}', "not UTF-8")):
        (tmp_path / "bad.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        assert why in said(playcall("playbooks", "run", "Filed", "--inputs", "bad.json"), 2)


def test_a_run_is_watched_to_its_end_and_ends_the_command_as_it_ended(playcall: Run, client: Playcall) -> None:
    client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: Watched"))
    watched = playcall("playbooks", "run", "Watched", "--input", "path=some words", "--watch")
    assert "completed" in done(watched).splitlines()[-1]
    lines = objects(playcall("playbooks", "run", "Watched", "--input", "path=some words", "--watch", "--json"))
    assert any(line.get("type") == "run.completed" or line.get("status") == "completed" for line in lines)
    client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: Failing").replace("text: ", "path: "))
    assert playcall("playbooks", "run", "Failing", "--input", "path=/nowhere", "--watch").returncode == 1


# --- mistakes in a playbook -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["create", "validate"])
def test_every_mistake_is_shown_where_it_stands(playcall: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "wrong.yaml").write_text(THREE_MISTAKES)
    lines = said(playcall("playbooks", command, "wrong.yaml"), 1).splitlines()
    *mistakes, last = lines
    heads = [line for line in mistakes if line.startswith("wrong.yaml:")]
    assert len(heads) >= 3
    assert last.startswith(f"playcall: {'' if command == 'create' else 'wrong.yaml has '}{len(heads)} mistakes")
    source = THREE_MISTAKES.splitlines()
    for head in heads:
        line, column = map(int, head.split(":")[1:3])
        at = mistakes.index(head)
        assert mistakes[at + 1] == f"{line:>5} | {source[line - 1]}"
        assert mistakes[at + 2] == " " * 5 + " | " + " " * cell_len(source[line - 1][: column - 1]) + "^"
    assert "telepathy" in mistakes[next(at for at, line in enumerate(mistakes) if ":6:" in line) + 1]


@pytest.mark.parametrize("command", ["create", "validate"])
def test_what_is_no_yaml_is_told_with_its_line(playcall: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.yaml").write_text("name: [unclosed\nagents: {}\n")
    assert "bad.yaml:2:" in said(playcall("playbooks", command, "bad.yaml"), 1)


def test_a_mistake_far_to_the_right_is_seen_on_a_narrow_terminal(process: Run, tmp_path: Path) -> None:
    long = f"name: Wide\nagents: [Reader]\nsteps: [{{id: look, description: {'日本' * 40}, type: telepathy, operation: none}}]\n"
    (tmp_path / "wide.yaml").write_text(long)
    completed = process("playbooks", "validate", "wide.yaml", FORCE_COLOR="1", COLUMNS="40")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", completed.stderr).splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("wide.yaml:3:"))
    shown, caret = lines[at + 1 : at + 3]
    assert cell_len(shown) <= 40
    place = cell_len(caret) - 1
    assert "telepathy" in shown
    assert cell_len(shown[: shown.index("telepathy")]) == place


def test_mistakes_in_what_has_no_lines_are_told_by_field(playcall: Run, tmp_path: Path) -> None:
    # One half of a character is JSON's alone; any other JSON is read as YAML, and has lines.
    (tmp_path / "bad.json").write_text(r'{"name": "\ud83d\ude00", "agents": [], "steps": []}')
    (tmp_path / "lines.json").write_text('{"name": "x", "agents": [],\n"steps": []}')
    for command in ("create", "validate"):
        text = said(playcall("playbooks", command, "bad.json"), 1)
        assert "  agents: " in text
        assert "  steps: " in text
        assert "lines.json:2:10: steps: " in said(playcall("playbooks", command, "lines.json"), 1)


def test_what_json_alone_can_say_is_stored(playcall: Run, client: Playcall, tmp_path: Path) -> None:
    plain = client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: Plain"))
    spec = {"agents": plain.agents, "steps": [step.model_dump(mode="json") for step in plain.steps]}
    halves = json.dumps({"name": "\U0001f600", **spec, "inputs": {"path": {"type": "string"}}})
    assert r"\ud83d\ude00" in halves
    (tmp_path / "spec.json").write_text(halves)
    assert done(playcall("playbooks", "validate", "spec.json")) == "valid\n"
    (made,) = objects(playcall("playbooks", "create", "spec.json", "--json"))
    assert made["name"] == "\U0001f600"


def test_a_playbook_is_read_once_whatever_its_file_is(process: Run) -> None:
    done(process("playbooks", "create", "/dev/stdin", input=GOOD.replace("name: Look", "name: Read once")))


def test_a_verdict_for_programs_is_one_object(playcall: Run, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(THREE_MISTAKES)
    completed = playcall("playbooks", "validate", "wrong.yaml", "--json")
    assert (completed.returncode, completed.stderr) == (1, "")
    verdict = json.loads(completed.stdout)
    assert verdict["valid"] is False
    assert len(verdict["errors"]) >= 3


def test_nothing_is_stored_of_a_playbook_with_a_mistake(playcall: Run, client: Playcall, tmp_path: Path) -> None:
    said(playcall("playbooks", "create", written(tmp_path, "Odd", GOOD.replace("standard", "telepathy"))), 1)
    assert not list(client.playbooks.list(text="Odd"))


def test_inputs_that_do_not_fit_are_named(playcall: Run, client: Playcall) -> None:
    client.playbooks.create_from_yaml(GOOD.replace("name: Look", "name: Inputs"))
    assert "inputs.path" in said(playcall("playbooks", "run", "Inputs"), 1)
    assert "NAME=VALUE" in said(playcall("playbooks", "run", "Inputs", "--input", "path"), 2)


# --- bad circumstances ------------------------------------------------------------------------------------------------


def test_a_wrong_url_is_a_usage_error(process: Run) -> None:
    assert "http://host:port" in said(process("playbooks", "list", "--url", "localhost"), 2)


def test_no_backend_says_where_none_was_found_and_explains_what_it_tried(process: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert "is the backend running there?" in said(process("playbooks", "list", "--url", url), 1)
        explained = process("playbooks", "list", "--url", url, "--explain").stderr.splitlines()
    assert explained[0].startswith("playcall: ")
    assert [line for line in explained if "attempt 1" in line and "[not sent]" in line]


def test_a_refused_key_says_so_and_is_not_shown(process: Run) -> None:
    text = said(process("playbooks", "list", PLAYCALL_API_KEY="pk_wrong"), 1)
    assert "401" in text
    assert "pk_wrong" not in text


def test_a_missing_playbook_file_is_named(process: Run) -> None:
    assert "nowhere.yaml cannot be read" in said(process("playbooks", "create", "nowhere.yaml"), 2)


def test_whoever_reads_only_the_first_lines_ends_the_command_quietly(live: LiveBackend, client: Playcall) -> None:
    for number in range(5):
        client.playbooks.create_from_yaml(GOOD.replace("name: Look", f"name: Many {number}"))
    for json_wanted in ([], ["--json"]):
        with subprocess.Popen(
            [sys.executable, "-m", "playcall", "playbooks", "list", *json_wanted],
            env={**os.environ, "PLAYCALL_URL": live.url, "PLAYCALL_API_KEY": live.api_key},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()  # as head does it once it has its lines
            assert process.stderr.read() == b""
            assert process.wait(30) == 1
