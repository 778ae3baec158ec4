"""`playcall tools` against a real backend."""

from __future__ import annotations

import json
from pathlib import Path

from playcall import Playcall

from .commands import Run, done, objects, said


def test_the_tools_that_come_with_the_backend_are_listed_and_shown(playcall: Run) -> None:
    assert "text.stats" in done(playcall("tools", "list", "--kind", "builtin"))
    assert {each["kind"] for each in objects(playcall("tools", "list", "--kind", "builtin", "--json"))} == {"builtin"}
    shown = done(playcall("tools", "show", "text.stats"))
    assert '"type": "object"' in shown
    (facts,) = objects(playcall("tools", "show", "text.stats", "--json"))
    assert facts["id"] in shown


def test_an_endpoint_of_ones_own_is_registered_with_its_secrets_unseen_and_deleted(
    playcall: Run, client: Playcall, tmp_path: Path
) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"city": {"type": "string"}}}')
    completed = playcall(
        *("tools", "register", "weather", "--endpoint", "https://weather.example/now", "--method", "PUT"),
        *("--parameters", "schema.json", "--default", "unit=celsius", "--secret-headers", "-", "--timeout", "3"),
        *("--description", "Tells the weather"),
        input='{"X-Token": "hush-hush"}',
    )
    made = done(completed).strip()
    assert "hush" not in completed.stdout + completed.stderr
    tool = client.tools.get(made)
    assert (tool.url, tool.method, tool.defaults) == ("https://weather.example/now", "PUT", {"unit": "celsius"})
    assert (tool.timeout_seconds, tool.parameters["properties"]) == (3, {"city": {"type": "string"}})
    shown = done(playcall("tools", "show", "weather"))
    assert "PUT https://weather.example/now" in shown
    assert "hush" not in shown
    assert objects(playcall("tools", "delete", "weather", "-y", "--json")) == [{"id": made, "deleted": True}]


def test_an_installed_function_is_registered(playcall: Run) -> None:
    arguments = ("tools", "register", "sizes", "--implementation", "source.sizes", "--default", "top=3", "--json")
    (made,) = objects(playcall(*arguments))
    assert (made["kind"], made["defaults"]) == ("installed", {"top": 3})
    assert "source.sizes" in done(playcall("tools", "show", "sizes"))


def test_a_tool_is_one_of_the_two(playcall: Run) -> None:
    assert "--endpoint URL" in said(playcall("tools", "register", "neither"), 2)
    both = ("--endpoint", "https://x.example", "--implementation", "source.sizes")
    assert "--endpoint URL" in said(playcall("tools", "register", "both", *both), 2)
    two = ("--endpoint", "https://x.example", "--parameters", "-", "--secret-headers", "-")
    assert "not both" in said(playcall("tools", "register", "two", *two, input="{}"), 2)


def test_a_tool_is_tried_with_parameters_from_arguments_and_standard_input(playcall: Run) -> None:
    shown = done(playcall("tools", "test", "text.stats", "--param", "text=some words", "-p", "top=0"))
    assert json.loads(shown)["words"] == 2
    piped = playcall("tools", "test", "text.stats", "--params", "-", "--json", input='{"text": "one"}')
    (result,) = objects(piped)
    assert (result["finished"], result["output"]["words"]) == (True, 1)


def test_a_tool_that_takes_longer_goes_on_as_a_task(playcall: Run, client: Playcall) -> None:
    completed = playcall("tools", "test", "wait", "-p", "seconds=600", "--wait", "0")
    assert (done(completed), completed.stderr.startswith("it goes on as a task: playcall tasks show ")) == ("", True)
    client.tasks.cancel(completed.stderr.split()[-1])


def test_parameters_that_do_not_fit_are_named_and_a_tool_that_fails_says_why(playcall: Run) -> None:
    assert "top" in said(playcall("tools", "test", "text.stats", "-p", "top=many"), 1)
    assert said(playcall("tools", "test", "text.stats"), 1)
    assert "no tool has the id or the name 'no.such'" in said(playcall("tools", "test", "no.such"), 1)


def test_the_health_of_a_tool_is_told_and_is_the_exit_status(playcall: Run, client: Playcall) -> None:
    assert "state    healthy" in done(playcall("tools", "health", "text.stats"))
    client.tools.register({"name": "gone", "kind": "http", "url": "http://127.0.0.1:9/", "timeout_seconds": 2})
    sick = playcall("tools", "health", "gone", "--json")
    assert sick.returncode == 1
    assert json.loads(sick.stdout)["healthy"] is False
