"""How the reference reads our source, where that says things that are for type checkers and maintainers only."""

from __future__ import annotations

import griffe

__all__ = ["Faces"]


class Faces(griffe.Extension):
    """Shows a method that serves two faces as what it is called with, and defaults as the values that they have."""

    def on_function(self, *, func: griffe.Function, **kwargs: object) -> None:
        first = next(iter(func.parameters), None)
        if first is not None and first.name == "self":
            first.annotation = None

    def on_package(self, *, pkg: griffe.Module, **kwargs: object) -> None:
        self._walk(pkg)

    def _walk(self, where: griffe.Module | griffe.Class) -> None:
        for member in where.members.values():
            if isinstance(member, griffe.Module | griffe.Class):
                self._walk(member)
            elif isinstance(member, griffe.Function):
                for parameter in member.parameters:
                    if isinstance(parameter.default, griffe.ExprName) and parameter.default.name.isupper():
                        parameter.default = _value(member.module, parameter.default.name) or parameter.default


def _value(module: griffe.Module, name: str) -> str | None:
    """What a constant is, where it is written down plainly."""
    try:
        found = module[name]
        if isinstance(found, griffe.Alias):
            found = found.final_target
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None
    value = found.value if isinstance(found, griffe.Attribute) else None
    return str(value) if value is not None and len(str(value)) <= 30 else None
