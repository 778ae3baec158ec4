"""The library of `backend.py`, wrapped for those who call it: typed, blocking as `Library` and async as `AsyncLibrary`."""

from __future__ import annotations

from pydantic import BaseModel

from playcall import BaseAPIClient, BlockingAPIClient, Envelope, FormLogin, PageNumber, ResourceService
from playcall.errors import ConflictError, NotFoundError
from playcall.faces import Awaiting, Blocking, FaceT, call
from playcall.services.api_client import APIClient


class Book(BaseModel):
    id: int
    title: str
    author: str
    lent_to: str | None = None


class BookNotFoundError(NotFoundError):
    """No book has this number."""


class BookLentError(ConflictError):
    """Somebody else has the book."""


class Books(ResourceService[Book, FaceT]):
    """list, get, create, update and delete are there already; lending is the library's own."""

    def __init__(self, api: APIClient[FaceT]) -> None:
        super().__init__(
            api,
            "/books/",
            Book,
            paging=PageNumber(),
            page_size=50,
            errors={404: BookNotFoundError, "BOOK_LENT": BookLentError},
        )

    @call
    async def lend(self: Books[Awaiting], id: int, *, to: str) -> Book:
        """Raises: BookLentError; BookNotFoundError."""
        return await self._act(id, "lend", Book, body={"to": to})


class _Library(APIClient[FaceT]):
    def __init__(self, url: str, email: str, password: str) -> None:
        super().__init__(url, auth=FormLogin(email, password, username_field="email"), envelope=Envelope())

    @property
    def books(self) -> Books[FaceT]:
        return Books(self)


class Library(_Library[Blocking], BlockingAPIClient):
    """`with Library(url, email, password) as library: library.books.get(3)`."""


class AsyncLibrary(_Library[Awaiting], BaseAPIClient):
    """`async with AsyncLibrary(url, email, password) as library: await library.books.get(3)`."""
