"""Problem details, the body of every error answer (RFC 9457)."""

from __future__ import annotations

from .base import WireModel


class FieldProblem(WireModel, frozen=True):
    """One thing that is wrong with what was sent.

    `loc` is the path to the field from the root of the request (`["body", "steps", 0, "agent"]`).
    `line` and `column` count from 1 and are there when the body was YAML.
    """

    loc: list[str | int]
    msg: str
    type: str
    line: int | None = None
    column: int | None = None
    suggestion: str | None = None


class Problem(WireModel, frozen=True):
    """RFC 9457 members, and ours: `code` is stable and for programs (None only from other people's backends), `errors` only on 422,
    `current_version` only on 412."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    instance: str | None = None
    code: str | None = None
    request_id: str | None = None
    errors: list[FieldProblem] | None = None
    current_version: int | None = None
