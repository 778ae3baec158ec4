"""Both faces of `library.py` against `backend.py`, which runs as a process of its own.

    python examples/your_own_backend/demo.py

Prints what each call gave, or which error it was.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from library import AsyncLibrary, Library

from playcall import PlaycallError

WHO = ("ann@example.org", "correct horse")


@contextmanager
def running_backend() -> Generator[str]:
    """Its address."""
    backend = Path(__file__).with_name("backend.py")
    with subprocess.Popen([sys.executable, str(backend)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def row(what: str, act: Callable[[], object]) -> None:
    try:
        given = str(act())
    except PlaycallError as error:
        given = f"{type(error).__name__}: {error}"
    print(f"{what:<22} {given}", flush=True)


def blocking(url: str) -> None:
    with Library(url, *WHO) as library:
        library.status.wait_until_ready(20)
        books = library.books
        row("how many", lambda: sum(1 for _ in books.list()))
        row("by Ada Lovelace", lambda: [book.id for book in books.list(author="Ada Lovelace", max_items=5)])
        row("book 3", lambda: books.get(3).title)
        row("book 999", lambda: books.get(999))
        row("a new one", lambda: books.create({"title": "Notes", "author": "Ada Lovelace"}).id)
        row("a new one, misspelt", lambda: books.create({"titel": "Notes", "author": "Ada Lovelace"}))
        row("lend 3 to Bob", lambda: books.lend(3, to="Bob").lent_to)
        row("lend 3 to Eve", lambda: books.lend(3, to="Eve").lent_to)
    with Library(url, WHO[0], "wrong") as library:
        row("a wrong password", lambda: library.books.get(3))


async def awaiting(url: str) -> None:
    async with AsyncLibrary(url, *WHO) as library:
        found = await asyncio.gather(*(library.books.get(number) for number in range(1, 11)))
        row("ten at once", lambda: [book.id for book in found])


if __name__ == "__main__":
    with running_backend() as url:
        blocking(url)
        asyncio.run(awaiting(url))
