"""`examples/exactly_once.py` does what it says, killed at random moments and at the worst one."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from playcall import ApiKey, Playcall
from playcall.testing import LiveBackend

pytestmark = pytest.mark.xdist_group("subprocesses")

EXAMPLE = Path(__file__).parents[2] / "examples" / "exactly_once.py"
KILLS = 6
AGENTS_A_LIFE = 20

# Dies where the place is about to be written, the first time that this would be the third one. `TEAR` is the control: it
# commits the effect before, as a program does that keeps its cursor elsewhere.
AT_THE_WORST_MOMENT = """
import os, runpy, signal, sqlite3, sys
example = runpy.run_path(sys.argv[1])
connect, count, tear, die = sqlite3.connect, 0, sys.argv[2] == "tear", sys.argv[3] == "die"

class Connection(sqlite3.Connection):
    def execute(self, statement, *values):
        global count
        if statement.startswith("INSERT OR REPLACE INTO place"):
            count += 1
            if tear:
                self.commit()
            if die and count == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *values)

example["sqlite3"].connect = lambda path: connect(path, factory=Connection)
example["welcome_agents"](*sys.argv[4:])
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_until(process: subprocess.Popen[str], lines: int) -> list[str]:
    assert process.stdout is not None
    read = [process.stdout.readline() for _ in range(lines)]
    assert all(read), process.communicate()
    return read


def welcomed(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [name for (name,) in database.execute("SELECT agent FROM welcome ORDER BY rowid")]


def test_effects_happen_exactly_once_though_the_program_is_killed_again_and_again(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    path = tmp_path / "own.db"
    # The last life has agents of its own too: a program that has nothing left to do says so before it has imported all
    # that it needs, and an interrupt in the middle of an import is Python's own to tell of.
    names = [f"agent {number}" for number in range(AGENTS_A_LIFE * (KILLS + 1))]
    with LiveBackend() as backend:
        going_on = threading.Event()

        def create_all() -> None:
            with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
                for number, name in enumerate(names):
                    if number % AGENTS_A_LIFE == 0:  # so that events arrive in every one of the program's lives
                        going_on.wait()
                        going_on.clear()
                    client.agents.create({"name": name})

        creating = threading.Thread(target=create_all, daemon=True)
        creating.start()
        killed_at: list[int] = []
        for _ in range(KILLS):
            going_on.set()
            process = start(str(EXAMPLE), backend.url, backend.api_key, str(path))
            read_until(process, 2)  # it has begun, and had one effect
            time.sleep(chance.uniform(0, 0.15))
            process.kill()
            assert process.wait() == -signal.SIGKILL
            process.communicate()
            killed_at.append(len(welcomed(path)))
        while creating.is_alive():
            going_on.set()
            creating.join(0.05)
        process = start(str(EXAMPLE), backend.url, backend.api_key, str(path))
        read_until(process, 1 + len(names) - killed_at[-1])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    print("killed at", killed_at)
    assert (process.returncode, out, err) == (0, "closed\n", "")
    assert killed_at == sorted(set(killed_at)), "each life had effects of its own"
    assert welcomed(path) == names


@pytest.mark.parametrize(("transactions", "times"), [("whole", 1), ("tear", 2)])
def test_killed_between_effect_and_place_only_one_transaction_keeps_it_from_happening_twice(
    tmp_path: Path, transactions: str, times: int
) -> None:
    path, names = tmp_path / "own.db", [f"agent {number}" for number in range(4)]
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(AT_THE_WORST_MOMENT))
    with LiveBackend() as backend:
        with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
            for name in names:
                client.agents.create({"name": name})
        options = (backend.url, backend.api_key, str(path))
        dying = start(str(program), str(EXAMPLE), transactions, "die", *options)
        dying.communicate(timeout=60)
        assert dying.returncode == -signal.SIGKILL
        assert welcomed(path) == names[: 1 + times]
        again = start(str(program), str(EXAMPLE), transactions, "live", *options)
        first, *_ = read_until(again, 3)
        again.kill()
        again.communicate()
    assert first.rstrip().endswith(":2")  # it went on after the second
    assert Counter(welcomed(path)) == Counter({**dict.fromkeys(names, 1), names[2]: times})
