"""Rendering, of a text or of a value with templates in it."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard, TypeVar

from jinja2 import Template, Undefined, nodes

from .budget import (
    MAX_OUTPUT_CHARACTERS,
    TemplateProblem,
    count,
    is_list,
    is_object,
    require_small,
    tick,
    within_budget,
)
from .reading import bounded, guarded, has_marks
from .sandbox import environment

__all__ = ["render_text", "render_value"]

T = TypeVar("T")


def render_text(template: str, names: Mapping[str, Any]) -> str:
    """The rendered text.

    Raises:
        TemplateProblem: it cannot be read, names what does not exist, or goes beyond the bounds.
    """
    compiled = guarded(template, lambda: environment.from_string(bounded(template)))

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
    # One budget for all of its templates: each of thousands could ask for the same megabytes.
    return _storable(within_budget(lambda: _rendered(value, names)))


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
        return count(_plain(result))

    return _within_budget(value, evaluate)


@functools.lru_cache(maxsize=512)
def _sole_expression(template: str) -> Template | None:
    """A template that assigns the expression to `result`, if the text is one expression and nothing else."""
    stripped = template.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")):
        return None
    tree = guarded(template, lambda: environment.parse(bounded(stripped)))
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    output = tree.body[0].nodes
    if len(output) != 1 or isinstance(output[0], nodes.TemplateData):
        return None
    assign = nodes.Assign(nodes.Name("result", "store", lineno=1), output[0], lineno=1)
    return guarded(template, lambda: environment.from_string(nodes.Template([assign], lineno=1)))


def _plain(value: Any) -> Any:
    """Lazy sequences (of filters such as `select`) as lists, so that the value is JSON; bounded like a loop."""
    if isinstance(value, str):
        return str(value)  # without Markup, which `tojson` makes
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateProblem(f"a template gave {value}, which JSON cannot hold")
    if isinstance(value, (int, float, bool)) or value is None:
        if isinstance(value, int):
            require_small(value)
        return value
    if is_object(value):
        return {str(key): _plain(item) for key, item in value.items()}
    if _is_iterable(value):
        items: list[Any] = []
        for item in value:
            tick()
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


def _within_budget(template: str, work: Callable[[], T]) -> T:
    return within_budget(lambda: guarded(template, work))


def _is_iterable(value: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(value, Iterable)
