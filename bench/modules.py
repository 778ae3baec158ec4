"""What there is to measure, in the order of the report."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Final

__all__ = ["MODULES", "module_of"]

MODULES: Final = (
    "http_async",
    "http_blocking",
    "http_bodies",
    "overhead",
    "realtime",
    "catch_up",
    "reconnect",
    "slow_consumer",
    "footprint",
    "backend",
)


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"bench.{name}")
