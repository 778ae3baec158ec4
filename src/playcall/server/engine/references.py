"""What a step's templates and conditions name, beside what there is at that place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from jinja2 import Environment, meta, nodes

from ...models import FieldProblem
from ..tools.json_kinds import is_list, is_object
from ..tools.templating import check_template, references
from .conditions import check_condition, condition_indexes, condition_references
from .steps.parts import Condition, Loc, Names, Templates
from .suggestions import Suggestions, problem

__all__ = ["References"]

_EVERYWHERE = ("inputs", "steps")
_PARSER = Environment(autoescape=True)
"""Nothing is rendered with it."""


class References:
    """Of one playbook. `may_precede` tells whether its first step may have run before its second."""

    def __init__(
        self,
        *,
        inputs: Collection[str],
        steps: Collection[str],
        may_precede: Callable[[str, str], bool],
        suggestions: Suggestions,
    ) -> None:
        self._inputs = inputs
        self._steps = steps
        self._may_precede = may_precede
        self._suggestions = suggestions

    def templates(self, prefix: Loc, step: str, part: Templates) -> Iterator[FieldProblem]:
        for loc, template in _strings((*prefix, *part.loc), part.value):
            if why := check_template(template):
                yield problem(loc, f"the template cannot be read: {why}", "template_invalid")
            else:
                yield from self._found(loc, step, references(template), part.names, part.missing, after=False)
                yield from self._places(loc, _template_indexes(template, part.names), part.names)

    def condition(self, prefix: Loc, step: str, part: Condition) -> Iterator[FieldProblem]:
        loc = (*prefix, *part.loc)
        if why := check_condition(part.condition):
            yield problem(loc, why, "condition_invalid")
        else:
            found = condition_references(part.condition)
            yield from self._found(loc, step, found, part.names, part.missing, after=part.after)
            yield from self._places(loc, condition_indexes(part.condition), part.names)

    def _found(
        self,
        loc: Loc,
        step: str,
        found: Iterable[tuple[str, ...]],
        names: Names,
        missing: Collection[str],
        *,
        after: bool,
    ) -> Iterator[FieldProblem]:
        for reference in sorted(found):
            name, key = reference[0], reference[1] if len(reference) > 1 else None
            if name in missing:
                yield problem(
                    loc, f"there is no {name!r} yet: nothing has been done before this", "output_not_there_yet"
                )
            elif name not in _EVERYWHERE and name not in names:
                yield self._unknown(loc, name, [*_EVERYWHERE, *sorted(names)])
            elif key is not None:
                yield from self._key(loc, step, name, key, names, after=after)

    def _key(self, loc: Loc, step: str, name: str, key: str, names: Names, *, after: bool) -> Iterator[FieldProblem]:
        if name == "inputs":
            if key not in self._inputs:
                suggestion = self._suggestions.closest(key, self._inputs)
                yield problem(loc, f"the playbook has no input {key!r}", "input_unknown", suggestion)
        elif name == "steps":
            if key not in self._steps:
                suggestion = self._suggestions.closest(key, self._steps)
                yield problem(loc, f"there is no step {key!r}", "step_unknown", suggestion)
            elif not (after and key == step) and not self._may_precede(key, step):
                yield problem(loc, f"step {key!r} cannot have run before step {step!r}", "step_not_run_yet")
        elif isinstance(keys := names[name], Collection) and key not in keys:
            suggestion = self._suggestions.closest(key, keys)
            known = ", ".join(sorted(keys)[:20])
            yield problem(loc, f"{name!r} has no {key!r}; it has: {known}", "output_unknown", suggestion)

    def _places(self, loc: Loc, found: Iterable[tuple[str, int]], names: Names) -> Iterator[FieldProblem]:
        for name, index in sorted(found):
            length = names.get(name)
            if isinstance(length, int) and index >= length:
                message = f"{name}[{index}] cannot be there: {name!r} counts from 0, and has {length} here"
                yield problem(loc, message, "output_unknown")

    def _unknown(self, loc: Loc, name: str, names: list[str]) -> FieldProblem:
        suggestion = self._suggestions.closest(name, names)
        return problem(loc, f"there is no {name!r}; there are: {', '.join(names)}", "name_unknown", suggestion)


def _template_indexes(template: str, names: Names) -> set[tuple[str, int]]:
    """As `condition_indexes`, of a readable template, and of lists whose length is known."""
    lists = {name for name, length in names.items() if isinstance(length, int) and f"{name}[" in template}
    if not lists:
        return set()
    tree = _PARSER.parse(template)
    outside = meta.find_undeclared_variables(tree) & lists
    found: set[tuple[str, int]] = set()
    for node in tree.find_all(nodes.Getitem):
        if isinstance(node.node, nodes.Name) and node.node.name in outside and isinstance(node.arg, nodes.Const):
            index: object = node.arg.value
            if isinstance(index, int):
                found.add((node.node.name, index))
    return found


def _strings(loc: Loc, value: Any) -> Iterator[tuple[Loc, str]]:
    """`Any`: a parameter is whatever JSON holds. Keys are no templates."""
    if is_object(value):
        for key, item in value.items():
            yield from _strings((*loc, key), item)
    elif is_list(value):
        for index, item in enumerate(value):
            yield from _strings((*loc, index), item)
    elif isinstance(value, str):
        yield loc, value
