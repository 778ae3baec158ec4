"""Importing costs next to nothing, and gives what it says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import playcall


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("heavy", ["aiohttp", "pydantic", "yarl", "asyncio", "fastapi", "sqlalchemy"])
def test_importing_playcall_loads_nothing_heavy(heavy: str) -> None:
    assert run(f"import playcall, playcall.errors, sys; print({heavy!r} in sys.modules)") == "False"


def test_importing_playcall_reads_four_files_of_it() -> None:
    """What `deadline` needs; each further one is time that every start of a program pays for."""
    code = "import playcall, sys; print(*sorted(m for m in sys.modules if m.startswith('playcall')))"
    assert run(code) == "playcall playcall.deadline playcall.errors playcall.timeline"


def test_every_lazy_name_is_public_and_comes_from_where_type_checkers_look() -> None:
    source = Path(playcall.__file__).read_text()
    [checked] = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == playcall._HOMES
    assert set(playcall.__all__) == {*playcall._HOMES, "deadline", "__version__"}


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


def modules_after(code: str) -> set[str]:
    return set(run(f"{code}\nimport sys; print(*sys.modules)").split())


def test_a_client_of_somebody_elses_backend_reads_no_noun_of_ours() -> None:
    loaded = modules_after("from playcall import BaseAPIClient; BaseAPIClient('http://127.0.0.1')")
    assert {name for name in loaded if name.startswith("playcall.models.")} == {
        "playcall.models.base",
        "playcall.models.problem",
    }
    assert not [name for name in loaded if name.startswith("playcall.realtime")]


@pytest.mark.parametrize("kind", ["Playcall", "AsyncPlaycall"])
def test_a_client_reads_the_nouns_that_are_used_and_realtime_with_the_first_look_at_events(kind: str) -> None:
    code = f"from playcall import {kind}; client = {kind}('http://127.0.0.1'); client.playbooks; client.account"
    loaded = modules_after(code)
    assert "playcall.models.playbook" in loaded
    assert not loaded & {"playcall.models.event", "playcall.models.tool"}
    assert not [name for name in loaded if name.startswith("playcall.realtime")]
    assert "playcall.realtime.feed" in modules_after(f"{code}; client.events")


def test_every_model_is_there_and_comes_from_where_type_checkers_look() -> None:
    from playcall import models

    for name in models.__all__:
        assert getattr(models, name) is not None
    assert dir(models) == sorted(models.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        models.nothing_like_it  # noqa: B018
    [checked] = [node for node in ast.parse(Path(models.__file__).read_text()).body if isinstance(node, ast.If)]
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == models._HOMES
    assert set(models.__all__) == set(models._HOMES)
