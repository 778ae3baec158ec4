"""Jinja2's sandbox, narrowed to what JSON values need: no attribute but keys and harmless methods, everything counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from .budget import MAX_INTEGER_BITS, MAX_OUTPUT_CHARACTERS, budget, count, tick, weigh
from .filters import narrowed

__all__ = ["environment"]

_MAX_REPEATED = 100_000
"""Length of what `*` makes of a text or list."""
_TICK = "_playcall_tick"
_CONCAT = "_playcall_concat"

_STRING_METHODS = frozenset(
    [
        "lower",
        "upper",
        "title",
        "capitalize",
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "rsplit",
        "splitlines",
        "partition",
        "rpartition",
        "startswith",
        "endswith",
        "removeprefix",
        "removesuffix",
        "isdigit",
        "isalpha",
        "isalnum",
        "islower",
        "isupper",
        "find",
        "rfind",
        "count",
        "index",
    ]
)
_METHODS: dict[type, frozenset[str]] = {
    str: _STRING_METHODS,
    dict: frozenset({"items", "keys", "values", "get"}),
    list: frozenset({"index", "count"}),
}


@pass_context  # so that constants are not finalized, nor their filters called, while a template is only being read
def _finalize(context: object, value: Any) -> Any:
    return count(value)


def _concat(*parts: Any) -> str:
    """`a ~ b`, counted."""
    count(parts)
    text = "".join(str(part) for part in parts)
    budget().spend_characters(len(text))
    return text


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only the listed methods of JSON's own types; Jinja's loop variable and macros keep theirs."""
        for kind, methods in _METHODS.items():
            if isinstance(obj, kind):
                return attr in methods
        if isinstance(obj, (int, float, bool, tuple)) or obj is None:
            return False
        return type(obj).__module__.startswith("jinja2.") and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """No `"{}".format(…)`, sandboxed or not: a format can ask for any width."""

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise SecurityError("texts are not formatted by %")
        _refuse_large(operator, left, right)
        for side in (left, right):
            weigh(side, deep=False)  # a copy of a list copies no items
        return weigh(super().call_binop(context, operator, left, right), deep=False)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A method counts what it works on and makes."""
        if __obj is tick or __obj is _concat:
            return __obj(*args)
        tick()
        for value in (getattr(__obj, "__self__", None), *args):
            weigh(value, deep=False)
        return weigh(super().call(__context, __obj, *args, **kwargs), deep=False)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The tree, with a tick at the head of each loop's and macro's body, and `~` counted."""
        return cast("nodes.Template", _Guards().visit(super()._parse(source, name, filename)))


class _Guards(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:
        return self._with_tick(node, node.body)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._with_tick(node, node.body)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._with_tick(node, node.body)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call(_CONCAT, node.nodes, node)

    def _with_tick(self, node: nodes.Node, body: list[nodes.Node]) -> nodes.Node:
        self.generic_visit(node)
        body.insert(0, nodes.Output([_call(_TICK, [], node)], lineno=node.lineno))
        return node


def _call(name: str, arguments: list[nodes.Expr], at: nodes.Node) -> nodes.Call:
    line = at.lineno
    return nodes.Call(nodes.Name(name, "load", lineno=line), arguments, [], None, None, lineno=line)


def _refuse_large(operator: str, left: Any, right: Any) -> None:
    """Before it is made."""
    size, most = 0, MAX_INTEGER_BITS
    if isinstance(left, int) and isinstance(right, int):
        if operator == "**":
            size = left.bit_length() * abs(right)
        elif operator == "*":
            size = left.bit_length() + right.bit_length()
    elif operator == "*":
        most = _MAX_REPEATED
        for many, times in ((left, right), (right, left)):
            if isinstance(many, (str, list, tuple)) and isinstance(times, int):
                size = len(cast("list[Any]", many)) * max(times, 0)
    elif operator == "+" and isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
        size, most = len(cast("list[Any]", left)) + len(cast("list[Any]", right)), MAX_OUTPUT_CHARACTERS
    if size > most:
        raise SecurityError(f"what {operator!r} makes here is too large")


def _build() -> _Sandbox:
    sandbox = _Sandbox(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        cache_size=0,
        finalize=_finalize,
        optimized=False,  # it would call filters on constants while a template is only being read
    )
    sandbox.filters = narrowed(cast("dict[str, Callable[..., Any]]", sandbox.filters))
    names = cast("dict[str, Callable[..., Any]]", sandbox.globals)
    for name in ("lipsum", "cycler", "joiner"):
        names.pop(name, None)
    names[_TICK] = tick
    names[_CONCAT] = _concat
    return sandbox


environment = _build()
