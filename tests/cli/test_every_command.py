"""The tree of commands: each says how it is used, speaks to programs, and is tested somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
from typer.testing import CliRunner

from playcall.cli.app import ORDER, app

HERE: Final = Path(__file__).parent


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Any: click's classes, which Typer has in a module of its own."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name, each in below.items():
        yield from leaves(each, (*words, name))


ROOT: Final = typer.main.get_command(app)
COMMANDS: Final = dict(leaves(ROOT))
every_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


def options(words: tuple[str, ...]) -> set[str]:
    return {option for each in COMMANDS[words].params for option in each.opts}


def example(words: tuple[str, ...]) -> str:
    found = re.search(r"^Example: (.+)$", COMMANDS[words].help or "", re.MULTILINE)
    assert found is not None, f"the help of {words} has no line «Example: playcall …»"
    return found[1]


def test_all_of_the_work_has_its_commands() -> None:
    assert {words[0] for words in COMMANDS} == set(ORDER)
    assert {" ".join(words) for words in COMMANDS} >= {
        *(f"playbooks {verb}" for verb in ("list", "show", "create", "validate", "delete", "run")),
        *(f"agents {verb}" for verb in ("list", "show", "create", "update", "delete", "start", "stop", "tasks")),
        *(f"tasks {verb}" for verb in ("list", "show", "create", "cancel", "delete")),
        *(f"tools {verb}" for verb in ("list", "show", "register", "delete", "health", "test")),
        *("login", "logout", "whoami", "status", "dashboard", "doctor", "demo", "serve", "backup"),
    }


@every_command
def test_its_help_fits_a_terminal_and_has_an_example_that_could_be_typed(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "40"})
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 40
    typed = shlex.split(example(words))
    assert tuple(typed[: len(words) + 1]) == ("playcall", *words)
    COMMANDS[words].make_context(" ".join(words), typed[len(words) + 1 :])  # raises for what it does not take


@every_command
def test_it_speaks_to_programs_and_explains_what_it_tried(words: tuple[str, ...]) -> None:
    assert "--json" in options(words)
    assert "--url" not in options(words) or {"--profile", "--explain"} <= options(words)


@every_command
def test_it_is_tested(words: tuple[str, ...]) -> None:
    typed = ", ".join(f'"{word}"' for word in words)
    assert any(typed in test.read_text() for test in HERE.glob("test_*.py")), f"no test runs {typed}"


def test_options_mean_the_same_everywhere() -> None:
    """One name, one way to be given; a short name that is two things is mistyped."""
    shorts: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for each in command.params:
            for short in (option for option in each.opts if re.fullmatch("-[a-z]", option)):
                shorts.setdefault(short, set()).update(option for option in each.opts if option.startswith("--"))
    assert {short: longs for short, longs in shorts.items() if len(longs) > 1} == {}


def test_playcall_alone_says_what_to_do_first() -> None:
    shown = CliRunner().invoke(app, [])
    assert shown.exit_code == 0
    first, _, commands = shown.output.partition("Options")
    for word in ("demo", "serve", "login", "dashboard"):
        assert f"playcall {word}" in first
    assert commands.index("playbooks") < commands.index("login") < commands.index("backup")


def test_completion_can_be_installed() -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
