"""Templates give native values where they can, say what is wrong, and cannot run away."""

from __future__ import annotations

from typing import Any

import pytest

from playcall.server.tools.templating import (
    TemplateProblem,
    check_template,
    is_plain,
    references,
    render_text,
    render_value,
    work,
)
from playcall.server.tools.templating.sandbox import environment

NAMES: dict[str, Any] = {
    "inputs": {"list": [1, 2], "text": "x", "items": "a key named as a method"},
    "steps": {"read": {"output": {"files": [{"n": 1, "name": "b"}, {"n": 2, "name": "a"}]}}},
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ inputs.list }}", [1, 2]),
        (" {{- inputs.list -}} ", [1, 2]),
        ("n={{ inputs.list|length }}", "n=2"),
        ("{{ 1 }}{{ 2 }}", "12"),
        ("{{ steps.read.output.files|map(attribute='n')|list }}", [1, 2]),
        ("{{ steps.read.output.files|selectattr('n', 'gt', 1)|list }}", [{"n": 2, "name": "a"}]),
        ("{{ inputs.list|map('string')|join('-') }}", "1-2"),
        ("{{ steps.read.output.files|map(attribute='name')|sort }}", ["a", "b"]),
        ("{{ inputs['items'] }}", "a key named as a method"),
        ("{{ inputs.text ~ 1 }}", "x1"),
        ("{{ inputs|tojson }}", None),
        ("{{ inputs.list[0] + 1 == 2 }}", True),
        ("{{ 'aXb'|replace('X', '-') }}", "a-b"),
        ("{{ {'a': (1, 2)} }}", {"a": [1, 2]}),
        ("{% for k, v in steps.items() %}{{ loop.index }}{{ k }}{% endfor %}", "1read"),
        ("no marks { at } all", "no marks { at } all"),
        (5, 5),
        (["{{ inputs.list }}", {"k": "{{ inputs.text }}"}], [[1, 2], {"k": "x"}]),
    ],
)
def test_a_template_gives(template: Any, value: Any) -> None:
    given = render_value(template, NAMES)
    assert type(given) is type(value) or value is None
    assert value is None or given == value


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in [1] %}" * 25 + "x" + "{% endfor %}" * 25,
        "{{ ('a' * 100)|truncate(10, False, 'b' * 100) }}",
        "{{ '\\ud800' }}",
        "x{{ '\\ud800' }}",
        "{{ ['\\ud800'] }}",
        "{{ 1e308 * 10 }}",
        "{{ [1e308 * 10] }}",
        "{{ {'a': 10 ** 1200 * 10 ** 1200} }}",
    ],
)
def test_what_python_or_json_cannot_hold_is_the_templates_problem(template: str) -> None:
    with pytest.raises(TemplateProblem):
        render_value({"nested": [template]}, NAMES)


@pytest.mark.parametrize("template", ["{{ inputs.text }}", "{{ [inputs.text] }}", "{{ inputs.text }}."])
def test_all_templates_of_a_value_have_one_budget(template: str) -> None:
    names = {"inputs": {"text": "x" * 1_000_000}}
    assert len(render_value([template] * 7, names)) == 7
    with pytest.raises(TemplateProblem, match="more than 8000000 characters"):
        render_value({"deep": [template] * 9}, names)


def test_a_literal_that_cannot_be_stored_is_a_problem_too() -> None:
    with pytest.raises(TemplateProblem, match="surrogate"):
        render_value({"x": "\ud800"}, {})
    assert check_template("{% for a in [1] %}" * 25 + "{% endfor %}" * 25) is not None


def test_reading_a_template_calls_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def called(*arguments: object) -> str:
        calls.append(arguments)
        return ""

    monkeypatch.setitem(environment.filters, "round", called)
    for template in ("{{ 1|round }}", "a {{ 1|round }}", "{% set x = 1|round %}", "{% if 1|round %}{% endif %}"):
        assert check_template(template) is None
    assert calls == []
    render_text("{{ 1|round }}", {})
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("template", "plain"),
    [
        ("text", True),
        ("{{ inputs.path }}", True),
        ("a {{ steps['read'].output[0] }} b", True),
        ("{{ inputs.x" + " " * 2_000 + "}}", False),
        ("{{ x|upper }}", False),
        ("{{ x + 1 }}", False),
        ("{{ f() }}", False),
        ("{% for a in x %}{% endfor %}", False),
        ("{{ x", False),
        ("{{ " + "[" * 900 + "]" * 900 + " }}", False),
    ],
)
def test_only_what_names_values_is_plain(template: str, plain: bool) -> None:
    assert is_plain(template) is plain


def test_work_answers_with_a_value_or_a_problem() -> None:
    assert work({"value": ["{{ x }}"], "names": {"x": 1}}) == {"value": [1]}
    assert work({"template": "{{ x }}", "names": {"x": 1}}) == {"value": "1"}
    assert "nope" in work({"template": "{{ nope }}", "names": {}})["problem"]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(TemplateProblem, match="nope"):
        render_value("{{ inputs.nope }}", NAMES)
    with pytest.raises(TemplateProblem, match="line 2"):
        render_text("a\n{{ %", {})


def test_a_broken_template_is_told_without_rendering() -> None:
    assert check_template("{{ x") is not None
    assert check_template("{{ x }}") is None
    assert check_template("{{ x|nofilter }}") is not None
    assert check_template("x" * 100_001) is not None


def test_references_are_what_comes_from_outside() -> None:
    text = (
        "{{ inputs.a }} {{ steps['b'].output }} {{ steps[inputs.c] }} {{ alone }}"
        "{% for x in steps.d.output %}{{ x.y }}{% endfor %}{% set z = 1 %}{{ z }} {{ range(3) }}"
    )
    assert references(text) == {
        ("inputs", "a"),
        ("inputs", "c"),
        ("steps", "b"),
        ("steps", "d"),
        ("steps",),
        ("alone",),
    }
    assert references("plain") == set()
