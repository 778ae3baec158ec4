"""Every page of the dashboard as it looks: a real backend with real runs, a real browser, a click where a user would click."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from playwright.sync_api import expect
from tests.dashboard.desk import AGENT, sit_down
from tests.dashboard.driver import Chromium, Tab
from tests.dashboard.installed_tools import install
from tests.dashboard.process import DashboardProcess

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend

from .believable import Scenery, lay_out, set_up
from .measuring import PageFigures, RunFigures, measure_large_run, measure_pages, middle
from .palette import write_small

__all__ = ["FIGURES", "FOLDER", "make", "measure"]

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "pictures"
FIGURES: Final = FOLDER / "dashboard.json"
LOOKS: Final = 5


@dataclass(frozen=True)
class Stage:
    """Where the scenes play."""

    backend: LiveBackend
    client: Playcall
    dashboard: DashboardProcess
    tab: Tab
    scenery: Scenery


def make(folder: Path = FOLDER) -> None:
    with _stage() as stage:
        for name, scene in SCENES.items():
            scene(stage)
            stage.tab.still().page.mouse.move(0, 0)  # nothing is lit up by it
            stage.tab.main.evaluate("(page, top) => page.scrollTo(0, top)", 10_000 if name in AT_THE_END else 0)
            size = write_small(stage.tab.page.screenshot(animations="disabled", caret="hide"), folder / f"{name}.png")
            print(f"{name}.png: {size / 1024:.0f} KiB", flush=True)
        if stage.tab.faults or stage.tab.shown_exceptions():
            raise SystemExit("\n".join([*stage.tab.faults, *stage.tab.shown_exceptions()]))


# --- the scenes -------------------------------------------------------------------------------------------------------


def _playbooks(stage: Stage) -> None:
    stage.tab.open("Playbooks").sees("Quarterly figures")


def _playbook(stage: Stage) -> None:
    stage.tab.main.get_by_role("link", name="Documentation report").click()
    stage.tab.sees_title("Documentation report").sees("Librarian:files.list")


def _run_form(stage: Stage) -> None:
    tab = stage.tab.go("Run").choose(stage.tab.key("playcall_run_playbook"), "Quarterly figures")
    tab.choose(tab.input("quarter"), "Q3").fill(tab.input("year"), "1999").press("Start the run")
    tab.sees("has to be at least 2000")


def _live(stage: Stage) -> None:
    tab = stage.tab.fill(stage.tab.input("year"), "2026").press("Start the run")
    tab.sees_title("Quarterly figures")
    expect(tab.chart).to_contain_text("review")
    expect(tab.key("playcall_log")).to_contain_text("within the tolerance")


def _reconnecting(stage: Stage) -> None:
    stage.backend.kill()
    expect(stage.tab.badge).to_contain_text("offline")


def _back(stage: Stage) -> None:
    stage.backend.restart()
    expect(stage.tab.badge).to_contain_text("online")
    stage.tab.sees_status("completed").section("Artifacts")
    stage.tab.artifact("report.md").wait_for()


def _runs(stage: Stage) -> None:
    stage.tab.open("Runs").sees("Runs")


def _tool(stage: Stage) -> None:
    tool = next(each for each in stage.client.tools.list() if each.name == "text.stats")
    tab = stage.tab
    tab.page.goto(f"{tab.url}/tools?tool={tool.id}")
    tab.sees_title(tool.name).fill(tab.input("text"), "the sum of the parts is the sum of the whole").fill(
        tab.input("top"), "3"
    )
    tab.press("Try it")
    expect(tab.key("result")).to_contain_text("distinct_words")


def _page(title: str) -> Callable[[Stage], None]:
    def show(stage: Stage) -> None:
        stage.tab.go(title)

    return show


SCENES: Final[dict[str, Callable[[Stage], None]]] = {
    "dashboard-playbooks": _playbooks,
    "dashboard-playbook": _playbook,
    "dashboard-run": _run_form,
    "dashboard-live": _live,
    "dashboard-reconnecting": _reconnecting,
    "dashboard-completed": _back,
    "dashboard-runs": _runs,
    "dashboard-agents": _page("Agents"),
    "dashboard-tasks": _page("Tasks"),
    "dashboard-tools": _page("Tools"),
    "dashboard-tool": _tool,
    "dashboard-events": _page("Events"),
    "dashboard-status": _page("Status"),
}
"""By the names of the files, in the order in which they are played."""
AT_THE_END: Final = frozenset({"dashboard-tool"})
"""Whose last lines matter more than their first."""


@contextmanager
def _stage() -> Generator[Stage]:
    with tempfile.TemporaryDirectory(prefix="playcall-pictures-") as name:
        folder = Path(name)
        for each in ("files", "home"):
            (folder / each).mkdir()
        lay_out(folder / "files")
        with (
            LiveBackend(read_roots=[folder / "files"], options=["--enable-shell"]) as backend,
            Playcall(backend.url, auth=ApiKey(backend.api_key)) as client,
        ):
            scenery = set_up(client)
            with DashboardProcess(folder / "home", backend.url, backend.api_key) as dashboard, Chromium() as chromium:
                yield Stage(backend, client, dashboard, chromium.tab(dashboard.url), scenery)


# --- the figures ------------------------------------------------------------------------------------------------------


def measure() -> None:
    """Prints how soon each page is there, and what a large run takes; writes both into `FIGURES`."""
    pages: list[PageFigures] = []
    with tempfile.TemporaryDirectory(prefix="playcall-pictures-") as name:
        folder = Path(name)
        for each in ("files", "home"):
            (folder / each).mkdir()
        lay_out(folder / "files")
        environment = install(folder / "packages")
        with (
            LiveBackend(read_roots=[folder / "files"], options=["--enable-shell"], environment=environment) as backend,
            Playcall(backend.url, auth=ApiKey(backend.api_key)) as client,
        ):
            set_up(client)
            with DashboardProcess(folder / "home", backend.url, backend.api_key) as dashboard, Chromium() as chromium:
                pages += measure_pages(chromium, dashboard, LOOKS, lambda title: print(f"… {title}", flush=True))
                client.agents.delete(next(agent.id for agent in client.agents.list() if agent.name == AGENT))
                desk = sit_down(backend.url, backend.api_key, folder)
                print("… a large run", flush=True)
                run = measure_large_run(chromium, backend, dashboard, desk.gate.folder, AGENT)
                desk.client.close()
    FIGURES.write_text(json.dumps(_figures(pages, run), indent=2) + "\n")
    print(_table(pages))
    print(_sentence(run))


def _figures(pages: list[PageFigures], run: RunFigures) -> dict[str, object]:
    return {
        "taken": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "looks": LOOKS,
        "milliseconds": {
            page.page: {
                "title, first look": round(middle(paint.title for paint in page.first)),
                "largest, first look": round(middle(paint.largest for paint in page.first)),
                "title, again": round(middle(paint.title for paint in page.again)),
                "largest, again": round(middle(paint.largest for paint in page.again)),
                "click": round(middle(page.clicks)),
            }
            for page in pages
        },
        "large run": {
            "steps": run.steps,
            "log lines": run.lines,
            "title, milliseconds": round(run.paint.title),
            "largest, milliseconds": round(run.paint.largest),
            "elements": run.elements,
            "bytes received": run.received_bytes,
            "bytes a second while nothing moves": round(run.idle_bytes_a_second),
            "another level, milliseconds": round(run.level_ms),
            "longest task, milliseconds": round(run.longest_task_ms),
            "memory of the dashboard grown, MiB": round(run.grown_mib),
        },
    }


def _table(pages: list[PageFigures]) -> str:
    """The middle of the looks, and the slowest of them."""
    rows = ["| page | title, first look | largest, first look | title, again | largest, again | click |"]
    rows.append("|---|---:|---:|---:|---:|---:|")
    for page in pages:
        cells = (
            [paint.title for paint in page.first],
            [paint.largest for paint in page.first],
            [paint.title for paint in page.again],
            [paint.largest for paint in page.again],
            list(page.clicks),
        )
        shown = " | ".join(f"{middle(cell):.0f} ms (≤ {max(cell):.0f})" for cell in cells)
        rows.append(f"| {page.page} | {shown} |")
    return "\n".join(rows)


def _sentence(run: RunFigures) -> str:
    return (
        f"A run of {run.steps:,} steps and {run.lines:,} log lines: title after {run.paint.title:.0f} ms, largest paint after "
        f"{run.paint.largest:.0f} ms, {run.elements:,} elements, {run.received_bytes:,} bytes and then "
        f"{run.idle_bytes_a_second:,.0f} a second, another level after {run.level_ms:.0f} ms, longest task {run.longest_task_ms:.0f} ms, memory grown by {run.grown_mib:.0f} MiB."
    )
