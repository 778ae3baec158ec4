"""`examples/your_own_backend`: a FastAPI application that knows nothing of playcall, wrapped in some 30 lines, over real sockets."""

from __future__ import annotations

import ast
import asyncio
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from playcall import (
    BaseAPIClient,
    BlockingAPIClient,
    Envelope,
    FormLogin,
    OffsetLimit,
    PageNumber,
    PostedFilter,
    ResourceService,
)
from playcall.errors import (
    AuthenticationError,
    BadRequestError,
    InvalidRequestError,
    NotFoundError,
    UnreadableAnswerError,
)
from tests.both_faces import FACES, items, using, value

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "your_own_backend"
WHO = ("ann@example.org", "correct horse")


@pytest.fixture(scope="module")
def wrapped() -> Iterator[ModuleType]:
    """`library.py`, as the module of an application."""
    spec = util.spec_from_file_location("library", EXAMPLE / "library.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules["library"] = module  # pydantic and pickle look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["library"]


@pytest.fixture
def url() -> Iterator[str]:
    """Of a backend in a process of its own, with 75 books."""
    command = [sys.executable, str(EXAMPLE / "backend.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            with BlockingAPIClient(address) as client:
                client.status.wait_until_ready(20)
            yield address
        finally:
            process.terminate()


def library(wrapped: ModuleType, blocking: bool, url: str, email: str = WHO[0], password: str = WHO[1]) -> using:
    return using((wrapped.Library if blocking else wrapped.AsyncLibrary)(url, email, password))


@FACES
async def test_a_wrapped_backend_is_typed_and_whole(blocking: bool, wrapped: ModuleType, url: str) -> None:
    async with library(wrapped, blocking, url) as client:
        assert (await value(client.status.wait_until_ready(20))).state == "online"  # with credentials, by `/health`
        books = client.books
        numbers = [book.id for book in await items(books.list())]
        assert numbers == list(range(1, 76))
        assert [book.id for book in await items(books.list(author="Alan Turing", max_items=3))] == [2, 5, 8]
        book = await value(books.get(3))
        assert type(book) is wrapped.Book
        new = await value(books.create({"title": "Notes", "author": "Ada"}))
        assert (new.id, new.title) == (76, "Notes")
        assert (await value(books.update(76, {"title": "More notes"}))).title == "More notes"
        assert (await value(books.lend(76, to="Bob"))).lent_to == "Bob"
        raw = await value(books.lend.raw(75, to="Bob"))
        assert raw.value.lent_to == "Bob"
        assert b'"success":true' in raw.body
        assert await value(books.delete(76)) is None
        with pytest.raises(wrapped.BookNotFoundError):
            await value(books.get(76))


@FACES
async def test_what_went_wrong_is_an_error_of_the_application_s_own(
    blocking: bool, wrapped: ModuleType, url: str
) -> None:
    async with library(wrapped, blocking, url) as client:
        with pytest.raises(wrapped.BookNotFoundError, match="there is no book 999") as missing:
            await value(client.books.get(999))
        assert (missing.value.status, missing.value.code) == (404, "BOOK_NOT_FOUND")
        await value(client.books.lend(3, to="Bob"))
        with pytest.raises(wrapped.BookLentError, match="answered 200: Bob has book 3") as lent:
            await value(client.books.lend(3, to="Eve"))
        assert (lent.value.status, lent.value.code, lent.value.may_have_happened) == (200, "BOOK_LENT", False)
        assert type(pickle.loads(pickle.dumps(lent.value))) is wrapped.BookLentError
        with pytest.raises(InvalidRequestError) as invalid:
            await value(client.books.create({"titel": "Notes", "author": "Ada"}))
        assert [(each.field, each.suggestion) for each in invalid.value.errors] == [("title", None), ("titel", "title")]
        with pytest.raises(BadRequestError, match="size is 50 at most"):
            await items(client.books.list(page_size=51))


@FACES
async def test_a_wrong_password_is_told_by_the_call_and_found_in_no_text(
    blocking: bool, wrapped: ModuleType, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with library(wrapped, blocking, url, password="s3cret") as client:
        with pytest.raises(AuthenticationError, match="POST /login answered 400: LOGIN_BAD_CREDENTIALS") as caught:
            await value(client.books.get(3))
        assert client.status.current.state == "auth_failed"
    assert "s3cret" not in caught.value.explain() + caplog.text


@FACES
async def test_the_other_ways_in_lead_to_the_same_books(blocking: bool, wrapped: ModuleType, url: str) -> None:
    """A POSTed filter, and a path without its slash: FastAPI redirects that, the list and the write alike."""
    async with library(wrapped, blocking, url) as client:
        searching: Any = ResourceService(client, "/books", wrapped.Book, paging=PostedFilter(), page_size=20)
        found = await items(searching.list(authors=["Ada Lovelace", "Alan Turing"]))
        assert len(found) == 50
        assert {book.author for book in found} == {"Ada Lovelace", "Alan Turing"}
        slashless: Any = ResourceService(client, "/books", wrapped.Book, paging=PageNumber(), page_size=50)
        assert len(await items(slashless.list())) == 75
        raw = await value(slashless.create.raw({"title": "Notes", "author": "Ada"}))
        assert raw.value.id == 76
        assert "307 to the same path with a trailing slash" in raw.explain()
        with pytest.raises(NotFoundError) as caught:
            await value(slashless.get(999))
        assert type(caught.value) is NotFoundError  # the errors of `Books` are its own


@FACES
async def test_a_list_whose_paging_the_backend_does_not_know_is_found_out(
    blocking: bool, wrapped: ModuleType, url: str
) -> None:
    async with library(wrapped, blocking, url) as client:
        wrong: Any = ResourceService(client, "/books/", wrapped.Book, paging=OffsetLimit())
        with pytest.raises(UnreadableAnswerError, match=r"gave the same items for .'offset': 20"):
            await items(wrong.list())
        by_cursor: Any = ResourceService(client, "/books/", wrapped.Book)
        with pytest.raises(UnreadableAnswerError, match="75 items in all, and no 'next_cursor'"):
            await items(by_cursor.list())


async def test_many_at_once_log_in_once(wrapped: ModuleType, url: str) -> None:
    async with wrapped.AsyncLibrary(url, *WHO) as client:
        got = await asyncio.gather(*(client.books.get(number) for number in range(1, 65)))
        assert [book.id for book in got] == list(range(1, 65))


def test_the_demo_prints_what_each_call_gave() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE / "demo.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^(.{22}) (.*)$", done.stdout, re.MULTILINE))
    assert {what.strip(): given.split(":")[0] for what, given in rows.items()} == {
        "how many": "75",
        "by Ada Lovelace": "[1, 4, 7, 10, 13]",
        "book 3": "Collected works, volume 3",
        "book 999": "BookNotFoundError",
        "a new one": "76",
        "a new one, misspelt": "InvalidRequestError",
        "lend 3 to Bob": "Bob",
        "lend 3 to Eve": "BookLentError",
        "a wrong password": "AuthenticationError",
        "ten at once": "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]",
    }
    assert done.stderr == ""  # a library prints nothing where nobody set up logging


def test_the_backend_shares_nothing_with_playcall() -> None:
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else name.name
        for node in ast.walk(ast.parse((EXAMPLE / "backend.py").read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert not {name for name in imported if name.startswith("playcall")}


def test_the_wrapping_that_the_documentation_shows_is_the_one_that_is_tested() -> None:
    page = (ROOT / "docs" / "your-own-backend.md").read_text()
    [shown] = re.findall(r"```python\n# library\.py\n(.*?)```", page, re.DOTALL)
    _, _, code = (EXAMPLE / "library.py").read_text().partition('"""\n\n')
    assert ast.dump(ast.parse(shown)) == ast.dump(ast.parse(code))


def test_wrapping_it_takes_some_thirty_lines() -> None:
    module = ast.parse((EXAMPLE / "library.py").read_text())
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    lines = [line for line in ast.unparse(module).splitlines() if line.strip()]
    assert len(lines) <= 36


@FACES
async def test_a_login_that_is_not_as_it_was_described_says_what_was_missing(blocking: bool, url: str) -> None:
    kind: Any = BlockingAPIClient if blocking else BaseAPIClient
    async with using(kind(url, auth=FormLogin(*WHO), envelope=Envelope())) as client:
        with pytest.raises(AuthenticationError, match=r"POST /login answered 422: .*email: Field required"):
            await value(client.get("/books/1"))
