"""Options that every list has."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Limit", "NewestFirst"]

Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.")]
NewestFirst = Annotated[bool, typer.Option("--newest-first", help="From the newest; else from the oldest.")]
