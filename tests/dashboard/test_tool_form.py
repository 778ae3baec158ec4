"""A tool of one's own is registered by what was typed; its header is read as one, and never shown."""

from __future__ import annotations

import pytest

from playcall.dashboard.input_form import Ask
from playcall.dashboard.tool_form import FIELDS, read_tool, spec_of

from .desk import Desk

TYPED: dict[str, object] = {"name": "weather", "url": "https://weather.example/now", "method": 0}


@pytest.mark.parametrize(
    ("typed", "header"),
    [
        ("Authorization: Bearer a:b", {"Authorization": "Bearer a:b"}),
        ("X:y", {"X": "y"}),
        ("", None),
    ],
)
def test_a_header_is_a_name_and_a_value(typed: str, header: dict[str, str] | None) -> None:
    reading = read_tool(FIELDS, {**TYPED, "secret_headers": typed})
    assert reading.problems == {}
    assert reading.values.get("secret_headers") == header


@pytest.mark.parametrize("typed", ["Bearer", "X:", ": y", ":"])
def test_what_is_no_header_is_said_at_its_field_without_its_text(typed: str) -> None:
    reading = read_tool(FIELDS, {**TYPED, "secret_headers": typed})
    assert reading.problems == {"secret_headers": "a header is written Name: value"}
    assert "secret_headers" not in reading.values


def test_the_header_is_not_shown_while_it_is_typed() -> None:
    assert [each.name for each in FIELDS if each.ask is Ask.HIDDEN] == ["secret_headers"]


def test_what_was_typed_registers_a_tool(desk: Desk) -> None:
    typed = {
        **TYPED,
        "description": "Of now",
        "parameters": '{"type": "object", "properties": {"city": {"type": "string"}}}',
        "defaults": '{"city": "Bonn"}',
        "secret_headers": "X: y",
        "timeout_seconds": "3.5",
    }
    tool = desk.client.tools.register(spec_of(read_tool(FIELDS, typed).values))
    assert (tool.name, tool.kind, tool.url, tool.method) == ("weather", "http", "https://weather.example/now", "POST")
    assert (tool.defaults, tool.timeout_seconds, tool.description) == ({"city": "Bonn"}, 3.5, "Of now")
    assert "secret" not in tool.model_dump_json()
