"""A change that a caller asks for: one transaction, done once for its idempotency key.

    async with command.begin() as tx:
        ...
        return command.answer(model, status=201, version=row.version)

The key is the transaction's first row and its answer the last: a duplicate waits for the transaction that holds the
key, then gets its answer. A transaction that fails leaves no key, so the same call may be made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from pydantic import BaseModel
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from .answers import model_response
from .clock import utc_now
from .context import Deadline
from .problems import ApiError
from .store.database import Database, Transaction
from .store.dialect import insert_for
from .store.tables.idempotency import IdempotencyRow

__all__ = ["KEY_HEADER", "Command", "IdempotencyKey", "Replayed"]

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
_KEPT_HEADERS = ("etag", "location", "content-type")


class Replayed(Exception):
    """Not an error: this call has been answered before, and here is the answer."""

    def __init__(self, response: Response) -> None:
        super().__init__("answered before")
        self.response = response


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key within its scope: the same key of another caller, method or path is another key.

    `body_hash` is of query and body; None while the body has not come.
    """

    caller_id: str
    method: str
    path: str
    query: str
    key: str
    body_hash: str | None = None

    @classmethod
    def of(cls, *, caller_id: str, method: str, path: str, query: str, key: str) -> IdempotencyKey:
        """
        Raises:
            ApiError: 400 `invalid_idempotency_key`.
        """
        if not 1 <= len(key) <= 255 or not key.isascii() or not key.isprintable():
            raise ApiError(400, "invalid_idempotency_key", f"{KEY_HEADER} takes 1 to 255 printable ASCII characters")
        if len(path) > 500:
            raise ApiError(400, "invalid_idempotency_key", f"{KEY_HEADER} cannot be used on a path this long")
        return cls(caller_id, method, path, query, key)

    def with_body(self, sha256: str) -> IdempotencyKey:
        """The key as it came with the body that has this digest."""
        return replace(self, body_hash=hashlib.sha256(f"{self.query}\0{sha256}".encode()).hexdigest())

    async def has_answer(self, session: AsyncSession) -> bool:
        """Whether the call has been made before, with whatever body; what holds now need not hold for it then."""
        return await session.scalar(select(IdempotencyRow.key).where(*_is(self))) is not None


class Command:
    """One unsafe request. `idempotency_key` is None where the caller sent none: then nothing is remembered."""

    def __init__(self, database: Database, deadline: Deadline, idempotency_key: IdempotencyKey | None) -> None:
        self._database = database
        self._deadline = deadline
        self.idempotency_key = idempotency_key
        self._answer: Response | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[Transaction]:
        """The transaction of the change; commits on leaving, with the answer that `answer` was given.

        Raises:
            Replayed: The key has an answer already; the application sends it.
            ApiError: 422 `idempotency_key_reused`: the key came with another body. 504 `deadline_exceeded`: the time
                was over before the work or before the commit; nothing has been changed.
            NoTurnError: The same, while others wrote; the application makes it a 504 too.
        """
        self._deadline.check()
        async with self._database.write(wait_seconds=self._deadline.remaining_seconds()) as tx:
            if self.idempotency_key is not None:
                await self._claim(tx, self.idempotency_key)
            # Once more, because the database may have let us wait: on PostgreSQL for whoever holds the key.
            self._deadline.check()
            yield tx
            if self._answer is None:
                raise RuntimeError("a command ends with its answer")
            if self.idempotency_key is not None:
                await self._keep(tx, self.idempotency_key, self._answer)
            self._deadline.check()

    def answer(
        self,
        model: BaseModel | None,
        *,
        status: int = 200,
        version: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """What the caller gets once this has been committed, now and whenever the call is made again."""
        self._answer = model_response(model, status=status, version=version, headers=headers)
        return self._answer

    @staticmethod
    async def _claim(tx: Transaction, key: IdempotencyKey) -> None:
        """Make the key ours, or wait for whoever has it and give its answer.

        PostgreSQL waits on the unique index for the other transaction; SQLite has waited for its turn.
        """
        claim = (
            insert_for(tx.session, IdempotencyRow)
            .values(
                caller_id=key.caller_id,
                method=key.method,
                path=key.path,
                key=key.key,
                body_hash=key.body_hash,
                created_at=utc_now(),
            )
            .on_conflict_do_nothing()
            .returning(IdempotencyRow.key)
        )
        stored: IdempotencyRow | None = None
        while stored is None:  # it may expire between the two statements
            if (await tx.session.execute(claim)).one_or_none() is not None:
                return
            stored = (await tx.session.execute(select(IdempotencyRow).where(*_is(key)))).scalar_one_or_none()
        if stored.body_hash != key.body_hash:
            raise ApiError(
                422,
                "idempotency_key_reused",
                f"this {KEY_HEADER} came before with another body; a new command needs a new key",
            )
        raise Replayed(Response(stored.body, stored.status or 200, {**(stored.headers or {}), REPLAYED_HEADER: "true"}))

    @staticmethod
    async def _keep(tx: Transaction, key: IdempotencyKey, answer: Response) -> None:
        await tx.session.execute(
            update(IdempotencyRow)
            .where(*_is(key))
            .values(
                status=answer.status_code,
                headers={name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers},
                body=bytes(answer.body),
            )
        )


def _is(key: IdempotencyKey) -> tuple[ColumnElement[bool], ...]:
    return (
        IdempotencyRow.caller_id == key.caller_id,
        IdempotencyRow.method == key.method,
        IdempotencyRow.path == key.path,
        IdempotencyRow.key == key.key,
    )
