"""What is counted is exact: each bytecode once, each call once, each thread for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .counting import Counting, Lap

OURS = "/ours/"
SOURCE = """
def loop(times):
    for _ in range(times):
        pass

def call(times):
    for _ in range(times):
        len("")
        nothing()

def nothing():
    pass
"""


def function(name: str, file: str) -> Callable[[int], None]:
    space: dict[str, Callable[[int], None]] = {}
    exec(compile(SOURCE, file, "exec"), space)
    return space[name]


def laps_of(*calls: Callable[[], None]) -> list[Lap]:
    """On a thread of its own: this one's tracer may be coverage's."""
    laps: list[Lap] = []

    def run() -> None:
        counting = Counting(ours=OURS)
        counting.lap()
        for call in calls:
            call()
            laps.append(counting.lap())
        counting.stop()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return laps


def test_a_round_of_a_loop_costs_the_same_each_time_and_is_seen() -> None:
    loop = function("loop", "/ours/a.py")
    none, one, eleven = [lap.files["a.py"] for lap in laps_of(lambda: loop(0), lambda: loop(1), lambda: loop(11))]
    assert one - none == 3  # FOR_ITER, STORE_FAST, JUMP_BACKWARD
    assert eleven - one == 10 * 3


def test_calls_of_python_and_of_c_functions_are_counted_where_ours_made_them() -> None:
    call = function("call", "/ours/a.py")
    none, five = [lap.calls for lap in laps_of(lambda: call(0), lambda: call(5))]
    assert five - none == 5 * 2


def test_other_peoples_bytecodes_are_counted_apart() -> None:
    loop = function("loop", "/theirs/a.py")
    one, two = laps_of(lambda: loop(1), lambda: loop(2))
    assert not one.files
    assert two.elsewhere - one.elsewhere == 3
    assert one.calls == 0


def test_each_thread_is_counted_for_itself_from_its_first_lap_on() -> None:
    loop = function("loop", "/ours/a.py")
    counting = Counting(ours=OURS)
    laps: dict[str, Lap] = {}

    def run(name: str, times: int, after: threading.Thread | None) -> None:
        counting.lap()
        loop(times)
        if after is not None:
            after.start()
            after.join()
        laps[name] = counting.lap()

    second = threading.Thread(target=run, args=("second", 2, None))
    first = threading.Thread(target=run, args=("first", 1, second))
    first.start()
    first.join()
    assert laps["second"].files["a.py"] - laps["first"].files["a.py"] == 3
