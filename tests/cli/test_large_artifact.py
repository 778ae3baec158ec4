"""A file of 200 MiB on its way to this machine: a bar that moves, and never in memory as a whole."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from playcall import ApiKey, Playcall
from playcall.testing import FaultProxy, LiveBackend
from tests.dashboard.installed_tools import install, large_file

from .terminal import Terminal

MIB = 200
MOST_MEMORY_KIB = 150 * 1024
"""Less than the file. What a command takes anyway is some 60 MiB."""


def peak_kib(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def test_a_file_of_200_mib_arrives_whole_across_a_cut_with_a_bar_and_in_little_memory(tmp_path: Path) -> None:
    with (
        LiveBackend(environment=install(tmp_path / "packages")) as backend,
        FaultProxy(backend.url) as proxy,
        Playcall(backend.url, auth=ApiKey(backend.api_key)) as client,
    ):
        client.tools.register({"name": "show.file", "kind": "installed", "implementation": "show.file"})
        client.agents.create({"name": "Clerk", "tools": ["show.file"]})
        step = {"id": "write", "type": "standard", "agent": "Clerk", "operation": "show.file"}
        parameters = {"path": "large.bin", "kib": MIB * 1024}
        playbook = client.playbooks.create(
            {"name": "Large", "agents": ["Clerk"], "steps": [{**step, "parameters": parameters}]}
        )
        run = client.runs.wait(client.playbooks.run(playbook.id).id, check=True)
        environment = {"PLAYCALL_URL": proxy.url, "PLAYCALL_API_KEY": backend.api_key}
        command = ("runs", "artifacts", run.id, "--download", "large.bin")
        with Terminal(*command, environment=environment, cwd=tmp_path) as terminal:
            seen: set[str] = set()
            peak = 0

            def watched(screen: str) -> bool:
                nonlocal peak
                seen.update(re.findall(r"([\d.]+)/200\.0 MiB", screen))
                peak = max(peak, peak_kib(terminal.process.pid))
                return len(seen) >= 2

            terminal.until(watched)
            assert proxy.cut()
            terminal.until(lambda screen: watched(screen) and len(seen) >= 5)
            assert terminal.ended() == 0, terminal.text
            assert terminal.lines[0] == "large.bin"
        assert peak < MOST_MEMORY_KIB
        with (tmp_path / "large.bin").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        assert digest == hashlib.sha256(large_file(MIB * 1024)).digest()

        with Terminal(*command, environment=environment, cwd=tmp_path) as again:
            assert again.ended() == 2
            assert "there is a file large.bin here already; say where to with --to" in again.text
