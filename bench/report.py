"""The report: `bench/results.json` holds the figures, `docs/performance.md` shows them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from .drawing import drawn
from .modules import MODULES, module_of
from .results import Results, Spread, Table, Target

if TYPE_CHECKING:
    import rich.table

__all__ = ["Measured", "load", "on_screen", "processors", "write"]

RESULTS: Final = Path(__file__).parent / "results.json"
PAGE: Final = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN: Final = "<!-- measured: `make bench` writes what follows -->"
OURS: Final = "#3b8eea"
THEIRS: Final = "#9aa4b0"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one module gave, when, and on what."""

    taken: str
    machine: str
    versions: dict[str, str]
    results: Results


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def load() -> dict[str, Measured]:
    if not RESULTS.exists():
        return {}
    held: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())
    return {
        name: Measured(each["taken"], each["machine"], each["versions"], Results.loaded(each["results"]))
        for name, each in held.items()
    }


def write(measured: Mapping[str, Measured]) -> None:
    ordered = {name: measured[name] for name in MODULES if name in measured}
    RESULTS.write_text(json.dumps({name: asdict(each) for name, each in ordered.items()}, indent=1) + "\n")
    for name, each in ordered.items():
        _draw_bars(name, each.results.tables)
    before = PAGE.read_text().partition(BEGIN)[0]
    PAGE.write_text(before + BEGIN + "\n\n" + page({name: module_of(name) for name in ordered}, ordered))


def page(modules: Mapping[str, ModuleType], measured: Mapping[str, Measured]) -> str:
    """What is measured, in Markdown."""
    lines = ["## Targets", "", "| target | promised | measured | |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _targets(modules, measured)]
    for name, each in measured.items():
        lines += ["", f"## {modules[name].TITLE}", ""]
        lines += [_prose(modules[name]), "", f"Taken {each.taken} on {each.machine}.", ""]
        if any(table.against for table in each.results.tables):
            lines += [f"![Each as a multiple of what it is compared with](pictures/bench-{name}.svg)", ""]
        for table in each.results.tables:
            lines += [*_markdown(table), ""]
        for picture in each.results.pictures:
            lines += [f"![{picture.caption}](pictures/{picture.file})", "", f"*{picture.caption}*", ""]
        lines.pop()
    versions = {package: which for each in measured.values() for package, which in each.versions.items()}
    lines += ["", "## Versions", "", ", ".join(f"{package} {which}" for package, which in versions.items()) + "."]
    return "\n".join(lines) + "\n"


def on_screen(modules: Mapping[str, ModuleType], measured: Mapping[str, Measured]) -> rich.table.Table:
    """The targets, for the terminal."""
    import rich.table

    table = rich.table.Table("target", "promised", "measured", "")
    for text, promised, found, met in _targets(modules, measured):
        table.add_row(text, promised, found, met, style=None if met == "met" else "red")
    return table


def _targets(
    modules: Mapping[str, ModuleType], measured: Mapping[str, Measured]
) -> Iterator[tuple[str, str, str, str]]:
    for name, each in measured.items():
        tables = {table.key: table for table in each.results.tables}
        targets: Sequence[Target] = modules[name].TARGETS
        for target in targets:
            table = tables.get(target.table)
            if table is None or target.row not in table.rows:
                yield target.text, _promise(target, None), "not measured", "**not met**"
                continue
            found = target.figure(table)
            yield (
                target.text,
                _promise(target, table),
                _spread(found, "×" if target.to else f" {table.unit}"),
                "met" if target.is_met(table) else f"**missed by {_missed(target, found):.0%}**",
            )


def _promise(target: Target, table: Table | None) -> str:
    unit = "×" if target.to else (f" {table.unit}" if table else "")
    return f"≤ {target.at_most:g}{unit}" if target.at_most is not None else f"≥ {target.at_least:g}{unit}"


def _missed(target: Target, found: Spread) -> float:
    if target.at_most is not None:
        return found.median / target.at_most - 1
    assert target.at_least is not None
    return 1 - found.median / target.at_least


def _markdown(table: Table) -> Iterator[str]:
    multiple = f" as a multiple of {table.against} |" if table.against else ""
    yield f"**{table.title[:1].upper()}{table.title[1:]}**"
    yield ""
    yield f"| | {table.unit} |{multiple}"
    yield "|---|---:|" + ("---:|" if table.against else "")
    for row in table.rows:
        ratio = f" {_spread(table.ratio(row, table.against), '×')} |" if table.against else ""
        yield f"| {row} | {_spread(table.figure(row), '')} |{ratio}"
    if table.note:
        yield ""
        yield table.note


def _spread(spread: Spread, unit: str) -> str:
    if spread.low == spread.high:
        return f"{_number(spread.median)}{unit}"
    return f"{_number(spread.median)}{unit} ({_number(spread.low)} to {_number(spread.high)})"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _prose(module: ModuleType) -> str:
    return " ".join((module.__doc__ or "").split())


def _draw_bars(name: str, tables: Sequence[Table]) -> None:
    compared = [table for table in tables if table.against]
    if not compared:
        return

    def draw(axes: list[Any]) -> None:
        for each, table in zip(axes, compared, strict=True):
            rows = list(reversed(table.rows))
            ratios = [table.ratio(row, table.against or "") for row in rows]
            each.barh(
                rows,
                [ratio.median for ratio in ratios],
                color=[OURS if row.startswith("playcall") else THEIRS for row in rows],
                xerr=[
                    [ratio.median - ratio.low for ratio in ratios],
                    [ratio.high - ratio.median for ratio in ratios],
                ],
                ecolor="#7d8590",
                error_kw={"elinewidth": 1},
            )
            for row, ratio in zip(rows, ratios, strict=True):
                each.text(ratio.high, row, f" {_number(ratio.median)}×", va="center", fontsize=8)
            each.grid(visible=False)
            each.set_title(f"{table.title}: {table.unit}, as a multiple of {table.against}", fontsize=9, loc="left")

    rows = max(len(table.rows) for table in compared)
    drawn(f"bench-{name}", len(compared), draw, height=0.55 + 0.24 * rows, one_x=False)
