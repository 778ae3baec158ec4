"""What pages say of the rest is so: names of tests, commands and public names, and the pictures that are drawn."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest
import typer
from pictures.diagrams import PICTURES, pictures

from playcall.cli.app import app

from .blocks import ROOT, pages

DOCS = ROOT / "docs"
FENCED = re.compile(r"^(```|~~~).*?^\1$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(markdown: str) -> set[str]:
    """Of its headings, as code hosts make them: nothing but letters, digits, hyphens, and underscores is left."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*pages(), "CHANGELOG.md"])
def test_every_link_of_a_page_leads_somewhere_on_a_code_host_too(name: str) -> None:
    page = ROOT / name
    for path, anchor in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCED.sub("", page.read_text()))):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        # The reference's anchors are there on the site only, where they are checked.
        if anchor and target.suffix == ".md" and target.parent.name != "reference":
            assert anchor in anchors(target.read_text()), f"{path}#{anchor}"


def test_every_promise_is_proved_by_a_test_that_there_is() -> None:
    page = (DOCS / "guarantees.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE)
    }
    assert len(named) > 30
    assert named - there == set()
    for row in re.findall(r"^\|.*\|$", page, re.MULTILINE):
        assert "`test_" in row or row.startswith(("| promised |", "|---")), row


def commands(command: Any, words: tuple[str, ...] = ()) -> set[str]:
    """Any: Typer gives classes of its own here."""
    below = getattr(command, "commands", None)
    if below is None:
        return {" ".join(words)}
    return {each for name, sub in below.items() for each in commands(sub, (*words, name))}


def test_the_page_of_the_command_line_names_every_command() -> None:
    _, _, listed = (DOCS / "command-line.md").read_text().partition("## All commands\n")
    named: set[str] = set()
    for group, cell in re.findall(r"^\| `playcall (\S+)` \| (.*?) \|", listed, re.MULTILINE):
        subs = re.findall(r"`([a-z-]+)`", cell) if cell.startswith("`") else []
        named |= {f"{group} {sub}" for sub in subs} or {group}
    assert named == commands(typer.main.get_command(app))


def test_the_page_of_the_dashboard_names_its_pages_and_options() -> None:
    page = (DOCS / "dashboard.md").read_text()
    frame = (ROOT / "src" / "playcall" / "dashboard" / "pages" / "frame.py").read_text()
    table = page.partition("| page | shows |\n")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE) == re.findall(r'\("\w+", "(\w+)", ":material', frame)
    command = getattr(typer.main.get_command(app), "commands")["dashboard"]  # noqa: B009 - typer gives it as a plain command
    options = {option.opts[0]: option for option in command.params}
    named = re.findall(r"^\| `(--[a-z-]+)` \| (\S+)?", page, re.MULTILINE)
    assert {name for name, _ in named} == options.keys() - {"--url", "--profile", "--explain"}
    for name, default in named:
        assert default in (str(options[name].default), "prints"), name


@pytest.mark.parametrize("module", ["playcall", "playcall.models", "playcall.testing"])
def test_every_public_name_is_in_the_reference(module: str) -> None:
    shown = set(
        re.findall(
            r"^::: ([\w.]+)$", "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md")), re.MULTILINE
        )
    )
    names = set(import_module(module).__all__) - {"__version__", "PlaycallError"}  # the last is with the errors
    assert {name for name in names if f"{module}.{name}" not in shown} == set()


def test_the_errors_are_shown_as_a_whole() -> None:
    assert "::: playcall.errors\n" in (DOCS / "reference" / "errors.md").read_text()


@pytest.mark.parametrize("name", pictures())
def test_the_diagrams_are_what_their_script_draws(name: str) -> None:
    assert (PICTURES / f"{name}.svg").read_text() == pictures()[name], "python -m pictures diagrams"


def test_the_house_has_a_room_for_each_package() -> None:
    packages = {each.name for each in (ROOT / "src" / "playcall").iterdir() if (each / "__init__.py").is_file()}
    rooms = set(re.findall(r">([a-z]+)<", pictures()["house"])) | {"status"}
    assert packages <= rooms
