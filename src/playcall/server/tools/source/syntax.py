"""`source.functions` and `source.imports`: figures from the syntax trees of Python files."""

from __future__ import annotations

import ast
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import cast

from ....models import JsonObject
from ..context import ToolContext
from ..definition import tool
from ..python_syntax import parsed
from .walk import MAX_PARSED_BYTES, SourceFile, TreeParameters, Walk

__all__ = ["functions", "imports"]


@tool("source.functions", TreeParameters)
async def functions(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    """Finds the longest functions of a tree's Python files."""
    return await context.in_thread(_functions, parameters, context)


def _functions(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    walk = Walk(parameters, context)
    found: list[tuple[int, str, int, str]] = []
    classes = 0
    for file, tree in _trees(walk):
        for qualified, node in _definitions(tree, ""):
            if isinstance(node, ast.ClassDef):
                classes += 1
            else:
                found.append(((node.end_lineno or node.lineno) - node.lineno + 1, file.name, node.lineno, qualified))
    found.sort(key=lambda f: (-f[0], f[1], f[2]))
    lines = sorted(f[0] for f in found)
    return walk.outcome(
        {
            "functions": len(found),
            "classes": classes,
            "median_lines": lines[len(lines) // 2] if lines else 0,
            "longest": [
                {"name": name, "file": file, "line": line, "lines": length}
                for length, file, line, name in found[: parameters.top]
            ],
            "files": walk.seen,
        }
    )


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, _Definition]]:
    """Functions and classes with their qualified names, without recursion: trees may be deep."""
    stack: list[tuple[ast.AST, str]] = [(tree, prefix)]
    while stack:
        node, outer = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _Definition):
                name = f"{outer}.{child.name}" if outer else child.name
                yield name, child
                stack.append((child, name))
            else:
                stack.append((child, outer))


@tool("source.imports", TreeParameters)
async def imports(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    """Draws the import graph of a tree's Python modules: edges, the most imported, cycles."""
    return await context.in_thread(_imports, parameters, context)


def _imports(parameters: TreeParameters, context: ToolContext) -> JsonObject:
    walk = Walk(parameters, context)
    root = context.readable(parameters.path, roots_first=True)
    # A folder that is itself a package imports itself by its own name.
    package = root.name if (root / "__init__.py").is_file() else ""
    imported_by: dict[str, list[str]] = {}
    for file, tree in _trees(walk):
        module, is_package = _module_of(file.name, package)
        imported_by[module] = list(_imported(tree, module, is_package))
    graph: defaultdict[str, set[str]] = defaultdict(set)
    outside: Counter[str] = Counter()
    for module, names in imported_by.items():
        for name in names:
            inside = _longest_known(name, imported_by)
            if inside is None:
                outside[name.partition(".")[0]] += 1
            elif inside != module:
                graph[module].add(inside)
    incoming: Counter[str] = Counter(target for targets in graph.values() for target in targets)
    cycles = [sorted(group) for group in _strong_components(imported_by, graph) if len(group) > 1]
    return walk.outcome(
        {
            "modules": len(imported_by),
            "edges": sum(len(targets) for targets in graph.values()),
            "most_imported": _ranked(incoming, "module", "imported_by", parameters.top),
            "outside": _ranked(outside, "package", "imports", parameters.top),
            "cycles": sorted(cycles, key=lambda c: (-len(c), c))[: parameters.top],
            "cycle_count": len(cycles),
        }
    )


def _ranked(counts: Counter[str], key: str, value: str, top: int) -> list[JsonObject]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{key: name, value: count} for name, count in ordered[:top]]


def _trees(walk: Walk) -> Iterator[tuple[SourceFile, ast.Module]]:
    for file in walk.files(suffix=".py"):
        if len(file.raw) > MAX_PARSED_BYTES:
            walk.note(file.name, "too large to be parsed")
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in somebody's source are not ours to report
                yield file, cast("ast.Module", parsed(file.python_text(), filename=file.name))
        except (SyntaxError, UnicodeDecodeError, LookupError, ValueError, RecursionError, MemoryError) as error:
            walk.note(file.name, f"cannot be parsed ({type(error).__name__})")


def _module_of(name: str, package: str) -> tuple[str, bool]:
    parts = list(PurePosixPath(name).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    if is_package:
        parts.pop()
    full = [package, *parts] if package else parts
    return ".".join(full) or "__init__", is_package


def _imported(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Absolute names; `from a import b` gives `a.b`, which may be a module or a name within `a`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".")
                up = node.level - 1 if is_package else node.level
                stem = here[: len(here) - up] if up else here
                base = ".".join([*stem, *([base] if base else [])])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _longest_known(name: str, known: Mapping[str, object]) -> str | None:
    """The module that `name` lies in: `a.b.c` may be a name within `a.b`."""
    while name:
        if name in known:
            return name
        name = name.rpartition(".")[0]
    return None


def _strong_components(modules: Mapping[str, object], graph: Mapping[str, set[str]]) -> Iterator[set[str]]:
    """Tarjan's algorithm, without recursion (R. Tarjan, «Depth-first search and linear graph algorithms», 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    for start in sorted(modules):
        if start in index:
            continue
        work = [(start, iter(sorted(graph.get(start, ()))))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(sorted(graph.get(target, ())))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group: set[str] = set()
                    while node not in group:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.add(member)
                    yield group
