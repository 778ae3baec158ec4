"""The README's examples run as they stand, in order, against a real backend."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from playcall.testing import LiveBackend

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.xdist_group("subprocesses")
def test_the_examples_of_the_readme_run(tmp_path: Path) -> None:
    playbook = blocks("yaml")[0]
    (tmp_path / re.findall(r"# (\S+\.yaml)", playbook)[0]).write_text(playbook)
    (tmp_path / "work.py").write_text("# TODO: everything\n")
    printed: list[str] = []
    with LiveBackend(read_roots=[tmp_path]) as backend:
        environment = {**os.environ, "PLAYCALL_URL": backend.url, "PLAYCALL_API_KEY": backend.api_key}
        # The path is the backend's: it was not started in the folder of the example.
        for block in blocks("python"):
            code = block.replace('{"path": "."}', repr({"path": str(tmp_path)}))
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", code],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            printed.append(done.stdout)
    blocking, awaiting, wrong = printed
    assert blocking.startswith("run.snapshot\n")
    assert "run.completed\n" in blocking
    # The playbook itself says TODO once.
    assert blocking.endswith("2 things to do\nonline\n")
    assert awaiting == "run.completed 2\ncompleted\n"
    assert wrong.startswith("AuthenticationError: GET /playbooks/deploy answered 401")


def test_each_face_is_shown_in_about_fifteen_lines() -> None:
    for block in blocks("python")[:2]:
        assert len(block.splitlines()) <= 16


def test_every_cell_of_the_comparison_that_claims_something_leads_to_what_proves_it() -> None:
    table = [line for line in README.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    assert len(rows) > 10
    for claim, ours, *theirs in rows:
        assert len(theirs) == 4, claim
        links = re.findall(r'\]\((\S+?)(?:#\S+)?(?: "(\w+)")?\)', f"{claim} {ours}")
        assert links or ours.startswith("any"), f"{claim}: nothing backs it"
        for path, test in links:
            text = (ROOT / path).read_text()
            if path.startswith("tests/"):
                assert f"def {test}(" in text, f"{claim}: there is no {test} in {path}"


FIGURES = {
    ("http_async", "http-async-get-32", "aiohttp"): {
        "playcall": "1.25",
        "httpx": "10.4",
        "httpx2": "5.42",
        "openai": "9.66",
    },
    ("http_blocking", "http-blocking-1", "httpx2"): {"playcall (uvloop)": "0.82", "httpx": "1.11", "urllib3": "0.79"},
    ("http_blocking", "http-blocking-asyncio-1", "httpx2"): {"playcall (asyncio)": "0.89"},
    ("realtime", "realtime-1", "websockets, json.loads"): {
        "playcall, async iterator": "2.17",
        "centrifuge-python": "0.58",
    },
    ("realtime", "realtime-100", "websockets, json.loads"): {
        "playcall, async iterator": "1.04",
        "centrifuge-python": "0.20",
    },
}


@pytest.mark.parametrize("where", FIGURES, ids=lambda where: where[1])
def test_the_figures_are_those_that_were_measured(where: tuple[str, str, str]) -> None:
    module, key, against = where
    tables = json.loads((ROOT / "bench" / "results.json").read_text())[module]["results"]["tables"]
    [rows] = [table["rows"] for table in tables if table["key"] == key]
    for row, said in FIGURES[where].items():
        ratio = median(ours / theirs for ours, theirs in zip(rows[row], rows[against], strict=True))
        assert f"{ratio:.{1 if ratio >= 10 else 2}f}" == said, row
        assert said in README, f"the README says something else of {row}"
