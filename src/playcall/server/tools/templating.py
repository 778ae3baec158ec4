"""Templates: Jinja2's sandbox, narrowed to what JSON values need, and bounded in work and size.

What a playbook's author writes runs on the server, so: no attribute of a value can be reached but its keys and a few
harmless methods, only the listed filters exist, loops, macros and whatever is made count against a budget, and neither
text nor numbers can be blown up.

That keeps honest mistakes cheap and well explained; it is not what the server's safety rests on. Whatever does more
than name a value is rendered in a process of its own, which `rendering` bounds: there this file is run by its path, so
it imports nothing of the package.
"""

from __future__ import annotations

import contextvars
import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeGuard, TypeVar, cast

from jinja2 import StrictUndefined, Template, TemplateError, Undefined, meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

__all__ = [
    "TemplateProblem",
    "check_template",
    "has_marks",
    "is_plain",
    "references",
    "render_text",
    "render_value",
    "work",
]

MAX_TEMPLATE_CHARACTERS = 100_000
MAX_OUTPUT_CHARACTERS = 8_000_000
MAX_ROUNDS = 500_000
"""Rounds of all loops and calls of all macros of one rendering together."""
MAX_WORK = 200_000_000
"""Characters and items that all filters, operators and methods of one rendering take and make together."""
MAX_INTEGER_BITS = 4_096
"""Some 1,200 digits; Python writes no more than 4,300."""
MAX_PLAIN_CHARACTERS = 2_000
_MAX_REPEATED = 100_000
"""Length of what `*` makes of a text or list."""
_MAX_ARGUMENT = {"round": 100, "batch": 10_000, "slice": 10_000, "tojson": 16, "urlencode": 0}
"""The largest number that a filter takes beside its value, where the number alone can make it large or slow."""

_TICK = "_playcall_tick"
_CONCAT = "_playcall_concat"
T = TypeVar("T")

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


class TemplateProblem(Exception):
    """The template cannot be read, or could not be rendered; the message says why."""


class _Budget:
    """What one rendering has left."""

    def __init__(self) -> None:
        self.rounds = MAX_ROUNDS
        self.characters = MAX_OUTPUT_CHARACTERS
        self.work = MAX_WORK

    def spend_round(self) -> None:
        self.rounds -= 1
        if self.rounds < 0:
            raise TemplateProblem(f"the template needs more than {MAX_ROUNDS} rounds of its loops")

    def spend_characters(self, count: int) -> None:
        self.characters -= count
        if self.characters < 0:
            raise TemplateProblem(f"the template makes more than {MAX_OUTPUT_CHARACTERS} characters")

    def spend_work(self, count: int) -> None:
        self.work -= count
        if self.work < 0:
            raise TemplateProblem(f"the template works on more than {MAX_WORK} characters and items")


_budget: contextvars.ContextVar[_Budget] = contextvars.ContextVar("template_budget")


def _tick() -> str:
    """Stands at the head of each loop's and macro's body."""
    _budget.get().spend_round()
    return ""


def _count(value: Any) -> Any:
    """Stands before each output, also into a variable: its size counts, and that of all it holds."""
    budget = _budget.get()
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            budget.spend_characters(len(item))
        elif is_object(item):
            budget.spend_round()
            pending.extend(item.values())
        elif is_list(item) or _is_tuple(item):
            budget.spend_round()
            pending.extend(item)
    return value


@pass_context  # so that constants are not finalized, nor their filters called, while a template is only being read
def _finalize(context: object, value: Any) -> Any:
    return _count(value)


def _weigh(value: Any, *, deep: bool = True) -> Any:
    """Spends what a value holds, however often it holds it; lazy sequences are weighed by whoever takes them."""
    budget = _budget.get()
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, (str, bytes)):
            budget.spend_work(1 + len(item))
        elif is_object(item) or is_list(item) or _is_tuple(item):
            # To look into it takes as long as many characters do.
            budget.spend_work(400 + 40 * len(item) if deep else 1 + len(item))
            if deep:
                pending.extend(item.values() if is_object(item) else item)
        elif isinstance(item, int):
            _require_small(item)
    return value


def _require_small(number: int) -> None:
    if number.bit_length() > MAX_INTEGER_BITS:
        raise TemplateProblem(f"an integer of more than {MAX_INTEGER_BITS} bits")


def _concat(*parts: Any) -> str:
    """`a ~ b`, counted."""
    _count(parts)
    text = "".join(str(part) for part in parts)
    _budget.get().spend_characters(len(text))
    return text


def _replace(text: object, old: str, new: str, count: int | None = None) -> str:
    subject = str(text)
    if len(subject) + (subject.count(old) if old else len(subject) + 1) * len(new) > MAX_OUTPUT_CHARACTERS:
        raise TemplateProblem("replace would make a text that is too long")
    return subject.replace(old, new, -1 if count is None else count)


def _map(value: Any, filter_or_none: str | None = None, *, attribute: str | None = None) -> Iterator[Any]:
    """`map(attribute="a.b")`, `map("upper")`: over JSON values, and without arguments for the filter."""
    for item in value:
        if attribute is not None:
            for key in attribute.split("."):
                item = item[int(key) if isinstance(item, list) else key]
            yield item
        elif filter_or_none in ("upper", "lower", "title", "trim", "length", "int", "float", "string", "abs", "round"):
            yield _environment.call_filter(filter_or_none, item)
        else:
            raise TemplateProblem(f"map cannot use the filter {filter_or_none!r}")


def _sum(value: Iterable[Any], attribute: str | None = None, start: float = 0) -> Any:
    """Of numbers; to add lists up would copy each of them again and again."""
    total: Any = start
    for item in value if attribute is None else _map(value, attribute=attribute):
        if not isinstance(item, (int, float)) or not isinstance(total, (int, float)):
            raise TemplateProblem("sum takes numbers")
        _tick()
        total += item
    return total


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    parts: list[str] = []
    for item in value if attribute is None else _map(value, attribute=attribute):
        parts.append(str(_weigh(item)))
        _budget.get().spend_work(len(parts[-1]) + len(d))
    return d.join(parts)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def _is_iterable(value: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(value, Iterable)


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
            _weigh(side, deep=False)  # a copy of a list copies no items
        return _weigh(super().call_binop(context, operator, left, right), deep=False)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A method counts what it works on and makes."""
        if __obj is _tick or __obj is _concat:
            return __obj(*args)
        _tick()
        for value in (getattr(__obj, "__self__", None), *args):
            _weigh(value, deep=False)
        return _weigh(super().call(__context, __obj, *args, **kwargs), deep=False)

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
    filters = cast("dict[str, Callable[..., Any]]", sandbox.filters)
    filters.update({"replace": _replace, "map": _map, "sum": _sum, "join": _join})
    for name in list(filters):
        if name in FILTERS:
            filters[name] = _counting(name, filters[name])
        else:
            del filters[name]
    names = cast("dict[str, Callable[..., Any]]", sandbox.globals)
    for name in ("lipsum", "cycler", "joiner"):
        names.pop(name, None)
    names[_TICK] = _tick
    names[_CONCAT] = _concat
    return sandbox


def _counting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    largest = _MAX_ARGUMENT.get(name)
    skipped = 1 if hasattr(original, "jinja_pass_arg") else 0  # the context comes before the value

    @functools.wraps(original)  # keeps the mark that says whether the filter wants a context
    def counted(*arguments: Any, **keywords: Any) -> Any:
        _tick()
        value, others = arguments[skipped], [*arguments[skipped + 1 :], *keywords.values()]
        if largest is not None and any(isinstance(n, int) and abs(n) > largest for n in others):
            raise TemplateProblem(f"a number that {name} is given is larger than {largest}")
        if name not in _CHEAP:
            _weigh([value, *others])
        return _weigh(original(*arguments, **keywords), deep=False)

    return counted


_environment = _build()


def render_text(template: str, names: Mapping[str, Any]) -> str:
    """The rendered text.

    Raises:
        TemplateProblem: it cannot be read, names what does not exist, or goes beyond the bounds.
    """
    compiled = _guarded(template, lambda: _environment.from_string(_bounded(template)))

    def render() -> str:
        parts: list[str] = []
        length = 0
        for part in compiled.generate(**names):
            length += len(part)
            if length > MAX_OUTPUT_CHARACTERS:
                raise TemplateProblem(f"the text is longer than {MAX_OUTPUT_CHARACTERS} characters")
            parts.append(part)
        return _storable("".join(parts))

    return _within_budget(template, render)


def render_value(value: Any, names: Mapping[str, Any]) -> Any:
    """`value` with every template in its strings rendered, also in nested lists and objects.

    A string that is exactly one expression (`"{{ steps.read.output.files }}"`) gives that expression's own value, a
    list or a number, say; any other gives text.

    Raises:
        TemplateProblem: as `render_text`.
    """
    return _storable(_rendered(value, names))


def _rendered(value: Any, names: Mapping[str, Any]) -> Any:
    if is_object(value):
        return {key: _rendered(item, names) for key, item in value.items()}
    if is_list(value):
        return [_rendered(item, names) for item in value]
    if not isinstance(value, str) or not has_marks(value):
        return value
    expression = _sole_expression(value)
    if expression is None:
        return render_text(value, names)

    def evaluate() -> Any:
        context = expression.new_context(dict(names))
        for _ in expression.root_render_func(context):
            pass  # it assigns, and writes nothing
        result = context.vars["result"]
        if isinstance(result, Undefined):
            str(result)  # StrictUndefined says what is missing
        return _plain(result)

    return _within_budget(value, evaluate)


def check_template(template: str) -> str | None:
    """Why the template cannot be read, or None if it can."""
    try:
        _guarded(template, lambda: _environment.from_string(_bounded(template)))
    except TemplateProblem as problem:
        return str(problem)
    return None


def references(template: str) -> set[tuple[str, ...]]:
    """What a readable template takes from outside: `("inputs", "path")`, `("steps", "read")`, `("name",)`.

    A name whose key is not written out (`steps[inputs.x]`) is told by its name alone.

    Raises:
        TemplateProblem: it cannot be read.
    """
    if not has_marks(template):
        return set()
    return _guarded(template, lambda: _references(template))


def _references(template: str) -> set[tuple[str, ...]]:
    tree = _environment.parse(template)
    outside = meta.find_undeclared_variables(tree) - set(_environment.globals)
    found: set[tuple[str, ...]] = set()
    keyed: set[int] = set()
    lookups: list[nodes.Getattr | nodes.Getitem] = [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]
    for node in lookups:
        base = node.node
        if not isinstance(base, nodes.Name) or base.name not in outside:
            continue
        key = node.attr if isinstance(node, nodes.Getattr) else _constant(node.arg)
        if isinstance(key, str):
            found.add((base.name, key))
            keyed.add(id(base))
    for name in tree.find_all(nodes.Name):
        if name.name in outside and id(name) not in keyed:
            found.add((name.name,))
    return found


def _constant(node: nodes.Node) -> object:
    return node.value if isinstance(node, nodes.Const) else None


def has_marks(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


def _bounded(template: str) -> str:
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateProblem(f"a template has at most {MAX_TEMPLATE_CHARACTERS} characters")
    return template


@functools.lru_cache(maxsize=512)
def _sole_expression(template: str) -> Template | None:
    """A template that assigns the expression to `result`, if the text is one expression and nothing else."""
    stripped = template.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")):
        return None
    tree = _guarded(template, lambda: _environment.parse(_bounded(stripped)))
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    output = tree.body[0].nodes
    if len(output) != 1 or isinstance(output[0], nodes.TemplateData):
        return None
    assign = nodes.Assign(nodes.Name("result", "store", lineno=1), output[0], lineno=1)
    return _guarded(template, lambda: _environment.from_string(nodes.Template([assign], lineno=1)))


def _plain(value: Any) -> Any:
    """Lazy sequences (of filters such as `select`) as lists, so that the value is JSON; bounded like a loop."""
    if isinstance(value, str):
        return str(value)  # without Markup, which `tojson` makes
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateProblem(f"a template gave {value}, which JSON cannot hold")
    if isinstance(value, (int, float, bool)) or value is None:
        if isinstance(value, int):
            _require_small(value)
        return value
    if is_object(value):
        return {str(key): _plain(item) for key, item in value.items()}
    if _is_iterable(value):
        items: list[Any] = []
        for item in value:
            _tick()
            items.append(_plain(item))
        return items
    raise TemplateProblem(f"a template gave a {type(value).__name__}, which JSON cannot hold")


def _storable(value: T) -> T:
    """What JSON in UTF-8 can hold.

    Raises:
        TemplateProblem: a number that is not finite or endless, or half of a surrogate pair.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise TemplateProblem("the result holds a lone surrogate, which is no character") from None
    except (ValueError, RecursionError) as error:
        raise TemplateProblem(f"the result is not JSON: {error}") from None
    return value


def is_plain(template: str) -> bool:
    """Whether a template only names values: rendering it is quick and small whatever it is."""
    if not has_marks(template):
        return True
    if len(template) > MAX_PLAIN_CHARACTERS:
        return False
    try:
        tree = _environment.parse(template)
        return all(type(node) in _PLAIN for node in tree.find_all(nodes.Node))
    except (TemplateError, RecursionError):
        return False


_PLAIN = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Const)


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """For a process of its own: `{"template" or "value": …, "names": …}` to `{"value": …}` or `{"problem": …}`."""
    try:
        if "template" in job:
            return {"value": render_text(job["template"], job["names"])}
        return {"value": render_value(job["value"], job["names"])}
    except TemplateProblem as problem:
        return {"problem": str(problem)}


def _within_budget(template: str, work: Callable[[], T]) -> T:
    token = _budget.set(_Budget())
    try:
        return _guarded(template, work)
    finally:
        _budget.reset(token)


def _guarded(template: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except TemplateProblem:
        raise
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line} of the template)" if line and template.count("\n") else ""
        raise TemplateProblem(f"{error.message or type(error).__name__}{where}") from None
    except RecursionError:
        raise TemplateProblem("the template nests too deeply") from None
    except SyntaxError as error:
        raise TemplateProblem(f"the template nests too deeply: {error.msg}") from None
    except AssertionError as error:
        raise TemplateProblem(str(error) or "a filter was given what it does not take") from None
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, MemoryError) as error:
        raise TemplateProblem(f"{type(error).__name__}: {error}") from None
