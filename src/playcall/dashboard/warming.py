"""What the server does before its first browser comes, so that the first page is as quick as the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Final

from playcall.dashboard import collection, connection, monitoring
from playcall.errors import ConfigurationError

if TYPE_CHECKING:
    import streamlit as st

__all__ = ["warm"]

SLOW: Final = ("altair", "pandas", "pyarrow", "PIL.Image", "PIL.ExifTags", "streamlit.material_icon_names")
"""What Streamlit imports with the first table, chart or icon: half a second and more."""
NO_PART: Final = "app"
"""Of our modules the one that is the server itself."""


@asynccontextmanager
async def warm(app: st.App) -> AsyncGenerator[dict[str, Any] | None]:  # Any: Streamlit's own word for what it keeps
    """The server's life: the client is made at its start, and closed at its end.

    Our own modules are there before anybody is served: else the first browsers' threads would import them side by side,
    and one may find what another has only begun.
    """
    for each in iter_modules([str(Path(__file__).parent)]):
        if each.name != NO_PART:
            import_module(f"playcall.dashboard.{each.name}")
    warming = asyncio.create_task(asyncio.to_thread(_warm))
    try:
        yield None
    finally:
        try:
            await warming
        finally:
            await asyncio.to_thread(connection.close)


def _warm() -> None:
    for name in SLOW:
        import_module(name)
    try:
        following = connection.following()
    except ConfigurationError:
        return  # every page says so
    collection.playbooks(following)
    monitoring.keep_true(following)
