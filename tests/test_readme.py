"""The README's examples run as they stand, in order, against a real backend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from playcall.testing import LiveBackend

README = (Path(__file__).parents[1] / "README.md").read_text()


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
