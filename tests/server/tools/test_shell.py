"""The shell: one command, nothing of the server's in it, and nothing of it left behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from playcall.models import LogLevel
from playcall.server.tools import ToolFailure, builtin_tools, why_missing
from playcall.server.tools.shell import MAX_OUTPUT_BYTES, shell

from .conftest import Bench


async def gone(marker: str) -> None:
    """Returns when no process has the marker among its arguments."""

    def lives() -> bool:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    if marker.encode() in (folder / "cmdline").read_bytes() and state != "Z":
                        return True
                except OSError:
                    pass  # it has just ended
        return False

    async with asyncio.timeout(10):
        while lives():
            await asyncio.sleep(0.02)


def test_there_is_none_unless_it_is_asked_for() -> None:
    assert "shell" not in builtin_tools()
    assert builtin_tools(with_shell=True)["shell"] is shell
    assert "--enable-shell" in why_missing("shell")
    assert why_missing("shall") == "there is no tool named 'shall'"


async def test_a_command_runs_in_the_workspace_and_says_how_it_ended(bench: Bench) -> None:
    command = "printf 'one\\ntwo' > f; cat f; echo three; echo oops >&2; exit 3"
    output = await bench.call(shell, command=command, fail_on_error=False)
    assert output == {"exit_code": 3, "stdout": "one\ntwothree\n", "stderr": "oops\n"}
    assert (bench.context.workspace / "f").read_text() == "one\ntwo"
    assert sorted(bench.lines) == [(LogLevel.INFO, "one"), (LogLevel.INFO, "twothree"), (LogLevel.WARNING, "oops")]


async def test_an_error_fails_the_call_with_its_last_words(bench: Bench) -> None:
    with pytest.raises(ToolFailure, match="ended with exit code 2: and why"):
        await bench.call(shell, command="echo what >&2; echo and why >&2; exit 2")
    with pytest.raises(ToolFailure, match="was ended by signal 15"):
        await bench.call(shell, command="kill -TERM $$")
    assert (await bench.call(shell, command="true"))["exit_code"] == 0


async def test_nothing_of_the_servers_environment_is_in_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYCALL_MODEL_API_KEY", "s3cret")
    bench.context.idempotency_key = "run:s:0"
    names = {line.partition("=")[0] for line in (await bench.call(shell, command="env"))["stdout"].splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "LANG", "PLAYCALL_IDEMPOTENCY_KEY"}
    assert "run:s:0" in (await bench.call(shell, command="echo $PLAYCALL_IDEMPOTENCY_KEY; pwd"))["stdout"]
    assert (await bench.call(shell, command="cat"))["stdout"] == "", "there is nothing to read"


async def test_lines_come_while_it_runs_and_cancelling_kills_all_of_it(bench: Bench) -> None:
    marker = f"300.{os.getpid()}1"
    task = asyncio.create_task(bench.call(shell, command=f"sleep {marker} & echo begun; sleep {marker}; echo never"))
    async with asyncio.timeout(10):
        while not bench.lines:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(marker)
    assert bench.lines == [(LogLevel.INFO, "begun")]


async def test_what_is_left_in_the_background_goes_with_the_command(bench: Bench) -> None:
    marker = f"300.{os.getpid()}2"
    async with asyncio.timeout(10):
        output = await bench.call(shell, command=f"sleep {marker} & echo done")
    assert output["stdout"] == "done\n"
    await gone(marker)


async def test_one_that_leaves_the_group_holds_up_nobody(bench: Bench) -> None:
    command = "setsid sh -c 'echo $$ > pid; exec sleep 300' & while ! [ -s pid ]; do sleep 0.02; done; echo out"
    async with asyncio.timeout(20):
        assert (await bench.call(shell, command=command))["stdout"] == "out\n"
    os.kill(int((bench.context.workspace / "pid").read_text()), 9)


async def test_too_much_output_ends_it(bench: Bench) -> None:
    marker = f"300.{os.getpid()}3"
    async with asyncio.timeout(20):
        assert await bench.refused(shell, command=f"sleep {marker} & yes") == "too_large"
    await gone(marker)
    assert sum(len(line) for _, line in bench.lines) <= MAX_OUTPUT_BYTES


async def test_what_is_no_text_can_be_stored_all_the_same(bench: Bench) -> None:
    output = await bench.call(shell, command="printf 'a\\000b\\377c'")
    assert output["stdout"] == "a\ufffdb\ufffdc"
    assert await bench.refused(shell, command="echo \0") == "parameters_invalid"
