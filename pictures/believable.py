"""A backend with something on it: agents, playbooks, and runs that really ran, ended well and badly, or still go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import playcall
from playcall import Playcall
from playcall.cli.demo_story import AGENTS as SOURCE_AGENTS
from playcall.cli.demo_story import PRESETS, TOOLS
from playcall.models import Playbook, Run

__all__ = ["Scenery", "lay_out", "set_up"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_HANDBOOK: Final = "handbook"
_SOURCE: Final = "playcall"
"""As the pictures show them: relative to the server's read root, so that nothing of this machine is seen."""
_AGENTS: Final[tuple[dict[str, Any], ...]] = (
    *SOURCE_AGENTS,
    {
        "name": "Librarian",
        "description": "Knows where everything stands",
        "tools": ["files.list", "files.read", "text.search"],
    },
    {"name": "Counter", "description": "Counts words", "tools": ["text.stats", "csv.profile", "template.render"]},
    {"name": "Writer", "description": "Writes things down", "tools": ["template.render", "files.write"]},
    {"name": "Clerk", "description": "Keeps the ledgers", "tools": ["wait", "files.write"]},
    {"name": "Auditor", "description": "Checks the sums", "tools": ["wait", "csv.profile", "shell"]},
)


@dataclass(frozen=True)
class Scenery:
    """What there is: the playbooks by their names, and the runs that ended."""

    playbooks: dict[str, Playbook]
    completed: Run
    failed: Run


def lay_out(folder: Path) -> None:
    """Puts into `folder`, which is to be the server's read root, what the playbooks read."""
    shutil.copytree(_ROOT / "docs", folder / _HANDBOOK, ignore=shutil.ignore_patterns("pictures"))
    shutil.copytree(Path(playcall.__file__).parent, folder / _SOURCE, ignore=shutil.ignore_patterns("__pycache__"))


def set_up(client: Playcall) -> Scenery:
    """Takes some seconds: the runs are waited for. The server must have been started with `--enable-shell`."""
    for name, description in TOOLS:
        made = {"name": name, "kind": "installed", "description": description, "implementation": f"source.{name}"}
        client.tools.register({**made, "defaults": PRESETS})
    for agent in _AGENTS:
        client.agents.create(agent)
    playbooks = {made.name: made for made in _playbooks(client)}
    inputs = {
        "Documentation report": {"folder": _HANDBOOK},
        "Source report": {"path": _SOURCE, "title": "playcall"},
        "Link check": {"folder": _HANDBOOK},
        "Release notes": {"version": "0.1.0", "path": f"{_HANDBOOK}/design.md"},
    }
    begun = {
        name: client.playbooks.run(playbooks[name].id, inputs=inputs[name])
        for name in ("Link check", "Release notes", "Source report", "Documentation report")
    }
    wrong = client.playbooks.run(
        playbooks["Release notes"].id, inputs={"version": "0.2.0", "path": f"{_HANDBOOK}/changelog.md"}
    )
    cancelled = client.playbooks.run(playbooks["Quarterly figures"].id, inputs={"quarter": "Q1", "year": 2025})
    client.runs.cancel(cancelled.id)
    ended = {run.playbook_name: client.runs.wait(run.id, timeout_seconds=300) for run in begun.values()}
    client.runs.wait(cancelled.id, timeout_seconds=300)
    return Scenery(playbooks, ended["Documentation report"], client.runs.wait(wrong.id, timeout_seconds=300))


def _playbooks(client: Playcall) -> Iterable[Playbook]:
    """The last is the newest, which the dashboard shows first."""
    yield client.playbooks.create_from_file(_ROOT / "pictures" / "playbooks" / "link-check.yaml")
    yield client.playbooks.create_from_file(_ROOT / "pictures" / "playbooks" / "release-notes.yaml")
    with as_file(files("playcall.cli") / "playbooks" / "source-report.yaml") as file:
        yield client.playbooks.create_from_file(file)
    yield client.playbooks.create_from_file(_ROOT / "examples" / "playbooks" / "every_step.yaml")
    yield client.playbooks.create_from_file(_ROOT / "pictures" / "playbooks" / "quarterly-figures.yaml")
