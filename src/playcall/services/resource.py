"""What every resource can do, once: list, get, create, update, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from typing_extensions import TypeVar

from ..errors import InvalidArgumentError
from ..faces import Awaiting, Face, Service, call, stream
from ..http.paths import Path, as_path, path
from ..models.base import RequestModel, WireModel
from .api_client import APIClient, RequestOptions
from .options import as_etag
from .paging import Filter, pages

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["Body", "Resource", "ResourceService"]

ModelT = TypeVar("ModelT")
FaceT = TypeVar("FaceT", bound=Face, default=Awaiting)
T = TypeVar("T")

Body: TypeAlias = RequestModel | WireModel | Mapping[str, Any]
"""What create and update take: a model of ours, or a mapping with the same fields (Any: the backend checks them)."""


class Resource(Service[FaceT], Generic[ModelT, FaceT]):
    """The parts that services are built from; a service of its own kind adds its own verbs, typed.

    It shows the face of `api`. `path_` is the collection's path within the base URL (`/items`); `model` is what an item is
    read into.
    """

    def __init__(self, api: APIClient[FaceT], path_: str, model: TypeForm[ModelT]) -> None:
        super().__init__(blocking=api.blocking)
        self._api = api.awaiting
        self._path = as_path(path_.rstrip("/")).text.replace("{", "%7B").replace("}", "%7D")
        self._model = model

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
        where = self._item(id)
        if known is None:
            return await self._api.get(where, into=self._model)
        answer = await self._api.answer("GET", where, headers={"If-None-Match": _etag_of(known, id)})
        return known if answer.status == 304 else self._api.engine.read(answer, self._model)

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
        await self._api.delete(self._item(id), **_command(idempotency_key, if_match))

    def _item(self, id: str, verb: str = "") -> Path:
        return path(f"{self._path}/{{id}}{verb}", id=id)

    async def _create(self: Resource[ModelT, Awaiting], body: Body, idempotency_key: str | None) -> ModelT:
        return await self._api.post(self._path, into=self._model, **_command(idempotency_key, body=body))

    async def _update(
        self: Resource[ModelT, Awaiting],
        id: str,
        changes: Body,
        if_match: int | str | None,
        idempotency_key: str | None,
    ) -> ModelT:
        return await self._api.patch(self._item(id), into=self._model, **_command(idempotency_key, if_match, changes))

    async def _replace(
        self: Resource[ModelT, Awaiting], id: str, body: Body, if_match: int | str | None, idempotency_key: str | None
    ) -> ModelT:
        return await self._api.put(self._item(id), into=self._model, **_command(idempotency_key, if_match, body))

    async def _act(
        self: Resource[ModelT, Awaiting],
        id: str,
        verb: str,
        into: TypeForm[T],
        idempotency_key: str | None = None,
        body: Body | None = None,
    ) -> T:
        """`POST /collection/ID/verb`."""
        return await self._api.post(self._item(id, f"/{verb}"), into=into, **_command(idempotency_key, body=body))


class ResourceService(Resource[ModelT, FaceT]):
    """Typed list, get, create, update and delete for a resource of any backend.

        items = ResourceService(api, "/items", Item)

    It shows the face of `api`: a `BaseAPIClient` or a `BlockingAPIClient`.

    Lists are read as `{"items": […], "next_cursor": …}`.
    """

    @stream
    async def list(
        self: ResourceService[ModelT, Awaiting],
        /,
        *,
        page_size: int | None = None,
        max_items: int | None = None,
        **filters: Filter,
    ) -> AsyncIterator[ModelT]:
        """Every item that the filters (sent as the query) let through, page by page."""
        async for item in pages(self._api, self._path, self._model, page_size, max_items, filters):
            yield item

    @call
    async def create(
        self: ResourceService[ModelT, Awaiting], body: Body, *, idempotency_key: str | None = None
    ) -> ModelT:
        """A new item."""
        return await self._create(body, idempotency_key)

    @call
    async def update(
        self: ResourceService[ModelT, Awaiting],
        id: str,
        changes: Body,
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> ModelT:
        """The item with these fields changed (PATCH); with `if_match`, only while it has this version."""
        return await self._update(id, changes, if_match, idempotency_key)


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


def _etag_of(known: object, id: str) -> str:
    """The `ETag` of an item that the caller has. Versions are counted for each item, so another's would fit by chance."""
    version: object = getattr(known, "version", None)
    if getattr(known, "id", id) != id:
        raise InvalidArgumentError(f"known= is {getattr(known, 'id', None)!r}, not {id!r}")
    if isinstance(version, bool) or not isinstance(version, int | str):
        raise InvalidArgumentError(
            f"known= has no version to ask by, got {type(known).__name__}; use get.raw() and the verbs' known= for it"
        )
    return as_etag(version)
