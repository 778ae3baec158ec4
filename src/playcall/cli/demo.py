"""`playcall demo`: the whole path on real files, in half a minute."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..errors import PlaycallError
from .failing import FAILED, INTERRUPTED, USAGE, fail

__all__ = ["demo"]

NEEDS = (
    "fastapi",
    "uvicorn",
    "websockets",
    "sqlalchemy",
    "aiosqlite",
    "alembic",
    "dbos",
    "jinja2",
    "yaml",
    "simpleeval",
)
"""What the backend imports beyond the client; one of these is missing where the extra is."""
DEFAULT_REPORT = Path("playcall-demo-report.md")
OWN_SOURCE = Path(__file__).resolve().parent.parent


def demo(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]", help="A folder of Python sources; playcall's own if left out.", show_default=False
        ),
    ] = None,
    plain: Annotated[
        bool | None,
        typer.Option("--plain", help="Lines without control codes; so it is anyway where the output is no terminal."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the report goes; overwritten.")
    ] = DEFAULT_REPORT,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: only the JSON object; the story is told on standard error.")
    ] = False,
) -> None:
    """Start a backend, run a playbook on real files, cut the connection midway, and lose nothing.

    Reads the tree in parallel steps, merges the figures and writes a Markdown report. Everything else it makes is
    temporary. The last line is a JSON object; the exit status is 0 only if the run completed and every event arrived once.

    Example: playcall demo src --output report.md
    """
    source = _source(path)
    report = _report(output)
    missing = next((name for name in NEEDS if find_spec(name) is None), None)
    if missing is not None:
        fail(FAILED, f"{missing} is missing; the demo needs: pip install 'playcall[all]'")
    try:
        ok = _run(source, report, plain, as_json)
    except KeyboardInterrupt:
        fail(INTERRUPTED, "interrupted; the backend was stopped and its data removed")
    if not ok:
        raise typer.Exit(FAILED)


def _run(source: Path, report: Path, plain: bool | None, as_json: bool) -> bool:
    # Here and not above: these load aiohttp and pydantic, which a refused argument need not wait for.
    from ..models.run import RunStatus
    from ..testing.live_backend import BackendStartError
    from .demo_story import tell
    from .demo_view import PlainView, view_for

    try:
        outcome, verdict = tell(source, report, PlainView(sys.stderr) if as_json else view_for(plain))
    except BackendStartError as error:
        fail(FAILED, f"the backend could not be started: {str(error).splitlines()[-1].removeprefix('playcall: ')}")
    except PlaycallError as error:
        fail(FAILED, error.message)
    print(json.dumps(outcome.as_dict(), ensure_ascii=False), flush=True)
    return outcome.status == RunStatus.COMPLETED and verdict.ok and outcome.report is not None


def _source(path: Path | None) -> Path:
    if path is None:
        return OWN_SOURCE
    if not path.exists():
        fail(USAGE, f"there is no folder {path}; give one with Python sources, or none for playcall's own")
    if not path.is_dir():
        fail(USAGE, f"{path} is not a folder; give one with Python sources")
    source = path.resolve()
    try:
        # As the tools see it: what is hidden does not count.
        found = any(
            file.suffix == ".py" and not any(part.startswith(".") for part in file.relative_to(source).parts)
            for file in source.rglob("*.py")
        )
    except OSError as error:
        fail(USAGE, f"{path} cannot be read: {(error.strerror or str(error)).lower()}")
    if not found:
        fail(USAGE, f"there are no Python files under {path}; give a folder that has some")
    return source


def _report(output: Path) -> Path:
    report = output.absolute()
    if report.is_dir():
        fail(USAGE, f"{output} is a folder; --output takes a file")
    if not report.parent.is_dir():
        fail(USAGE, f"there is no folder {report.parent} to put the report in; choose another place with --output")
    if not os.access(report.parent, os.W_OK | os.X_OK):
        fail(USAGE, f"the report cannot be written in {report.parent}; choose another place with --output")
    return report
