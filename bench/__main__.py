"""`python -m bench`: measures everything, or the modules that are named, and writes the report.

Each module is measured in a process of its own, one after another. What is not measured now keeps the figures that it had.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from types import ModuleType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from . import report
from .results import Results
from .rounds import Scale

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
PACKAGES: Final = (
    "aiohttp",
    "pydantic",
    "uvloop",
    "httpx",
    "httpx2",
    "openai",
    "urllib3",
    "websockets",
    "centrifuge-python",
    "fastapi",
    "uvicorn",
    "sqlalchemy",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures playcall beside its peers.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}; all, if none is named")
    parser.add_argument("--quick", action="store_true", help="a few seconds each: shows that it works, writes nothing")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing: write the report from the results again"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.modules) - set(MODULES)
    if unknown:
        parser.error(f"no such module: {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    if options.child:
        _measure_here(options.modules[0], Scale.of(quick=options.quick))
        return
    kept = report.load()
    if not options.report:
        measured = _measure_all(options.modules or MODULES, quick=options.quick)
        if options.quick:
            _show(measured)
            return
        kept |= measured
    report.write(kept)
    _show(kept)


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"bench.{name}")


def _measure_here(name: str, scale: Scale) -> None:
    results: Results = module_of(name).measure(scale, lambda part: print(json.dumps(part), flush=True))
    print(json.dumps(asdict(results)), flush=True)


def _measure_all(names: tuple[str, ...] | list[str], *, quick: bool) -> dict[str, report.Measured]:
    measured: dict[str, report.Measured] = {}
    machine = f"{platform.machine()}, {report.processors()} processors, Python {platform.python_version()}"
    versions = {name: version(name) for name in PACKAGES}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        for name in names:
            task = progress.add_task(module_of(name).TITLE, total=1.0)
            command = [sys.executable, "-m", "bench", "--child", *(["--quick"] if quick else []), name]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                for line in child.stdout:
                    said = json.loads(line)
                    if isinstance(said, dict):
                        taken = datetime.now(UTC).date().isoformat()
                        measured[name] = report.Measured(taken, machine, versions, Results.loaded(said))
                    else:
                        progress.update(task, completed=said)
            if child.returncode:
                raise SystemExit(f"bench.{name} failed with {child.returncode}; the report is as it was")
            progress.update(task, completed=1.0)
    return measured


def _show(measured: dict[str, report.Measured]) -> None:
    console = Console()
    console.print(report.on_screen({name: module_of(name) for name in measured}, measured))


if __name__ == "__main__":
    main()
