"""`python -m tests.budgets` counts anew and writes `budgets.json`, and prints what has changed."""

from __future__ import annotations

from .budget import Cost, count, read, write


def main() -> None:
    old = read()
    new = count().costs
    write(new)
    for path, cost in new.items():
        before = old.get(path, Cost({}, 0))
        print(f"{path}: {before.bytecodes:,} -> {cost.bytecodes:,} bytecodes, {before.calls:,} -> {cost.calls:,} calls")


if __name__ == "__main__":
    main()
