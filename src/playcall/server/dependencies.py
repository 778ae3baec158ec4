"""What routes ask for by type."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from starlette.requests import HTTPConnection

from playcall.models import Scope

from .auth.caller import Caller
from .auth.gate import Gate, credential_of
from .auth.tokens import TokenIssuer
from .command import KEY_HEADER, Command, IdempotencyKey
from .context import Deadline, context_of
from .engine_port import EnginePort
from .problems import ApiError
from .settings import Settings
from .sockets.registry import Sockets
from .store.database import Database

__all__ = [
    "CallerDep",
    "CommandDep",
    "Core",
    "CoreDep",
    "DatabaseDep",
    "DeadlineDep",
    "KeyDep",
    "SettingsDep",
    "core_of",
]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Core:
    """What lives as long as the server; the application's state holds it as `core`."""

    settings: Settings
    database: Database
    tokens: TokenIssuer
    gate: Gate
    sockets: Sockets
    engine: EnginePort | None
    """None: a server that executes nothing, for tests of everything else."""


def core_of(connection: HTTPConnection) -> Core:
    return cast("Core", connection.app.state.core)


CoreDep = Annotated[Core, Depends(core_of)]


def _settings(core: CoreDep) -> Settings:
    return core.settings


def _database(core: CoreDep) -> Database:
    return core.database


def _deadline(connection: HTTPConnection) -> Deadline:
    """Checked here, before any work."""
    deadline = context_of(connection).deadline
    deadline.check()
    return deadline


SettingsDep = Annotated[Settings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
DeadlineDep = Annotated[Deadline, Depends(_deadline)]

# These two are for the OpenAPI document; the gate reads the headers itself, because it must see both to refuse both.
_api_key = APIKeyHeader(name="X-API-Key", scheme_name="ApiKey", auto_error=False)
_bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/token", scheme_name="Token", auto_error=False)


async def _caller(
    request: Request,
    core: CoreDep,
    deadline: DeadlineDep,
    _key: Annotated[str | None, Security(_api_key)],
    _token: Annotated[str | None, Security(_bearer)],
) -> Caller:
    caller = await core.gate.caller(credential_of(request.headers))
    if caller.scope is not Scope.FULL and request.method not in SAFE_METHODS:
        raise ApiError(403, "read_only", f"this {caller.credential.replace('_', ' ')} may only read")
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]


def _idempotency_key(request: Request, caller: CallerDep) -> IdempotencyKey | None:
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return None
    return IdempotencyKey.of(
        caller_id=caller.user_id,
        method=request.method,
        # Not the URL's: it is put together from these, and takes a `?` or a line break within the path for its own.
        path=request.scope["path"],
        query=request.scope["query_string"].decode("latin-1"),
        key=key,
    )


KeyDep = Annotated[IdempotencyKey | None, Depends(_idempotency_key)]
"""Without the body's hash: for a route that reads its body piece by piece, and makes its own `Command`."""


async def _command(request: Request, key: KeyDep, database: DatabaseDep, deadline: DeadlineDep) -> Command:
    if key is not None:
        key = key.with_body(hashlib.sha256(await request.body()).hexdigest())
    return Command(database, deadline, key)


CommandDep = Annotated[Command, Depends(_command)]
