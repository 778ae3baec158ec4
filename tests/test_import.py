"""Importing costs next to nothing, and gives what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import playcall


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("heavy", ["aiohttp", "pydantic", "yarl", "asyncio", "fastapi", "sqlalchemy"])
def test_importing_playcall_loads_nothing_heavy(heavy: str) -> None:
    assert run(f"import playcall, playcall.errors, sys; print({heavy!r} in sys.modules)") == "False"


def test_every_name_is_there() -> None:
    for name in playcall.__all__:
        assert getattr(playcall, name) is not None
    assert set(dir(playcall)) >= {"Playcall", "deadline"}
    with pytest.raises(AttributeError, match="nothing_like_it"):
        playcall.nothing_like_it  # noqa: B018


@pytest.mark.parametrize(
    "order", ["Playcall, deadline", "deadline, Playcall", "BaseAPIClient, ConnectionState, deadline"]
)
def test_deadline_is_the_function_whatever_was_imported_first(order: str) -> None:
    """The module of the same name must not take its place."""
    code = f"from playcall import {order}\nimport playcall, playcall.client\nwith playcall.deadline(5), deadline(5): print('ok')"
    assert run(code) == "ok"


def test_the_client_never_imports_the_server() -> None:
    assert (
        run("import playcall.client, sys; print([m for m in sys.modules if m.startswith('playcall.server')])") == "[]"
    )


def test_the_mock_needs_no_server() -> None:
    code = "from playcall.testing import MockTransport; import sys; print('fastapi' in sys.modules, 'playcall.server' in sys.modules)"
    assert run(code) == "False False"
