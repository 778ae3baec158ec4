"""A run's inputs fit what its playbook declares, or each misfit is told."""

from __future__ import annotations

from typing import Any

import pytest

from playcall.models import InputSpec
from playcall.server.engine import bind_inputs


def bound(spec: dict[str, Any], **given: Any) -> tuple[Any, str | None]:
    values, problems = bind_inputs({"x": InputSpec.model_validate(spec)}, given)
    return values.get("x"), problems[0].type if problems else None


@pytest.mark.parametrize(
    ("spec", "given", "value"),
    [
        ({"type": "string"}, "a", "a"),
        ({"type": "integer"}, "3", 3),
        ({"type": "integer"}, 3.0, 3),
        ({"type": "float"}, 3, 3.0),
        ({"type": "boolean"}, "true", True),
        ({"type": "list", "min": 1}, [1], [1]),
        ({"type": "object"}, {"a": 1}, {"a": 1}),
        ({"type": "string", "choices": ["a", "b"]}, "b", "b"),
        ({"type": "integer", "min": 1, "max": 3}, 3, 3),
        ({"type": "string", "required": False}, None, None),
    ],
)
def test_a_value_that_fits_is_taken(spec: dict[str, Any], given: Any, value: Any) -> None:
    assert bound(spec, x=given) == (value, None)


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ({"type": "string"}, 3),
        ({"type": "string"}, None),
        ({"type": "integer"}, True),
        ({"type": "integer"}, 3.5),
        ({"type": "integer"}, "three"),
        ({"type": "float"}, float("nan")),
        ({"type": "float"}, "inf"),
        ({"type": "boolean"}, "perhaps"),
        ({"type": "list"}, "a"),
        ({"type": "object"}, []),
        ({"type": "string", "choices": ["a"]}, "b"),
        ({"type": "integer", "min": 1}, 0),
        ({"type": "string", "max": 2}, "abc"),
        ({"type": "list", "min": 1}, []),
    ],
)
def test_a_value_that_does_not_fit_is_refused(spec: dict[str, Any], given: Any) -> None:
    assert bound(spec, x=given)[1] == "input_invalid"


def test_missing_unknown_and_defaulted_inputs() -> None:
    assert bound({"type": "string"}) == (None, "input_missing")
    assert bound({"type": "string", "default": "d"}) == ("d", None)
    values, problems = bind_inputs({"path": InputSpec.model_validate({"type": "string", "default": "."})}, {"pth": 1})
    assert values == {"path": "."}
    assert (problems[0].loc, problems[0].suggestion) == (["body", "inputs", "pth"], "path")
