"""What a template says, without rendering it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from jinja2 import TemplateError, meta, nodes

from .budget import TemplateProblem
from .sandbox import environment

__all__ = ["bounded", "check_template", "guarded", "has_marks", "is_plain", "references"]

MAX_TEMPLATE_CHARACTERS = 100_000
MAX_PLAIN_CHARACTERS = 2_000

T = TypeVar("T")


def check_template(template: str) -> str | None:
    """Why the template cannot be read, or None if it can."""
    try:
        guarded(template, lambda: environment.from_string(bounded(template)))
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
    return guarded(template, lambda: _references(template))


def _references(template: str) -> set[tuple[str, ...]]:
    tree = environment.parse(template)
    outside = meta.find_undeclared_variables(tree) - set(environment.globals)
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


def bounded(template: str) -> str:
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateProblem(f"a template has at most {MAX_TEMPLATE_CHARACTERS} characters")
    return template


def is_plain(template: str) -> bool:
    """Whether a template only names values: rendering it is quick and small whatever it is."""
    if not has_marks(template):
        return True
    if len(template) > MAX_PLAIN_CHARACTERS:
        return False
    try:
        tree = environment.parse(template)
        return all(type(node) in _PLAIN for node in tree.find_all(nodes.Node))
    except (TemplateError, RecursionError):
        return False


_PLAIN = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Const)


def guarded(template: str, work: Callable[[], T]) -> T:
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
