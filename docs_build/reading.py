"""How the reference reads our source, where that says things that are for type checkers and maintainers only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import griffe

__all__ = ["Reading"]

NEVER_MADE_BY_CALLERS: Final = re.compile(
    r"playcall\.(services\.\w+_service|services\.live|status\.\w+|realtime\.(feed|registration)|faces)\."
    r"|playcall\.services\.resource\.Resource(Parts)?$"
)
"""Classes whose objects are given, so how they are made is nobody's business."""
SHORT: Final = 30


class Reading(griffe.Extension):
    """Shows methods as they are called, defaults as the values that they have, and a model as a list of its fields."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: object) -> None:
        for cls in _classes(pkg):
            if NEVER_MADE_BY_CALLERS.match(cls.path):
                cls.members.pop("__init__", None)
            if cls.path.startswith("playcall.models."):
                _list_fields(cls)
        _give_verbs(pkg["services.api_client"])
        for function in _functions(pkg):
            _as_called(function)


def _give_verbs(module: griffe.Module) -> None:
    """Shows the verbs of a client as the methods that their descriptors make them."""
    client, request, told = module["APIClient"], module["_request"], module["AwaitingVerb"].docstring
    for name, member in list(client.members.items()):
        if not isinstance(member, griffe.Attribute) or not str(member.value).startswith("_Verb("):
            continue
        taken = [griffe.Parameter("self"), *list(request.parameters)[2:]]
        method = griffe.Function(name, parameters=griffe.Parameters(*taken), returns=request.returns, parent=client)
        about = told.value.split("\n", 1)
        said = f"`{name.upper()} path`: the answer read into `into`; without it, whatever JSON comes.\n{about[1]}"
        method.docstring = griffe.Docstring(said, parent=method, parser=told.parser, parser_options=told.parser_options)
        client.members[name] = method


def _as_called(function: griffe.Function) -> None:
    for parameter in function.parameters:
        if parameter.name == "self":
            parameter.annotation = None
        elif isinstance(parameter.default, griffe.ExprName) and parameter.default.name.isupper():
            parameter.default = _value(function.module, parameter.default.name) or parameter.default


def _value(module: griffe.Module, name: str) -> str | None:
    """What a constant is, where it is written down plainly."""
    try:
        found = module[name]
        if isinstance(found, griffe.Alias):
            found = found.final_target
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None
    value = found.value if isinstance(found, griffe.Attribute) else None
    return str(value) if value is not None and len(str(value)) <= SHORT else None


def _list_fields(cls: griffe.Class) -> None:
    """Adds to the docstring what stands in the class, as griffe would read it if we had written it twice."""
    missing = "required." if any("RequestModel" in str(base) for base in cls.bases) else "always there."
    lines = [
        f"    {name}: {_about(member, missing)}"
        for name, member in cls.members.items()
        if isinstance(member, griffe.Attribute) and not name.startswith("_") and name != "model_config"
    ]
    if lines:
        said = "" if cls.docstring is None else f"{cls.docstring.value}\n\n"
        cls.docstring = griffe.Docstring(f"{said}Attributes:\n" + "\n".join(lines), parent=cls)


def _about(field: griffe.Attribute, missing: str) -> str:
    """What the source says of it, and its default; `missing` where it has none."""
    said = "" if field.docstring is None else " ".join(field.docstring.value.split())
    if field.value is None:
        return said or missing
    shown = str(field.value)
    return f"`{shown}`{'. ' if said else ''}{said}" if len(shown) <= SHORT else said or "may be left out."


def _classes(module: griffe.Module) -> Iterator[griffe.Class]:
    for member in module.members.values():
        if isinstance(member, griffe.Module):
            yield from _classes(member)
        elif isinstance(member, griffe.Class):
            yield member


def _functions(where: griffe.Module | griffe.Class) -> Iterator[griffe.Function]:
    for member in where.members.values():
        if isinstance(member, griffe.Module | griffe.Class):
            yield from _functions(member)
        elif isinstance(member, griffe.Function):
            yield member
