"""What every resource can do, once: list, get, create, update, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, cast
from uuid import UUID

from pydantic import BaseModel
from typing_extensions import TypeVar

from ..errors import InvalidArgumentError
from ..faces import Awaiting, Face, Service, call, stream
from ..http.paths import Path, as_path, path
from .api_client import APIClient, RequestOptions
from .options import as_etag
from .page_positions import NextCursor, Paging, PostedFilter
from .paging import AnyFilter, pages

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from ..http.problems import ErrorClasses

__all__ = ["Body", "Id", "Resource", "ResourceParts", "ResourceService"]

ModelT = TypeVar("ModelT")
FaceT = TypeVar("FaceT", bound=Face, default=Awaiting)
T = TypeVar("T")

Body: TypeAlias = BaseModel | Mapping[str, Any]
"""What create and update take: a model, or a mapping with the same fields (Any: the backend checks them)."""
Id: TypeAlias = str | int | UUID
"""What the items of a foreign backend are known by."""


class ResourceParts(Service[FaceT], Generic[ModelT, FaceT]):
    """The parts that services are built from; a service of its own kind adds its own verbs, typed.

    It shows the face of `api`. `path_` is the collection's path within the base URL, as the backend has it: `/items`, or
    `/items/`. `item_path` is that of an item, None for `/items/{id}`. `model` is what an item is read into.
    """

    def __init__(
        self, api: APIClient[FaceT], path_: str, model: TypeForm[ModelT], *, item_path: str | None = None
    ) -> None:
        super().__init__(blocking=api.blocking)
        self._api = api.awaiting
        self._path = as_path(path_).text
        self._item_path = f"{self._path.rstrip('/')}/{{id}}" if item_path is None else _item_template(item_path)
        self._model = model

    def _item(self, id: Id, verb: str = "") -> Path:
        """The path of an item, or of a verb below it: with a slash at the end, if that of an item has one."""
        template = self._item_path
        if verb:
            template = f"{template[:-1]}{verb}/" if template.endswith("/") else template + verb
        # `path` refuses what is none of them, and what is only an int to Python.
        return path(template, id=str(id) if type(id) is int or isinstance(id, UUID) else cast("str", id))

    async def _get(self: ResourceParts[ModelT, Awaiting], id: Id, known: ModelT | None) -> ModelT:
        where = self._item(id)
        if known is None:
            return await self._api.get(where, into=self._model)
        answer = await self._api.answer("GET", where, headers={"If-None-Match": _etag_of(known, id)})
        return known if answer.status == 304 else self._api.read(answer, self._model)

    async def _delete(
        self: ResourceParts[ModelT, Awaiting], id: Id, if_match: int | str | None, idempotency_key: str | None
    ) -> None:
        await self._api.delete(self._item(id), **_command(idempotency_key, if_match))

    async def _create(self: ResourceParts[ModelT, Awaiting], body: Body, idempotency_key: str | None) -> ModelT:
        return await self._api.post(self._path, into=self._model, **_command(idempotency_key, body=body))

    async def _update(
        self: ResourceParts[ModelT, Awaiting],
        id: Id,
        changes: Body,
        if_match: int | str | None,
        idempotency_key: str | None,
    ) -> ModelT:
        return await self._api.patch(self._item(id), into=self._model, **_command(idempotency_key, if_match, changes))

    async def _replace(
        self: ResourceParts[ModelT, Awaiting],
        id: Id,
        body: Body,
        if_match: int | str | None,
        idempotency_key: str | None,
    ) -> ModelT:
        return await self._api.put(self._item(id), into=self._model, **_command(idempotency_key, if_match, body))

    async def _act(
        self: ResourceParts[ModelT, Awaiting],
        id: Id,
        verb: str,
        into: TypeForm[T],
        idempotency_key: str | None = None,
        body: Body | None = None,
    ) -> T:
        """`POST /collection/ID/verb`."""
        return await self._api.post(self._item(id, f"/{verb}"), into=into, **_command(idempotency_key, body=body))


class Resource(ResourceParts[ModelT, FaceT]):
    """A noun of our own backend, whose ids are texts."""

    @call
    async def get(self: Resource[ModelT, Awaiting], id: str, *, known: ModelT | None = None) -> ModelT:
        """The item with this id.

        Args:
            known: The item as you have it: if it is still current (304) it is given back, and nothing of it was sent.

        Raises:
            NotFoundError: nothing has this id, or nothing that these credentials may see.
            InvalidArgumentError: `known` is another item, or has no version.
            RequestError: the call failed otherwise; see the error tree.
        """
        return await self._get(id, known)

    @call
    async def delete(
        self: Resource[ModelT, Awaiting],
        id: str,
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Deletes the item; with `if_match`, only while it has this version.

        Raises:
            NotFoundError: nothing has this id.
            ConflictError: it is in use, or (412) has another version.
        """
        await self._delete(id, if_match, idempotency_key)


class ResourceService(ResourceParts[ModelT, FaceT]):
    """Typed list, get, create, update, replace and delete for a resource of any backend.

        books = ResourceService(api, "/books/", Book, paging=PageNumber(), errors={404: BookNotFoundError})

    It shows the face of `api`: a `BaseAPIClient` or a `BlockingAPIClient`. For verbs of the resource's own, derive from
    it (docs/your-own-backend.md).
    """

    def __init__(
        self,
        api: APIClient[FaceT],
        path_: str,
        model: TypeForm[ModelT],
        *,
        item_path: str | None = None,
        paging: Paging | PostedFilter | None = None,
        page_size: int | None = None,
        errors: ErrorClasses | None = None,
    ) -> None:
        """The resource at `path_`.

        Args:
            path_: The collection's path, for lists and create, sent as written, its trailing slash included.
            model: What an item is read into.
            item_path: That of an item, `/book/{id}/`; None for `{id}` below the collection, without a slash after it.
            paging: How lists are paged; None for `NextCursor()`.
            page_size: Items a page, where `list` is not told; None for 100. Many backends refuse more than they allow.
            errors: Classes of your own for this resource's error answers, by status or by the backend's code.

        Raises:
            InvalidArgumentError: a path is none, or `item_path` has no `{id}`.
            ConfigurationError: `errors` holds something that is no subclass of StatusError.
        """
        super().__init__(api, path_, model, item_path=item_path)
        if errors is not None:
            self._api = self._api.with_options(errors=errors)
        self._paging = paging if paging is not None else NextCursor()
        self._page_size = page_size

    @stream
    async def list(
        self: ResourceService[ModelT, Awaiting],
        /,
        *,
        page_size: int | None = None,
        max_items: int | None = None,
        **filters: AnyFilter,
    ) -> AsyncIterator[ModelT]:
        """Every item that the filters let through, page by page; they are sent as the query, or as `PostedFilter` says.

        Only `NextCursor` can be safe from others' changes: where pages or items are counted, an item that is added or
        deleted meanwhile moves the rest, so that one comes twice or not at all.

        Raises:
            UnreadableAnswerError: a page does not fit, or the pages go in circles.
            InvalidArgumentError: `page_size`, `max_items` or a filter makes no sense.
        """
        size = page_size if page_size is not None else self._page_size
        async for item in pages(self._api, self._path, self._model, size, max_items, filters, self._paging):
            yield item

    @call
    async def get(self: ResourceService[ModelT, Awaiting], id: Id, *, known: ModelT | None = None) -> ModelT:
        """The item with this id.

        Args:
            known: The item as you have it, with its `version`: if it is still current (304) it is given back.

        Raises:
            NotFoundError: nothing has this id; as `errors` has it, if it does.
        """
        return await self._get(id, known)

    @call
    async def create(
        self: ResourceService[ModelT, Awaiting], body: Body, *, idempotency_key: str | None = None
    ) -> ModelT:
        """A new item."""
        return await self._create(body, idempotency_key)

    @call
    async def update(
        self: ResourceService[ModelT, Awaiting],
        id: Id,
        changes: Body,
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> ModelT:
        """The item with these fields changed (PATCH); with `if_match`, only while it has this version."""
        return await self._update(id, changes, if_match, idempotency_key)

    @call
    async def replace(
        self: ResourceService[ModelT, Awaiting],
        id: Id,
        body: Body,
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> ModelT:
        """The item with these fields and no others (PUT); with `if_match`, only while it has this version."""
        return await self._replace(id, body, if_match, idempotency_key)

    @call
    async def delete(
        self: ResourceService[ModelT, Awaiting],
        id: Id,
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Deletes the item; with `if_match`, only while it has this version."""
        await self._delete(id, if_match, idempotency_key)


def _item_template(text: str) -> str:
    """Raises: InvalidArgumentError: it is no path, or has not one `{id}`."""
    before, found, after = text.partition("{id}")
    if not found or "{id}" in after:
        raise InvalidArgumentError(f"item_path has one {{id}}, got {text!r}")
    as_path(f"{before}x{after}")  # checks the whole, its beginning included
    return as_path(before).text + "{id}" + as_path(f"/x{after}").text[2:]


def _command(
    idempotency_key: str | None, if_match: int | str | None = None, body: Body | None = None
) -> RequestOptions:
    options = RequestOptions()
    if body is not None:
        options["json"] = body
    if idempotency_key is not None:
        options["idempotency_key"] = idempotency_key
    if if_match is not None:
        options["if_match"] = if_match
    return options


def _etag_of(known: object, id: Id) -> str:
    """The `ETag` of an item that the caller has. Versions are counted for each item, so another's would fit by chance."""
    version: object = getattr(known, "version", None)
    if str(getattr(known, "id", id)) != str(id):
        raise InvalidArgumentError(f"known= is {getattr(known, 'id', None)!r}, not {id!r}")
    if isinstance(version, bool) or not isinstance(version, int | str):
        raise InvalidArgumentError(
            f"known= has no version to ask by, got {type(known).__name__}; use get.raw() and the verbs' known= for it"
        )
    return as_etag(version)
