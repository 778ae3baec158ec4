"""Tools: what an agent can do. Built-in ones, those of installed packages, and HTTP endpoints of one's own.

A package offers a tool by an entry point of the group `playcall.tools` that names what `tool` made.
"""

from .context import ToolContext, ToolLimits
from .definition import AnyTool, Parameters, ToolDefinition, tool
from .failure import ToolFailure, ToolStopped
from .registry import builtin_tools, installed_names, installed_parameters, installed_tool, why_missing
from .schema import check_by_schema, quick_problems, why_no_schema
from .workspace import NewFile, WrittenFile

__all__ = [
    "AnyTool",
    "NewFile",
    "Parameters",
    "ToolContext",
    "ToolDefinition",
    "ToolFailure",
    "ToolLimits",
    "ToolStopped",
    "WrittenFile",
    "builtin_tools",
    "check_by_schema",
    "installed_names",
    "installed_parameters",
    "installed_tool",
    "quick_problems",
    "tool",
    "why_missing",
    "why_no_schema",
]
