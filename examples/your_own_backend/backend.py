"""A small library, as somebody else might have written it: FastAPI, and nothing of playcall.

    python examples/your_own_backend/backend.py     # prints its address, and serves until Ctrl-C

It has what many backends have: answers in an envelope, failures that are a 200, a login of its own kind with a bare
answer, lists by page number, and routes that end in a slash.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

app = FastAPI(title="Library")
tokens: set[str] = set()
USERS = {"ann@example.org": "correct horse"}


class NewBook(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str = Field(min_length=1)
    author: str


class BookChanges(BaseModel):
    title: str | None = None
    author: str | None = None


class BookFilter(BaseModel):
    authors: list[str] = []
    page: int = 1
    size: int = Field(20, le=50)


class Lending(BaseModel):
    to: str


books: dict[int, dict[str, Any]] = {
    number: {"id": number, "title": f"Collected works, volume {number}", "author": author, "lent_to": None}
    for number, author in enumerate(["Ada Lovelace", "Alan Turing", "Grace Hopper"] * 25, 1)
}


class LibraryError(Exception):
    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message


@app.exception_handler(LibraryError)
async def as_200(request: Request, error: LibraryError) -> JSONResponse:
    return JSONResponse({"success": False, "data": None, "code": error.code, "message": error.message})


def ok(data: object) -> dict[str, object]:
    return {"success": True, "data": data, "message": "ok"}


def page_of(found: list[dict[str, Any]], page: int, size: int) -> dict[str, object]:
    start = (page - 1) * size
    return ok({"items": found[start : start + size], "total": len(found), "page": page, "size": size})


def member(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> None:
    if given is None or given.credentials not in tokens:
        raise HTTPException(401, "Could not validate credentials")


def known(id: int) -> dict[str, Any]:
    if id not in books:
        raise HTTPException(404, {"code": "BOOK_NOT_FOUND", "message": f"there is no book {id}"})
    return books[id]


Known = Annotated[dict[str, Any], Depends(known)]
members_only = [Depends(member)]


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/login")
async def login(email: Annotated[str, Form()], password: Annotated[str, Form()]) -> dict[str, str]:
    if USERS.get(email) != password:
        raise HTTPException(400, "LOGIN_BAD_CREDENTIALS")
    token = secrets.token_urlsafe()
    tokens.add(token)
    return {"access_token": token, "token_type": "bearer"}


@app.get("/books/", dependencies=members_only)
async def list_books(author: str | None = None, page: int = 1, size: int = 20) -> dict[str, object]:
    if size > 50:
        raise HTTPException(400, "size is 50 at most")
    return page_of([book for book in books.values() if author in (None, book["author"])], page, size)


@app.post("/books/search", dependencies=members_only)
async def search_books(wanted: BookFilter) -> dict[str, object]:
    found = [book for book in books.values() if book["author"] in wanted.authors]
    return page_of(found, wanted.page, wanted.size)


@app.post("/books/", dependencies=members_only, status_code=201)
async def create_book(new: NewBook) -> dict[str, object]:
    number = max(books) + 1
    books[number] = {"id": number, **new.model_dump(), "lent_to": None}
    return ok(books[number])


@app.get("/books/{id}", dependencies=members_only)
async def get_book(book: Known) -> dict[str, object]:
    return ok(book)


@app.patch("/books/{id}", dependencies=members_only)
async def update_book(book: Known, changes: BookChanges) -> dict[str, object]:
    book.update(changes.model_dump(exclude_unset=True))
    return ok(book)


@app.delete("/books/{id}", dependencies=members_only)
async def delete_book(book: Known) -> dict[str, object]:
    del books[book["id"]]
    return ok(None)


@app.post("/books/{id}/lend", dependencies=members_only)
async def lend_book(book: Known, lending: Lending) -> dict[str, object]:
    if book["lent_to"] is not None:
        raise LibraryError("BOOK_LENT", f"{book['lent_to']} has book {book['id']}")
    book["lent_to"] = lending.to
    return ok(book)


if __name__ == "__main__":
    config = uvicorn.Config(app, port=0, log_level="warning")
    listening = config.bind_socket()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listening])
