"""What routes ask for by type."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from starlette.requests import HTTPConnection

from playcall.models import Scope
from playcall.server.limits.doorkeeper import peer_of

from .auth.caller import Caller
from .auth.gate import Gate, credential_of
from .auth.sign_in import SignIn
from .auth.tokens import TokenIssuer
from .command import KEY_HEADER, Command, IdempotencyKey
from .context import Deadline, context_of
from .engine_port import EnginePort
from .problems import ApiError
from .promises import may_answer
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
    sign_in: SignIn
    engine: EnginePort | None
    """None: a server that executes nothing, for tests of everything else."""


@may_answer("database_unavailable")
def core_of(connection: HTTPConnection) -> Core:
    return cast("Core", connection.app.state.core)


CoreDep = Annotated[Core, Depends(core_of)]


def _settings(core: CoreDep) -> Settings:
    return core.settings


def _database(core: CoreDep) -> Database:
    return core.database


@may_answer("deadline_exceeded")
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


@may_answer("unauthenticated", "ambiguous_credentials", "rate_limited", unsafe=["read_only"])
async def _caller(
    request: Request,
    core: CoreDep,
    deadline: DeadlineDep,
    _key: Annotated[str | None, Security(_api_key)],
    _token: Annotated[str | None, Security(_bearer)],
) -> Caller:
    context = context_of(request)
    try:
        caller = await core.gate.caller(credential_of(request.headers))
    except ApiError:
        if not context.headers:  # without credentials, the address has paid already
            await context.charge("address", peer_of(request.scope))
        raise
    context.caller_id = caller.user_id
    await context.charge("user", caller.user_id)
    if caller.scope is not Scope.FULL and request.method not in SAFE_METHODS:
        raise ApiError(403, "read_only", f"this {caller.credential.replace('_', ' ')} may only read")
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]


@may_answer(
    "invalid_idempotency_key",
    "idempotency_key_reused",
    reads=["Idempotency-Key"],
    sends=["Idempotency-Replayed"],
)
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


@may_answer("resource_too_large")
async def _command(request: Request, key: KeyDep, database: DatabaseDep, deadline: DeadlineDep) -> Command:
    if key is not None:
        key = key.with_body(hashlib.sha256(await request.body()).hexdigest())
    return Command(database, deadline, key)


CommandDep = Annotated[Command, Depends(_command)]
