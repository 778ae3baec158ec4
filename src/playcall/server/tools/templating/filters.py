"""The filters that templates have: what is not listed here does not exist."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import Environment, pass_environment

from .budget import MAX_OUTPUT_CHARACTERS, TemplateProblem, budget, tick, weigh

__all__ = ["FILTERS", "narrowed"]

_MAX_ARGUMENT = {"round": 100, "batch": 10_000, "slice": 10_000, "tojson": 16, "urlencode": 0}
"""The largest number that a filter takes beside its value, where the number alone can make it large or slow."""

FILTERS = frozenset(
    [
        "abs",
        "batch",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "e",
        "escape",
        "filesizeformat",
        "first",
        "float",
        "groupby",
        "int",
        "items",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "select",
        "selectattr",
        "slice",
        "sort",
        "string",
        "striptags",
        "sum",
        "title",
        "tojson",
        "trim",
        "truncate",
        "unique",
        "upper",
        "urlencode",
        "wordcount",
    ]
)
"""Not among them: what pads to any width, reaches attributes by name, or is not deterministic."""
_CHEAP = frozenset(["count", "d", "default", "first", "last", "length"])
"""Filters that cost the same whatever they are given."""
_PLAIN_FILTERS = ("upper", "lower", "title", "trim", "length", "int", "float", "string", "abs", "round")
"""What `map` takes by name."""


def narrowed(filters: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Of Jinja's own filters those that are listed, each counted, some of them ours."""
    own: dict[str, Callable[..., Any]] = {**filters, "replace": _replace, "map": _map, "sum": _sum, "join": _join}
    return {name: _counting(name, function) for name, function in own.items() if name in FILTERS}


def _replace(text: object, old: str, new: str, count: int | None = None) -> str:
    subject = str(text)
    if len(subject) + (subject.count(old) if old else len(subject) + 1) * len(new) > MAX_OUTPUT_CHARACTERS:
        raise TemplateProblem("replace would make a text that is too long")
    return subject.replace(old, new, -1 if count is None else count)


@pass_environment
def _map(
    environment: Environment, value: Any, filter_or_none: str | None = None, *, attribute: str | None = None
) -> Iterator[Any]:
    """`map(attribute="a.b")`, `map("upper")`: over JSON values, and without arguments for the filter."""
    if attribute is not None:
        yield from _picked(value, attribute)
        return
    for item in value:
        if filter_or_none not in _PLAIN_FILTERS:
            raise TemplateProblem(f"map cannot use the filter {filter_or_none!r}")
        yield environment.call_filter(filter_or_none, item)


def _picked(value: Iterable[Any], attribute: str) -> Iterator[Any]:
    for item in value:
        picked: Any = item
        for key in attribute.split("."):
            picked = picked[int(key) if isinstance(picked, list) else key]
        yield picked


def _sum(value: Iterable[Any], attribute: str | None = None, start: float = 0) -> Any:
    """Of numbers; to add lists up would copy each of them again and again."""
    total: Any = start
    for item in value if attribute is None else _picked(value, attribute):
        if not isinstance(item, (int, float)) or not isinstance(total, (int, float)):
            raise TemplateProblem("sum takes numbers")
        tick()
        total += item
    return total


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    parts: list[str] = []
    for item in value if attribute is None else _picked(value, attribute):
        parts.append(str(weigh(item)))
        budget().spend_work(len(parts[-1]) + len(d))
    return d.join(parts)


def _counting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    largest = _MAX_ARGUMENT.get(name)
    skipped = 1 if hasattr(original, "jinja_pass_arg") else 0  # the context comes before the value

    @functools.wraps(original)  # keeps the mark that says whether the filter wants a context
    def counted(*arguments: Any, **keywords: Any) -> Any:
        tick()
        value, others = arguments[skipped], [*arguments[skipped + 1 :], *keywords.values()]
        if largest is not None and any(isinstance(n, int) and abs(n) > largest for n in others):
            raise TemplateProblem(f"a number that {name} is given is larger than {largest}")
        if name not in _CHEAP:
            weigh([value, *others])
        return weigh(original(*arguments, **keywords), deep=False)

    return counted
