"""A tool: an async function, a name, and a pydantic model of its parameters."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ...models import FieldProblem, JsonObject
from ..nesting import MAX_LEVELS, is_deeper
from .context import ToolContext
from .failure import ToolFailure

__all__ = ["AnyTool", "Parameters", "ToolDefinition", "tool"]


class Parameters(BaseModel):
    """What a tool takes: a field that nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ParametersT = TypeVar("ParametersT", bound=BaseModel)


class AnyTool(Protocol):
    """A tool whose parameters' type is not known statically."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    def schema(self) -> JsonObject: ...
    def check(self, parameters: Mapping[str, Any]) -> list[FieldProblem]: ...
    # An output is whatever JSON holds.
    async def call(self, parameters: Mapping[str, Any], context: ToolContext) -> Any: ...


@dataclass(frozen=True, slots=True)
class ToolDefinition(Generic[ParametersT]):
    """What an entry point of the group `playcall.tools` names."""

    name: str
    description: str
    parameters: type[ParametersT]
    function: Callable[[ParametersT, ToolContext], Awaitable[Any]]

    def schema(self) -> JsonObject:
        """JSON schema (draft 2020-12) of the parameters."""
        return self.parameters.model_json_schema()

    def check(self, parameters: Mapping[str, Any]) -> list[FieldProblem]:
        """What is wrong with the parameters; `loc` counts from them."""
        try:
            self.parameters.model_validate(dict(parameters))
        except ValidationError as error:
            return [
                FieldProblem(loc=list(e["loc"]), msg=e["msg"], type=e["type"])
                for e in error.errors(include_input=False, include_url=False, include_context=False)
            ]
        return []

    async def call(self, parameters: Mapping[str, Any], context: ToolContext) -> Any:
        """Checks the parameters, does the work, and checks that the output is JSON within the limit.

        Raises:
            ToolFailure: `parameters_invalid`, `output_invalid`, `output_too_large`, `output_too_deep`, or the tool's own.
        """
        try:
            checked = self.parameters.model_validate(dict(parameters))
        except ValidationError as error:
            raise ToolFailure("parameters_invalid", _sentence(self.name, error)) from None
        output = await self.function(checked, context)
        if isinstance(output, BaseModel):
            output = output.model_dump(mode="json")
        check_output(self.name, output, context.limits.max_output_bytes)
        return output


def check_output(name: str, output: Any, max_bytes: int) -> None:
    """Raises ToolFailure unless `output` is JSON of at most `max_bytes`, nested no deeper than what a caller may send."""
    try:
        text = json.dumps(output, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolFailure("output_invalid", f"{name} gave something that JSON cannot hold: {error}") from None
    if size > max_bytes:
        raise ToolFailure("output_too_large", f"{name} gave {size} bytes, more than the {max_bytes} that are allowed")
    # Few texts have that many brackets at all. Read back, because tuples are lists by now.
    if text.count("[") + text.count("{") > MAX_LEVELS and is_deeper(json.loads(text), MAX_LEVELS):
        raise ToolFailure("output_too_deep", f"{name} gave something nested more than {MAX_LEVELS} levels deep")


def _sentence(name: str, error: ValidationError) -> str:
    """Field and reason, never the value: it may be a secret."""
    parts = [
        f"{'.'.join(str(p) for p in e['loc']) or 'parameters'}: {e['msg']}" for e in error.errors(include_input=False)
    ]
    return f"{name} refused its parameters: " + "; ".join(parts[:5])


def tool(
    name: str, parameters: type[ParametersT]
) -> Callable[[Callable[[ParametersT, ToolContext], Awaitable[Any]]], ToolDefinition[ParametersT]]:
    """Makes a tool of an async function; its docstring's first line is the description."""

    def define(function: Callable[[ParametersT, ToolContext], Awaitable[Any]]) -> ToolDefinition[ParametersT]:
        description = (function.__doc__ or "").strip().split("\n", 1)[0]
        return ToolDefinition(name, description, parameters, function)

    return define
