"""Which tools there are: the built-in ones, and those that installed packages offer."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from ...models import JsonObject
from .csv_profile import csv_profile
from .definition import AnyTool, ToolDefinition
from .failure import ToolFailure
from .files import files_list, files_read, files_write
from .http_request import http_request
from .shell import shell
from .template_render import template_render
from .text import text_search, text_stats
from .wait import wait

__all__ = [
    "ENTRY_POINT_GROUP",
    "builtin_tools",
    "installed_names",
    "installed_parameters",
    "installed_tool",
    "why_missing",
]

ENTRY_POINT_GROUP = "playcall.tools"

_BUILTIN: Mapping[str, AnyTool] = {
    definition.name: definition
    for definition in (
        http_request,
        files_list,
        files_read,
        files_write,
        text_search,
        text_stats,
        csv_profile,
        template_render,
        wait,
    )
}


_WITH_SHELL: Mapping[str, AnyTool] = {**_BUILTIN, shell.name: shell}


def builtin_tools(*, with_shell: bool = False) -> Mapping[str, AnyTool]:
    """Everybody's tools, by name. `with_shell`: the operator wants that one too."""
    return _WITH_SHELL if with_shell else _BUILTIN


def why_missing(name: str) -> str:
    """For a name that no tool has."""
    if name == shell.name:
        return "the tool 'shell' is off on this server; its operator turns it on by --enable-shell"
    return f"there is no tool named {name!r}"


def installed_names() -> list[str]:
    """What a tool of the kind `installed` can name as its `implementation`."""
    return sorted(_entry_points())


def installed_parameters(implementation: str) -> JsonObject | None:
    """The JSON schema of what the entry point takes; None if no installed package offers it, or it does not load."""
    try:
        return installed_tool(implementation).schema()
    except ToolFailure:
        return None


def installed_tool(implementation: str) -> AnyTool:
    """The tool behind an entry point, loaded.

    Raises:
        ToolFailure: `tool_unavailable`: nobody offers it, or its package does not load.
    """
    entry = _entry_points().get(implementation)
    if entry is None:
        raise ToolFailure("tool_unavailable", f"no installed package offers {implementation!r} as a playcall tool")
    try:
        loaded: object = entry.load()
    except Exception as error:  # somebody else's module: whatever it raises at import, the tool is not there
        raise ToolFailure("tool_unavailable", f"{implementation!r} does not load: {type(error).__name__}") from error
    if not isinstance(loaded, ToolDefinition):
        raise ToolFailure("tool_unavailable", f"{implementation!r} is not a tool made by playcall.server.tools.tool")
    return loaded  # pyright: ignore[reportUnknownVariableType] - its parameters' type is its package's own


@functools.cache
def _entry_points() -> Mapping[str, EntryPoint]:
    """Read once: what is installed does not change while the server runs."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
