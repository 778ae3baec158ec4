"""Tokens, API keys, and who one is. Exempt from idempotency keys: their answers hold secrets, which nobody stores."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request, Response
from sqlalchemy import delete, select

from playcall.models import ApiKey, ApiKeyId, ApiKeySpec, Me, NewApiKey, Page, Scope, TokenPair, UserId
from playcall.server.answers import model_response
from playcall.server.auth.accounts import add_api_key
from playcall.server.auth.passwords import MAX_BYTES
from playcall.server.auth.tokens import InvalidTokenError, ReusedTokenError
from playcall.server.dependencies import CallerDep, CoreDep, DatabaseDep, DeadlineDep
from playcall.server.limits.doorkeeper import peer_of
from playcall.server.problems import ApiError, not_found
from playcall.server.store.tables import ApiKeyRow

from .routing import DELETED, api_router, problems, success

__all__ = ["router"]

router = api_router("auth")

_NO_STORE = {"Cache-Control": "no-store"}
"""RFC 6749 section 5.1."""


@router.post(
    "/auth/token",
    response_model=TokenPair,
    summary="Tokens for a password or a refresh token (OAuth2 form)",
    responses=success(200, "A new pair.", "Cache-Control")
    | problems(
        "invalid_grant",
        "oauth:invalid_request",
        "unsupported_grant_type",
        "invalid_scope",
        "bad_request",
        "too_many_sign_ins",
        "rate_limited",
    ),
)
async def auth_token(
    request: Request,
    core: CoreDep,
    deadline: DeadlineDep,
    grant_type: Annotated[str, Form()],
    username: Annotated[str | None, Form(max_length=200)] = None,
    password: Annotated[str | None, Form(max_length=MAX_BYTES)] = None,
    refresh_token: Annotated[str | None, Form(max_length=1_000)] = None,
    scope: Annotated[
        str, Form(description="`read` gives tokens that may only read; `full`, or nothing, those that may do all.")
    ] = "",
) -> Response:
    if grant_type == "password":
        if username is None or password is None:
            raise _oauth_error("invalid_request", "the password grant needs username and password")
        peer = peer_of(request.scope)
        pair = await _by_password(core, deadline, username, password, _scope_of(scope), peer)
    elif grant_type == "refresh_token":
        if refresh_token is None:
            raise _oauth_error("invalid_request", "the refresh_token grant needs refresh_token")
        try:
            pair = await core.tokens.refresh(core.database, refresh_token, wait_seconds=deadline.remaining_seconds())
        except InvalidTokenError as error:
            if isinstance(error, ReusedTokenError):
                await core.sockets.revoke(error.family_id)
                core.database.signals.publish("credential_revoked", error.family_id)
            raise _oauth_error("invalid_grant", str(error)) from None
    else:
        raise _oauth_error("unsupported_grant_type", "grant_type is password or refresh_token")
    return model_response(pair, headers=_NO_STORE)


def _scope_of(asked: str) -> Scope:
    """Names are case-sensitive, and one that nobody knows gives nothing, least of all everything (RFC 6749 section 3.3).

    Raises:
        ApiError: 400 `invalid_scope`.
    """
    if not asked:
        return Scope.FULL
    try:
        return Scope(asked)
    except ValueError:
        raise _oauth_error("invalid_scope", f"scope is {' or '.join(Scope)}") from None


async def _by_password(
    core: CoreDep, deadline: DeadlineDep, username: str, password: str, scope: Scope, peer: str
) -> TokenPair:
    user = await core.sign_in.user(username, password, peer=peer, deadline=deadline)
    if user is None:
        raise _oauth_error("invalid_grant", "the user name or the password is wrong")
    async with core.database.write(wait_seconds=deadline.remaining_seconds()) as tx:
        return await core.tokens.issue(tx.session, user, scope)


def _oauth_error(code: str, detail: str) -> ApiError:
    """A problem that also has the members of RFC 6749 section 5.2, for OAuth2 clients that know nothing of ours."""
    return ApiError(400, code, detail, headers=_NO_STORE, error=code, error_description=detail)


@router.get("/auth/me", response_model=Me, summary="Who the credentials belong to")
async def auth_me(caller: CallerDep) -> Me:
    return Me(id=UserId(caller.user_id), username=caller.username, scope=caller.scope, credential=caller.credential)


@router.get("/auth/api-keys", response_model=Page[ApiKey], summary="One's API keys, without their secrets")
async def api_keys_list(caller: CallerDep, database: DatabaseDep) -> Page[ApiKey]:
    """All of them on one page: people have few."""
    async with database.read() as session:
        rows = (
            await session.execute(
                select(ApiKeyRow)
                .where(ApiKeyRow.user_id == caller.user_id)
                .order_by(ApiKeyRow.created_at, ApiKeyRow.id)
            )
        ).scalars()
        return Page[ApiKey](items=[_api_key_of(row) for row in rows])


@router.post(
    "/auth/api-keys",
    response_model=NewApiKey,
    status_code=201,
    summary="A new API key; shown this once",
    responses=success(201, "It has been made; this is the only answer with its secret.", "Cache-Control"),
)
async def api_keys_create(
    spec: ApiKeySpec, caller: CallerDep, database: DatabaseDep, deadline: DeadlineDep
) -> Response:
    async with database.write(wait_seconds=deadline.remaining_seconds()) as tx:
        key = await add_api_key(tx.session, caller.user_id, spec)
    return model_response(key, status=201, headers=_NO_STORE)


@router.delete(
    "/auth/api-keys/{key_id}",
    status_code=204,
    summary="Revoke an API key",
    responses=DELETED | problems("api_key_not_found"),
)
async def api_keys_delete(key_id: ApiKeyId, caller: CallerDep, core: CoreDep, deadline: DeadlineDep) -> Response:
    """It is refused from now on; sockets that were opened with it are closed."""
    async with core.database.write(wait_seconds=deadline.remaining_seconds()) as tx:
        deleted = await tx.session.execute(
            delete(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.user_id == caller.user_id).returning(ApiKeyRow.id)
        )
        if deleted.one_or_none() is None:
            raise not_found("api_key")
    await core.sockets.revoke(key_id)
    core.database.signals.publish("credential_revoked", key_id)
    return model_response(None, status=204)


def _api_key_of(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=ApiKeyId(row.id),
        name=row.name,
        scope=row.scope,
        hint=row.hint,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
