"""What the routes of runs, tasks and calls share: the engine, what tools take, and places in lists that the engine's rows have."""

from __future__ import annotations

import base64
import re
from typing import Annotated, cast

from fastapi import Depends

from playcall.models import FieldProblem, JsonObject
from playcall.server.dependencies import CoreDep
from playcall.server.engine import Engine
from playcall.server.problems import ApiError, invalid
from playcall.server.promises import may_answer
from playcall.server.store.tables import ToolRow
from playcall.server.tools import ToolFailure, builtin_tools, installed_tool, quick_problems

__all__ = ["EngineDep", "decode_number", "decode_place", "encode_place", "require_parameters"]

_NUMBER = re.compile(r"[0-9]{1,18}")


@may_answer("engine_unavailable")
def _engine(core: CoreDep) -> Engine:
    """
    Raises:
        ApiError: 503 `engine_unavailable`: this server was started without one.
    """
    if core.engine is None:
        raise ApiError(503, "engine_unavailable", "this server executes nothing", headers={"Retry-After": "5"})
    return cast("Engine", core.engine)


EngineDep = Annotated[Engine, Depends(_engine)]


def require_parameters(tool: ToolRow, parameters: JsonObject) -> None:
    """The parameters of a call, against what the tool takes, its defaults included.

    An HTTP endpoint's are checked by its schema, here if that is quick, else before it is called.

    Raises:
        ApiError: 422; `loc` starts at `body`, `parameters`.
    """
    definition = None
    given = {**tool.defaults, **parameters}
    if tool.kind == "builtin":
        definition = builtin_tools(with_shell=True).get(tool.name)  # it is registered, so it is on
    elif tool.kind == "installed":
        try:
            definition = installed_tool(tool.implementation or "")
        except ToolFailure:
            return  # the task says so when it comes to it: the package may be back by then
    if tool.kind == "http":
        problems = quick_problems(tool.parameters, given) or []
    else:
        problems = [] if definition is None else definition.check(given)
    if problems:
        errors = [FieldProblem(loc=["body", "parameters", *p.loc], msg=p.msg, type=p.type) for p in problems]
        raise invalid(f"{tool.name} refuses its parameters: {problems[0].msg}", errors)


def encode_place(place: str) -> str:
    """A list's cursor: opaque to callers."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def decode_place(cursor: str) -> str:
    """
    Raises:
        ApiError: 422: it is not a cursor that a list gave.
    """
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise _bad_cursor() from None


def decode_number(cursor: str) -> int:
    """The place in a list whose order is a number's.

    Raises:
        ApiError: 422: as above.
    """
    place = decode_place(cursor)
    if not _NUMBER.fullmatch(place):
        raise _bad_cursor()
    return int(place)


def _bad_cursor() -> ApiError:
    message = "this is not a cursor that a list gave"
    return invalid(message, [FieldProblem(loc=["query", "cursor"], msg=message, type="invalid_cursor")])
