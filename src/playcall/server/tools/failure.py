"""How a tool says that it could not do its work."""

from __future__ import annotations

__all__ = ["ToolFailure", "ToolStopped"]


class ToolFailure(Exception):
    """The call failed for a reason its caller can act on: a stable `code` and a sentence that holds no secret."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[ToolFailure], tuple[str, str]]:
        return (type(self), (self.code, self.message))


class ToolStopped(Exception):
    """Work in a thread saw the stop flag: its call was cancelled or ran out of time."""
