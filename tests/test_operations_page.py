"""docs/operations.md names every option of `playcall serve`, with its default, and every metric, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from playcall.cli.app import app
from playcall.server.routes import health
from playcall.server.telemetry import metrics

PAGE = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table after the heading."""
    _, _, text = PAGE.partition(heading)
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[0].splitlines()]
    return lines[2:]


def options() -> dict[str, object]:
    group = typer.main.get_command(app)
    command = getattr(group, "commands")["serve"]  # noqa: B009 - typer gives it as a plain command
    return {option.opts[0]: option.default for option in command.params}


def test_the_settings_are_those_of_the_command() -> None:
    found = {name.strip("`"): default.strip("`") for name, default, _ in rows("## Settings")}
    assert list(found) == list(options())
    for name, default in options().items():
        if isinstance(default, bool):
            assert found[name] == "no", name
        elif default is not None and default != ():
            assert found[name] == (f"{default:g}" if isinstance(default, float) else str(default)), name
        else:
            assert found[name] in ("", "any"), name


@pytest.mark.parametrize("metric", metrics.METRICS, ids=lambda metric: metric.name)
def test_each_metric_stands_as_it_is(metric: metrics.Metric) -> None:
    kind = type(metric).__name__.lower()
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    assert [f"`{metric.name}`", kind, labels, metric.help] in rows("### Metrics")


def test_there_are_no_other_metrics_on_the_page() -> None:
    names = {metric.name for metric in metrics.METRICS}
    assert len(rows("### Metrics")) == len(names)
    assert set(re.findall(r"playcall_[a-z_]+[a-z]", PAGE)) <= names


def test_the_checks_are_those_of_ready() -> None:
    assert health.health_ready.__doc__ is not None
    named = set(re.findall(r"`(\w+)`", health.health_ready.__doc__)) - {"checks", "ok"}
    assert {name.strip("`") for name, _ in rows("## Monitoring")} == named
