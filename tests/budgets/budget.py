"""The committed budgets, what the paths cost now, and how the one is held against the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

__all__ = ["COMMAND", "MAY_LEAK_BLOCKS", "Cost", "Count", "complaint", "count", "read", "write"]

BUDGETS: Final = Path(__file__).with_name("budgets.json")
ROOT: Final = Path(__file__).parents[2]
MAY_GROW: Final = 0.03
MAY_SHRINK: Final = 0.15
"""A budget that is larger than that would let the next change waste what the last one has saved."""
MAY_LEAK_BLOCKS: Final = 0.5
"""Memory blocks that stay behind, a call: whatever is kept for each is one at least; less is caches that fill up."""
COMMAND: Final = "python -m tests.budgets"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call costs on one thread.

    `files` are the bytecodes executed in each of playcall's own; `calls` those made from there, of Python and of C
    functions; `elsewhere` the bytecodes of other people's Python, None where they depend on the moment.
    """

    files: Mapping[str, int]
    calls: int
    elsewhere: int | None = None

    @property
    def bytecodes(self) -> int:
        return sum(self.files.values())

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        most_first = dict(sorted(self.files.items(), key=lambda item: (-item[1], item[0])))
        return {"bytecodes": self.bytecodes, "calls": self.calls, "elsewhere": self.elsewhere, "files": most_first}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(value["files"], value["calls"], value["elsewhere"])


@dataclass(frozen=True, slots=True)
class Count:
    """What `tests.budgets.count` found out, by path; `leaked_blocks` a call."""

    costs: Mapping[str, Cost]
    leaked_blocks: Mapping[str, float]


def count() -> Count:
    """Counts, in a process without coverage, and with nothing in its environment that changes what is executed."""
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.budgets.count"],
        cwd=ROOT,
        env={**environment, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(f"counting failed:\n{done.stderr}")
    told = json.loads(done.stdout)
    return Count({name: Cost.from_json(cost) for name, cost in told["costs"].items()}, told["leaked_blocks"])


def read() -> dict[str, Cost]:
    if not BUDGETS.exists():
        return {}
    return {name: Cost.from_json(cost) for name, cost in json.loads(BUDGETS.read_text()).items()}


def write(costs: Mapping[str, Cost]) -> None:
    BUDGETS.write_text(json.dumps({name: cost.as_json() for name, cost in costs.items()}, indent=2) + "\n")


def complaint(path: str, budget: Cost, cost: Cost) -> str:
    """Why `cost` does not fit `budget`, and what to do about it; empty where it fits."""
    lines = [
        line
        for what, allowed, now in (
            ("bytecodes", budget.bytecodes, cost.bytecodes),
            ("calls", budget.calls, cost.calls),
            ("bytecodes elsewhere", budget.elsewhere or 0, cost.elsewhere or 0),
        )
        if (line := _judged(path, what, allowed, now))
    ]
    if not lines:
        return ""
    changes = {file: cost.files.get(file, 0) - budget.files.get(file, 0) for file in {*budget.files, *cost.files}}
    lines += [
        f"    {file}: {budget.files.get(file, 0):,} -> {cost.files.get(file, 0):,} bytecodes"
        for file, change in sorted(changes.items(), key=lambda item: (-abs(item[1]), item[0]))
        if change
    ]
    return "\n".join([*lines, f"If it must be so, write the budgets anew and commit them: {COMMAND}"])


def _judged(path: str, what: str, allowed: int, now: int) -> str:
    change = f"{what} a call, {allowed:,} -> {now:,} ({(now - allowed) / max(allowed, 1):+.1%})"
    if now > allowed * (1 + MAY_GROW):
        return f"{path} costs more: {change}; {MAY_GROW:.0%} more is allowed"
    if now < allowed * (1 - MAY_SHRINK):
        return f"{path} costs less, so tighten its budget: {change}; {MAY_SHRINK:.0%} less is allowed"
    return ""
