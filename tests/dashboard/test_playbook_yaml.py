"""A stored playbook reads as its author would have written it, and can be stored from that again."""

from __future__ import annotations

import builtins
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from playcall.dashboard.playbook_yaml import as_yaml
from playcall.models import Playbook, PlaybookSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "name": "Zäh: #1",
    "description": "two\nlines",
    "tags": ["a"],
    "inputs": {"path": {"type": "string", "default": ""}},
    "agents": ["A"],
    "steps": [
        {
            "id": "look",
            "type": "standard",
            "agent": "A",
            "operation": "text.search",
            "parameters": {"pattern": "a|b", "template": "one\n  two\n"},
            "next_conditions": [{"condition": "output.count == 0", "next": "end"}],
            "retry": {"attempts": 2},
        },
        {"id": "all", "type": "work_in_parallel", "agents": ["A:x"], "output_aggregation": "merge"},
    ],
}


def playbook() -> Playbook:
    fields = {"id": "pbk_1", "version": 3, "created_at": NOW, "updated_at": NOW}
    return Playbook.model_validate({**SPEC, **fields}, extra="ignore")


def test_it_can_be_stored_again_and_is_the_same() -> None:
    again = PlaybookSpec.model_validate(yaml.safe_load(as_yaml(playbook())))
    assert again == PlaybookSpec.model_validate(SPEC)


def test_it_begins_as_people_begin_and_has_no_more_than_was_written() -> None:
    text = as_yaml(playbook())
    assert text.startswith("name: 'Zäh: #1'\ndescription: |-\n  two\n  lines\n")
    assert "- id: look\n  type: standard\n  agent: A\n  operation: text.search\n  parameters:" in text
    assert "timeout_seconds" not in text
    assert "version" not in text


def test_without_pyyaml_it_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "yaml":
            raise ModuleNotFoundError(name=name)
        return there(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert PlaybookSpec.model_validate(json.loads(as_yaml(playbook()))) == PlaybookSpec.model_validate(SPEC)
