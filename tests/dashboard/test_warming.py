"""The server begins with all that its pages import of ours; its end closes its client, whatever became of the warming."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import streamlit as st

from playcall.dashboard import connection, warming


async def test_the_client_is_closed_also_where_warming_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("no such module")

    closed: list[bool] = []
    monkeypatch.setattr(warming, "_warm", fail)
    monkeypatch.setattr(connection, "close", lambda: closed.append(True))
    with pytest.raises(ImportError, match="no such module"):
        async with warming.warm(st.App(__file__)):
            pass
    assert closed == [True]


IMPORTED = """
import asyncio, sys
from playcall.dashboard import warming

async def main():
    warming._warm = lambda: None
    async with warming.warm(None):
        print(*sorted(sys.modules))

asyncio.run(main())
"""


def test_all_parts_are_imported_by_one_thread_before_anybody_is_served() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, timeout=60, check=True)
    parts = {each.stem for each in Path(warming.__file__).parent.glob("*.py")} - {"__init__", warming.NO_PART}
    assert len(parts) > 40
    assert {f"playcall.dashboard.{each}" for each in parts} <= set(done.stdout.split())
