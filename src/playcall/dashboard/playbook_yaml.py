"""A stored playbook as its author would write it."""

from __future__ import annotations

import json
from typing import cast

from playcall.models import JsonObject, Playbook

__all__ = ["as_yaml"]

_ORDER = ("name", "description", "tags", "inputs", "agents", "steps")
_FIRST = ("id", "type", "description")
_LAST = ("parameters", "next", "next_conditions", "timeout_seconds", "retry")
"""Of a step: what is its type's own stands between."""


def as_yaml(playbook: Playbook) -> str:
    """What `create_from_yaml` takes. Where PyYAML is not installed it is JSON, which is YAML too (YAML 1.2, section 1.3)."""
    written = playbook.model_dump(mode="json", exclude_defaults=True, include=set(_ORDER))
    spec = {name: written[name] for name in _ORDER if name in written}
    spec["steps"] = [_ordered(step) for step in spec.get("steps", [])]
    try:
        import yaml
    except ModuleNotFoundError:
        return json.dumps(spec, indent=2, ensure_ascii=False) + "\n"

    # In C it is ten times as fast, which is seen where there are 2,000 steps; it is there where libyaml is.
    fast: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    own = cast("type[yaml.SafeDumper]", type("OwnDumper", (fast,), {}))  # what is set on it is not set for others

    def block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)  # pyright: ignore[reportUnknownMemberType] - the stubs leave it open

    own.add_representer(str, block)
    return yaml.dump(spec, Dumper=own, sort_keys=False, allow_unicode=True, width=100)  # pyright: ignore[reportUnknownMemberType] - likewise


def _ordered(step: JsonObject) -> JsonObject:
    own = [name for name in step if name not in (*_FIRST, *_LAST)]
    return {name: step[name] for name in (*_FIRST, *own, *_LAST) if name in step}
