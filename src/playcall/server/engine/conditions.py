"""Conditions: expressions over JSON values, evaluated without `eval`, bounded, and able to reach nothing else.

simpleeval walks the expression's tree; on top of it a name's dot means a key and nothing else, only the listed functions
can be called, and there are no comprehensions. What operators and functions take and make is counted: a short expression
could ask for a list of lists of lists, or compare two of them, and it is the server's own loop that would wait.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard, cast

from simpleeval import DEFAULT_OPERATORS, EvalWithCompoundTypes, InvalidExpression  # type: ignore[import-untyped]

from ..tools.json_kinds import is_list, is_object
from ..tools.python_syntax import parsed

__all__ = [
    "MAX_WORK",
    "ConditionProblem",
    "Work",
    "check_condition",
    "condition_indexes",
    "condition_references",
    "holds",
]

MAX_CONDITION_CHARACTERS = 2_000
MAX_WORK = 20_000_000
"""Characters that one evaluation takes and makes together; an item of a list or object counts as `_ITEM` of them."""
_ITEM = 20
_MAX_DIGITS = 100
"""To which `round` rounds: Python makes the power of ten first."""


class ConditionProblem(Exception):
    """The condition cannot be read, or could not be decided; the message says why."""


def _lower(text: Any) -> str:
    return str(text).lower()


def _has(container: Any, key: Any) -> bool:
    """Whether an object has a key, without an error if it is no object."""
    return is_object(container) and key in container


def _sum(values: Any) -> Any:
    """Of numbers; to add lists up would copy each of them again and again."""
    if not all(isinstance(value, int | float) for value in values):
        raise ConditionProblem("sum takes numbers")
    return sum(values)


def _round(number: Any, digits: int = 0) -> Any:
    if abs(digits) > _MAX_DIGITS:
        raise ConditionProblem(f"round takes {_MAX_DIGITS} digits at most")
    return round(number, digits) if digits else round(number)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "min": min,
    "max": max,
    "sum": _sum,
    "abs": abs,
    "round": _round,
    "any": any,
    "all": all,
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "lower": _lower,
    "has": _has,
}
_CHEAP = frozenset(["len", "bool", "has"])
"""They cost the same whatever they are given."""
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None, "True": True, "False": False, "None": None}
_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In,
    ast.NotIn, ast.Is, ast.IsNot, ast.Call, ast.Name, ast.Load, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice,
    ast.List, ast.Tuple, ast.IfExp,
)  # fmt: skip


def _modulo(left: Any, right: Any) -> Any:
    """Of numbers; `%` on a text would format it, to any width."""
    if isinstance(left, str):
        raise ConditionProblem("% is for numbers")
    return left % right


class Work:
    """What one evaluation, or several together, have left."""

    def __init__(self, characters: int = MAX_WORK) -> None:
        self._left = characters

    def spend(self, *values: Any, deep: bool) -> None:
        """What the values hold, with all that is in them or without.

        Raises:
            ConditionProblem: That is too much.
        """
        pending: list[Any] = list(values)
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                self._left -= len(value)
            elif is_object(value) or _is_row(value):
                self._left -= _ITEM * (1 + len(value))
                if deep and self._left >= 0:
                    pending.extend(value.values() if is_object(value) else value)
            if self._left < 0:
                raise ConditionProblem("the condition works on too much: name the part that it is about")

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.spend(*arguments, deep=True)
            return function(*arguments)

        return call

    def operator(self, operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """To compare looks into what both sides hold only where both hold something."""

        def call(left: Any, right: Any) -> Any:
            self.spend(left, right, deep=_holds_items(left) and _holds_items(right))
            result = operate(left, right)
            self.spend(result, deep=False)
            return result

        return call


def _is_row(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return is_list(value) or isinstance(value, tuple)


def _holds_items(value: object) -> bool:
    return is_object(value) or _is_row(value)


_BINARY = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In,
    ast.NotIn,
)  # fmt: skip
"""The operators that look at what their sides hold, or make something of it."""


class _Evaluator(EvalWithCompoundTypes):  # type: ignore[misc]  # simpleeval ships no types
    work: Work

    def _check_disallowed_items(self, item: object) -> None:
        """simpleeval would walk, at each node, through all that its value holds, for functions: JSON holds none."""

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        """`a.b` is the key `b` of the object `a`: no attribute of a Python value can be reached."""
        evaluate = cast("Callable[[ast.expr], object]", self._eval)  # pyright: ignore[reportUnknownMemberType] - as above
        value = evaluate(node.value)
        if is_object(value) and node.attr in value:
            return value[node.attr]
        raise ConditionProblem(f"there is no {node.attr!r} in {ast.unparse(node.value)}")

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        value = cast("object", super()._eval_subscript(node))  # pyright: ignore[reportUnknownMemberType] - as above
        if isinstance(node.slice, ast.Slice):
            self.work.spend(value, deep=False)  # it is a copy
        return value


def holds(condition: str, names: Mapping[str, Any], *, work: Work | None = None) -> bool:
    """Whether the condition is true of the names. `work` is shared by conditions that are decided together.

    Raises:
        ConditionProblem: it cannot be read, names what is not there, or compares what cannot be compared.
    """
    tree = _read(condition)
    work = work or Work()
    operators: dict[Any, Any] = {**DEFAULT_OPERATORS, ast.Mod: _modulo}
    operators.update({kind: work.operator(operators[kind]) for kind in _BINARY})
    functions = {name: one if name in _CHEAP else work.counted(one) for name, one in _FUNCTIONS.items()}
    evaluator = _Evaluator(operators=operators, functions=functions, names={**_CONSTANTS, **names})
    evaluator.work = work
    evaluate = cast("Callable[..., object]", evaluator.eval)  # pyright: ignore[reportUnknownMemberType] - as above
    try:
        return bool(evaluate(condition, previously_parsed=tree.body))
    except ConditionProblem:
        raise
    except InvalidExpression as error:
        raise ConditionProblem(str(error)) from None
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RecursionError, MemoryError) as error:
        raise ConditionProblem(f"{type(error).__name__}: {error}") from None


def check_condition(condition: str) -> str | None:
    """Why the condition cannot be read, or None if it can."""
    try:
        _read(condition)
    except ConditionProblem as problem:
        return str(problem)
    return None


def condition_references(condition: str) -> set[tuple[str, ...]]:
    """What a readable condition takes from outside, as `playcall.server.tools.templating.references` tells it."""
    tree = _read(condition)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found: set[tuple[str, ...]] = set()
    keyed: set[int] = set()
    for node in ast.walk(tree):
        key: object = None
        base: ast.expr | None = None
        if isinstance(node, ast.Attribute):
            base, key = node.value, node.attr
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            base, key = node.value, node.slice.value
        if isinstance(base, ast.Name) and isinstance(key, str):
            found.add((base.id, key))
            keyed.add(id(base))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and id(node) not in keyed | called and node.id not in _CONSTANTS:
            found.add((node.id,))
    return found


def condition_indexes(condition: str) -> set[tuple[str, int]]:
    """The places of lists that a readable condition takes from outside: `("results", 2)` for `results[2].status`."""
    found: set[tuple[str, int]] = set()
    for node in ast.walk(_read(condition)):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and isinstance(node.slice, ast.Constant)
        ):
            index = node.slice.value
            if isinstance(index, int):
                found.add((node.value.id, index))
    return found


def _read(condition: str) -> ast.Expression:
    try:
        return _parsed(condition)
    except RecursionError:
        raise ConditionProblem("the condition nests too deeply") from None


@functools.lru_cache(maxsize=256)
def _parsed(condition: str) -> ast.Expression:
    """Not to be changed by anybody."""
    text = condition.strip()
    if not text:
        raise ConditionProblem("the condition is empty")
    if len(text) > MAX_CONDITION_CHARACTERS:
        raise ConditionProblem(f"a condition has at most {MAX_CONDITION_CHARACTERS} characters")
    try:
        tree = cast("ast.Expression", parsed(text, mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise ConditionProblem(f"the condition cannot be read: {reason}") from None
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise ConditionProblem(f"{type(node).__name__} has no place in a condition")
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS):
            raise ConditionProblem(f"{ast.unparse(node.func)} cannot be called; there are: {', '.join(_FUNCTIONS)}")
        if isinstance(node, ast.Call) and node.keywords:
            raise ConditionProblem("functions are called by position")
        if isinstance(node, ast.Name) and node.id in _FUNCTIONS and id(node) not in called:
            raise ConditionProblem(f"{node.id} is a function: call it")
    return tree
