"""Playbooks: what can be run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from ..errors import InvalidArgumentError
from ..faces import Awaiting, FaceT, call, stream
from ..models.playbook import Playbook, PlaybookPatch, PlaybookSpec, PlaybookValidation
from ..models.run import Run
from .api_client import APIClient, RequestOptions
from .options import as_mapping, as_utf8
from .paging import order_of, pages
from .resource import Resource

__all__ = ["PlaybookService"]

YAML = "application/yaml"
_SUFFIXES = {".yaml": YAML, ".yml": YAML, ".json": "application/json"}


class PlaybookService(Resource[Playbook, FaceT]):
    """`client.playbooks`. Beside the general errors: PlaybookNotFoundError, PlaybookInvalidError, NameTakenError."""

    def __init__(self, api: APIClient[FaceT]) -> None:
        super().__init__(api, "/playbooks", Playbook)

    @stream
    async def list(
        self: PlaybookService[Awaiting],
        *,
        text: str | None = None,
        tag: str | None = None,
        agent: str | None = None,
        newest_first: bool = False,
        page_size: int | None = None,
        max_items: int | None = None,
    ) -> AsyncIterator[Playbook]:
        """Your playbooks, oldest first unless told; with `text` in the name or description, with a tag, with an agent."""
        filters = {"q": text, "tag": tag, "agent": agent, "order": order_of(newest_first)}
        async for playbook in pages(self._api, self._path, Playbook, page_size, max_items, filters):
            yield playbook

    @call
    async def create(
        self: PlaybookService[Awaiting],
        spec: PlaybookSpec | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> Playbook:
        """Stores a playbook.

        Raises:
            PlaybookInvalidError: it has mistakes; `errors` has every one, with the path of the field.
            NameTakenError: another playbook of yours has this name.
        """
        return await self._create(spec, idempotency_key)

    @call
    async def create_from_yaml(
        self: PlaybookService[Awaiting], text: str, *, idempotency_key: str | None = None
    ) -> Playbook:
        """Stores a playbook written in YAML; raises as `create`, each mistake with its line and column."""
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise InvalidArgumentError(f"a playbook's YAML is a text, got {type(text).__name__}")
        return await self._create_raw(as_utf8(text), YAML, idempotency_key)

    @call
    async def create_from_file(
        self: PlaybookService[Awaiting], file: str | FilePath, *, idempotency_key: str | None = None
    ) -> Playbook:
        """Stores the playbook in a `.yaml`, `.yml` or `.json` file; raises as `create`.

        Raises:
            InvalidArgumentError: there is no such file, it cannot be read, or its name ends otherwise.
        """
        data, content_type = await asyncio.to_thread(_read_file, FilePath(file))
        return await self._create_raw(data, content_type, idempotency_key)

    @call
    async def validate(
        self: PlaybookService[Awaiting], spec: PlaybookSpec | Mapping[str, Any] | str
    ) -> PlaybookValidation:
        """What is wrong with a playbook (a str is YAML), without storing it."""
        options = RequestOptions()
        if isinstance(spec, str):
            options["content"], options["content_type"] = spec, YAML
        else:
            options["json"] = spec
        return await self._api.post(f"{self._path}/validate", into=PlaybookValidation, **options)

    @call
    async def update(
        self: PlaybookService[Awaiting],
        id: str,
        changes: PlaybookPatch | Mapping[str, Any],
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> Playbook:
        """The playbook with these fields changed; with `if_match`, only while it has this version.

        Raises:
            VersionMismatchError: somebody changed it first.
        """
        return await self._update(id, changes, if_match, idempotency_key)

    @call
    async def replace(
        self: PlaybookService[Awaiting],
        id: str,
        spec: PlaybookSpec | Mapping[str, Any],
        *,
        if_match: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> Playbook:
        """The playbook written anew, under the same id; raises as `create` and `update`."""
        return await self._replace(id, spec, if_match, idempotency_key)

    @call
    async def run(
        self: PlaybookService[Awaiting],
        id: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Starts a run, and returns it without waiting for its end (see `client.runs.watch` and `wait`).

        The same `idempotency_key` gives the same run, for ever: keep one to make the command again after your own crash.

        Raises:
            InputsInvalidError: the values do not fit the playbook's inputs; `errors` has every one.
        """
        return await self._act(id, "runs", Run, idempotency_key, {"inputs": as_mapping(inputs, "inputs")})

    async def _create_raw(
        self: PlaybookService[Awaiting], data: bytes, content_type: str, idempotency_key: str | None
    ) -> Playbook:
        options = RequestOptions(content=data, content_type=content_type)
        if idempotency_key is not None:
            options["idempotency_key"] = idempotency_key
        return await self._api.post(self._path, into=Playbook, **options)


def _read_file(file: FilePath) -> tuple[bytes, str]:
    content_type = _SUFFIXES.get(file.suffix.lower())
    if content_type is None:
        raise InvalidArgumentError(f"a playbook file ends in .yaml, .yml or .json: got {file}")
    try:
        return file.read_bytes(), content_type
    except OSError as error:
        raise InvalidArgumentError(f"the playbook file {file} cannot be read: {error.strerror}") from error
