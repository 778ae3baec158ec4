"""A tool's surroundings, on real folders."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from playcall.models import LogLevel
from playcall.server.tools import AnyTool, ToolContext, ToolFailure, ToolLimits, builtin_tools


@dataclass
class Bench:
    """Calls tools and keeps what they reported."""

    context: ToolContext
    root: Path
    progress: list[tuple[float, float | None, str]] = field(default_factory=list)
    lines: list[tuple[LogLevel, str]] = field(default_factory=list)

    async def call(self, tool: str | AnyTool, **parameters: Any) -> Any:
        definition = builtin_tools()[tool] if isinstance(tool, str) else tool
        return await definition.call(parameters, self.context)

    async def refused(self, tool: str | AnyTool, **parameters: Any) -> str:
        """The code of the failure."""
        with pytest.raises(ToolFailure) as failure:
            await self.call(tool, **parameters)
        return failure.value.code


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    workspace, root = tmp_path / "work", tmp_path / "root"
    workspace.mkdir()
    root.mkdir()
    context = ToolContext(workspace=workspace, read_roots=(root,), idempotency_key="run:step:0", limits=ToolLimits())
    made = Bench(context, root)
    context.progress_sink = lambda done, total, message: made.progress.append((done, total, message))
    context.log_sink = lambda level, message: made.lines.append((level, message))
    return made
