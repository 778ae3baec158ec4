"""The server's end closes its client, whatever became of the warming."""

from __future__ import annotations

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
