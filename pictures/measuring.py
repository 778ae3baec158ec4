"""How soon a page of the dashboard is there, and how it bears a large run, as a browser on this machine sees it.

The server is warm, and every visitor's first look is from an empty cache. *Title* is when the page's own title has been
drawn, and *largest* the Largest Contentful Paint, both from the beginning of the navigation; *click* is from a click in the
navigation to the other page's title.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.dashboard.driver import PAGES, Chromium, Tab
from tests.dashboard.large_run import begin_large_run
from tests.dashboard.process import DashboardProcess

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend

__all__ = ["PageFigures", "Paint", "RunFigures", "measure_large_run", "measure_pages", "middle"]

STEPS: Final = 2_000
LINES: Final = 50_000
IDLE_SECONDS: Final = 5

WATCH: Final = """
window.measured = {title: null, largest: null, tasks: []};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) measured.largest = entry.startTime;
}).observe({type: "largest-contentful-paint", buffered: true});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) measured.tasks.push(entry.duration);
}).observe({type: "longtask", buffered: true});
const look = () => {
  const title = document.querySelector("h1");
  if (title && title.textContent && title.getBoundingClientRect().height) measured.title = performance.now();
  else requestAnimationFrame(look);
};
look();
"""
"""Runs in a page before anything else does."""

CLICK: Final = """
([selector, title]) => new Promise((done) => {
  const began = performance.now();
  document.querySelector(selector).click();
  const look = () => {
    const heading = document.querySelector("h1");
    if (heading && heading.textContent.startsWith(title)) done(performance.now() - began);
    else requestAnimationFrame(look);
  };
  look();
})
"""

CHANGE: Final = """
([selector, level]) => new Promise((done) => {
  const began = performance.now();
  const buttons = document.querySelectorAll(".st-key-playcall_level button, .st-key-playcall_level label");
  [...buttons].find((button) => button.innerText.trim() === level).click();
  const look = () => {
    const part = document.querySelector(selector);
    if (part && part.innerText.includes(level) && !part.innerText.includes("debug")) done(performance.now() - began);
    else requestAnimationFrame(look);
  };
  look();
})
"""


@dataclass(frozen=True)
class Paint:
    """Milliseconds of one look."""

    title: float
    largest: float


@dataclass(frozen=True)
class PageFigures:
    """Of several looks at one page. `first` is from an empty cache, `again` with what the first has left in it."""

    page: str
    first: Sequence[Paint]
    again: Sequence[Paint]
    clicks: Sequence[float]


@dataclass(frozen=True)
class RunFigures:
    """What the page of a large run takes: of the browser, of the wire, and of the dashboard's processes."""

    steps: int
    lines: int
    paint: Paint
    elements: int
    received_bytes: int
    idle_bytes_a_second: float
    """While nothing moves but the clock."""
    level_ms: float
    """From a click on another level to the lines of that level."""
    longest_task_ms: float
    grown_mib: float


def measure_pages(
    chromium: Chromium, dashboard: DashboardProcess, looks: int, tell: Callable[[str], None]
) -> Iterable[PageFigures]:
    _look(chromium.tab(dashboard.url, init_script=WATCH), "Playbooks")  # what only the server's first page costs
    for title in PAGES:
        tell(title)
        first: list[Paint] = []
        again: list[Paint] = []
        clicks: list[float] = []
        for _ in range(looks):
            tab = chromium.tab(dashboard.url, init_script=WATCH)
            first.append(_look(tab, title, close=False))
            again.append(_look(tab, title, close=False))
            other = "Playbooks" if title != "Playbooks" else "Runs"
            tab.go(other)
            link = f".st-key-playcall_navigation a[href='{PAGES[title]}']"
            clicks.append(tab.page.evaluate(CLICK, [link, title]))
            tab.close()
        yield PageFigures(title, first, again, clicks)


def measure_large_run(
    chromium: Chromium, backend: LiveBackend, dashboard: DashboardProcess, gate: Path, agent: str
) -> RunFigures:
    """`agent` is one that may do what `begin_large_run` needs."""
    with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        run = begin_large_run(backend, client, agent, gate, steps=STEPS, lines=LINES)
    dashboard.forget_peak()
    before = dashboard.memory_mib("VmRSS")
    tab = chromium.tab(dashboard.url, init_script=WATCH)
    tab.open_run(run)
    paint = _painted(tab)
    tab.key("playcall_log").get_by_text(f"line {LINES - 1} of").wait_for()
    received, elements = tab.received_bytes, tab.elements()
    tab.page.wait_for_timeout(IDLE_SECONDS * 1000)
    idle = (tab.received_bytes - received) / IDLE_SECONDS
    level = tab.page.evaluate(CHANGE, [".st-key-playcall_log", "error"])
    figures = RunFigures(
        steps=STEPS,
        lines=LINES,
        paint=paint,
        elements=elements,
        received_bytes=received,
        idle_bytes_a_second=idle,
        level_ms=level,
        longest_task_ms=tab.page.evaluate("Math.max(0, ...measured.tasks)"),
        grown_mib=dashboard.memory_mib() - before,
    )
    tab.close()
    (gate / "1").touch()
    return figures


def middle(values: Iterable[float]) -> float:
    return statistics.median(values)


def _look(tab: Tab, title: str, *, close: bool = True) -> Paint:
    tab.open(title)
    seen = _painted(tab)
    if close:
        tab.close()
    return seen


def _painted(tab: Tab) -> Paint:
    tab.page.wait_for_function("measured.title !== null && measured.largest !== null")
    said = tab.page.evaluate("measured")
    return Paint(said["title"], said["largest"])
