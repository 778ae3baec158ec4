"""The tutorial's path is walked as it is written: from `pip install` in an empty environment to a live page.

Its commands are typed into terminals, its files saved, its key copied from what the backend printed. Changed is only what
one machine cannot share with others: the ports.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..docs.blocks import ROOT, Block, blocks
from .shell import Shell

TUTORIAL = ROOT / "docs" / "tutorial" / "index.md"
PAGE_CHECK = """
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("page.py").run(timeout=60)
assert not page.exception, page.exception
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True, timeout=120)
    [made] = folder.glob("playcall-*.whl")
    return made


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def environment_of_a_newcomer(wheel: Path, folder: Path) -> dict[str, str]:
    """Nothing of ours is on it, but where pip finds the wheel that would be published, and where the backend will be."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (folder / "constraints.txt").write_text(f"playcall=={version}\n")
    own = Path(sys.executable).parent
    rest = [each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != own]
    if shutil.which("python3.11", path=os.pathsep.join(rest)) is None:
        rest.insert(0, str(Path(sys.executable).resolve().parent))
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PLAYCALL_", "COV", "PYTEST", "PYTHON")) and name != "VIRTUAL_ENV"
    }
    return {
        **kept,
        "PATH": os.pathsep.join(rest),
        "PIP_FIND_LINKS": f"{wheel.parent} {kept.get('PIP_FIND_LINKS', '')}".strip(),
        "PIP_CONSTRAINT": str(folder / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",  # what is never imported need not be compiled
        "PLAYCALL_CONFIG": str(folder / "config.toml"),
        "STREAMLIT_SERVER_HEADLESS": "true",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    }


def commands(block: Block) -> list[str]:
    return [line for line in block.text.splitlines() if line.strip()]


@pytest.mark.xdist_group("subprocesses")
def test_a_newcomer_gets_from_nothing_to_a_live_page(wheel: Path, tmp_path: Path) -> None:
    environment = environment_of_a_newcomer(wheel, tmp_path)
    port = free_port()
    environment["PLAYCALL_URL"] = f"http://127.0.0.1:{port}"
    folder = tmp_path / "words"
    steps: Iterator[Block] = iter(blocks(TUTORIAL))
    walked: list[str] = []

    with Shell(tmp_path, environment) as first, Shell(tmp_path, environment) as second:
        for block in steps:
            lines = commands(block)
            if lines == ["playcall serve"]:
                break
            for line in lines:
                first.run(line, timeout_seconds=300)
                walked.append(line)
        since = first.type(f"playcall serve --port {port}")
        key = first.until(r"pk_[\w-]{20,}", since)[0]
        first.until(str(port), since)
        for line in ("cd words", ". .venv/bin/activate"):
            second.run(line)

        for block in steps:
            if block.file is not None:
                (folder / block.file).write_text(block.text)
                continue
            if block.language != "bash":
                continue
            for line in commands(block):
                walked.append(line)
                if line.startswith(("streamlit run", "playcall dashboard")):
                    shows_a_page(line, second, folder, environment | {"PLAYCALL_API_KEY": key})
                    continue
                answers = {"API key: ": key} if line == "playcall login" else {}
                said = second.run(line.replace("pk_…", key), answers=answers)
                if line == "playcall whoami":
                    assert "admin" in said
                if line.endswith("--watch"):
                    assert "completed" in said
                if line == "python watch.py":
                    assert "run.completed" in said
                    assert "9 words" in said

    assert [line.split()[0] for line in walked].count("playcall") >= 7
    assert {"playcall login", "python watch.py", "streamlit run page.py"} <= set(walked)
    assert any(line.endswith("--watch") for line in walked)


def shows_a_page(line: str, second: Shell, folder: Path, environment: dict[str, str]) -> None:
    """In a terminal of its own, until it has been looked at."""
    port = free_port()
    with Shell(folder, environment | {"STREAMLIT_SERVER_PORT": str(port)}) as third:
        third.run(". .venv/bin/activate")
        since = third.type(line)
        if line.startswith("playcall"):
            url = third.until(r"http://127\.0\.0\.1:\d+", since)[0]
        else:
            url = f"http://127.0.0.1:{port}"
            third.until(rf"http://\S+:{port}", since)
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=30) as answer:
            assert answer.read() == b"ok"
    if not line.startswith("playcall"):
        (folder / "check_page.py").write_text(PAGE_CHECK)
        second.run("python check_page.py")
