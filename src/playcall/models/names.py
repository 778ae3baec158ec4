"""How what a playbook names is written, and its numbers."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import Field, StringConstraints

__all__ = ["NAME_CHARACTERS", "Identifier", "Iterations", "Name", "Operation", "Seconds"]

NAME_CHARACTERS: Final = 200
"""Of a name, and so of what is looked for among names."""

Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARACTERS, strip_whitespace=True)]
Identifier: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
"""A name that templates and conditions can refer to."""
Operation: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^:\s][^:]*:[^:\s][^:]*$", max_length=300)]
"""`Agent:operation`."""
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400)]
Iterations: TypeAlias = Annotated[int, Field(ge=1, le=1_000)]
