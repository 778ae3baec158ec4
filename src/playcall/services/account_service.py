"""Who is calling: the account behind the credentials, and its API keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..faces import Awaiting, FaceT, Service, call, stream
from ..http.paths import path
from ..models.account import ApiKey, ApiKeySpec, Me, NewApiKey
from .api_client import APIClient
from .paging import pages

__all__ = ["AccountService"]

API_KEYS = "/auth/api-keys"


class AccountService(Service[FaceT]):
    """`client.account`."""

    def __init__(self, api: APIClient[FaceT]) -> None:
        super().__init__(blocking=api.blocking)
        self._api = api.awaiting

    @call
    async def me(self: AccountService[Awaiting]) -> Me:
        """Who the credentials belong to. Raises AuthenticationError."""
        return await self._api.get("/auth/me", into=Me)

    @stream
    async def api_keys(
        self: AccountService[Awaiting], *, page_size: int | None = None, max_items: int | None = None
    ) -> AsyncIterator[ApiKey]:
        """Your API keys, without their secrets."""
        async for key in pages(self._api, API_KEYS, ApiKey, page_size, max_items, {}):
            yield key

    @call
    async def create_api_key(self: AccountService[Awaiting], spec: ApiKeySpec | Mapping[str, Any]) -> NewApiKey:
        """A new API key; this answer is the only one that ever holds its secret, so it is never repeated by itself."""
        return await self._api.post(API_KEYS, into=NewApiKey, json=spec, repeatable=False)

    @call
    async def revoke_api_key(self: AccountService[Awaiting], id: str) -> None:
        """Ends an API key at once; open event connections that use it are closed."""
        await self._api.delete(path(f"{API_KEYS}/{{id}}", id=id))
