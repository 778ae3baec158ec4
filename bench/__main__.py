"""`python -m bench`: measures everything, or the modules that are named, and writes the report.

Each module is measured in a process of its own, one after another. What is not measured now keeps the figures that it had.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from . import report
from .modules import MODULES, module_of
from .results import Results
from .rounds import Scale, Tell

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
    kept = {} if options.quick else report.load()
    failed: list[str] = []
    if not options.report:
        measure = _measured if sys.stdout.isatty() else _measured_in_lines
        for name, measured in measure(options.modules or MODULES, quick=options.quick):
            if measured is None:
                failed.append(name)
            else:
                kept[name] = measured
                if not options.quick:
                    report.write(kept)  # now: the next may fail
    else:
        report.write(kept)
    _show(kept)
    if failed:
        raise SystemExit(f"could not be measured: {', '.join(failed)}; their figures are as they were")


def _measure_here(name: str, scale: Scale) -> None:
    results: Results = module_of(name).measure(scale, lambda part: print(json.dumps(part), flush=True))
    print(json.dumps(asdict(results)), flush=True)


def _measured(names: Sequence[str], *, quick: bool) -> Iterator[tuple[str, report.Measured | None]]:
    """One after another; None for one that failed, which has said why."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        for name in names:
            task = progress.add_task(module_of(name).TITLE, total=1.0)
            yield name, _measure_apart(name, partial(_move, progress, task), quick=quick)


def _measured_in_lines(names: Sequence[str], *, quick: bool) -> Iterator[tuple[str, report.Measured | None]]:
    """As `_measured`, for a log."""
    for name in names:
        began = time.monotonic()
        measured = _measure_apart(name, lambda _part: None, quick=quick)
        print(f"{name}: {'failed' if measured is None else 'measured'} in {time.monotonic() - began:.0f} s", flush=True)
        yield name, measured


def _move(progress: Progress, task: TaskID, part: float) -> None:
    progress.update(task, completed=part)


def _measure_apart(name: str, tell: Tell, *, quick: bool) -> report.Measured | None:
    """In a process of its own, which says its progress line by line, and then what it measured."""
    command = [sys.executable, "-m", "bench", "--child", *(["--quick"] if quick else []), name]
    results: Results | None = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said = json.loads(line)
            if isinstance(said, dict):
                results = Results.loaded(said)
            else:
                tell(said)
    if child.returncode or results is None:
        return None
    tell(1.0)
    machine = f"{platform.machine()}, {report.processors()} processors, Python {platform.python_version()}"
    taken = datetime.now(UTC).date().isoformat()
    return report.Measured(taken, machine, {each: version(each) for each in PACKAGES}, results)


def _show(measured: dict[str, report.Measured]) -> None:
    console = Console()
    console.print(report.on_screen({name: module_of(name) for name in measured}, measured))


if __name__ == "__main__":
    main()
