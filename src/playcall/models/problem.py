"""Problem details, the body of every error answer (RFC 9457)."""

from __future__ import annotations

from typing import Final

from .base import WireModel

_PARTS_OF_A_REQUEST: Final = frozenset({"body", "query", "path", "header", "cookie"})


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

    @property
    def field(self) -> str:
        """The field as its caller writes it, `steps[0].agent`; empty for the body as a whole."""
        name = ""
        for part in self.loc[1:] if self.loc and self.loc[0] in _PARTS_OF_A_REQUEST else self.loc:
            name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
        return name


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
