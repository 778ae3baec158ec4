"""Who may call: keys, tokens that expire, and what is told to those who may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from playcall import ApiKey, BearerToken, OAuth2Password, RetryPolicy
from playcall.errors import (
    AuthenticationError,
    ConnectFailedError,
    ReadOnlyCredentialsError,
    RealtimeAuthError,
)
from playcall.testing import LiveBackend

from .conftest import PASSWORD, TOKEN_SECONDS, playbook_of
from .faces import open_client

Namer = Callable[[str], str]


@pytest.mark.parametrize("auth", [ApiKey("pk_wrong"), BearerToken("nonsense"), None])
async def test_wrong_credentials_are_refused_over_http_and_for_events(
    backend: LiveBackend, face: str, auth: Any
) -> None:
    async with open_client(face, backend.url, auth=auth) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.account.me()
        assert caught.value.status == 401
        assert "pk_wrong" not in str(caught.value) + caught.value.explain()
        with pytest.raises(RealtimeAuthError):
            async with client.events.subscribe("agents"):
                raise AssertionError("it must not open")
        assert client.status.current.state == "auth_failed"


async def test_a_wrong_password_is_refused(backend: LiveBackend, face: str) -> None:
    async with open_client(face, backend.url, auth=OAuth2Password("admin", "guess")) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.account.me()
        assert "guess" not in str(caught.value) + caught.value.explain()


async def test_tokens_expire_and_nobody_notices(
    backend: LiveBackend, face: str, client: Any, agent: Any, name: Namer
) -> None:
    """A run is watched for longer than a token lives: the token is renewed on the open socket and for calls."""
    steps = [{"use": "wait", "seconds": TOKEN_SECONDS * 1.5}]
    playbook = await client.playbooks.create(playbook_of(agent, name("long"), *steps))
    async with open_client(face, backend.url, auth=OAuth2Password("admin", PASSWORD)) as user:
        assert (await user.account.me()).credential == "token"
        run = await user.playbooks.run(playbook.id)
        seqs = [event.seq async for event in user.runs.watch(run.id, start="start")]
        assert seqs == list(range(1, len(seqs) + 1))
        assert (await user.runs.get(run.id)).status == "completed"
        assert user.events.picture.reconnects == 0


async def test_a_read_only_key_reads_and_changes_nothing(
    backend: LiveBackend, face: str, client: Any, name: Namer
) -> None:
    made = await client.account.create_api_key({"name": name("reader"), "scope": "read"})
    assert made.secret not in repr(made)
    async with open_client(face, backend.url, auth=ApiKey(made.secret)) as reader:
        assert (await reader.account.me()).scope == "read"
        with pytest.raises(ReadOnlyCredentialsError):
            await reader.agents.create({"name": name("never")})
        await client.account.revoke_api_key(made.id)
        with pytest.raises(AuthenticationError):
            await reader.account.me()


async def test_where_nothing_listens_the_address_is_named(face: str) -> None:
    options = {"auth": ApiKey("pk_any"), "retry": RetryPolicy(attempts=2)}
    async with open_client(face, "http://127.0.0.1:9", **options) as client:
        with pytest.raises(ConnectFailedError, match=r"127\.0\.0\.1:9") as caught:
            await client.account.me()
        assert not caught.value.may_have_happened
        assert len(caught.value.attempts) == 2


async def test_a_client_that_starts_before_its_backend_waits_for_it(backend: LiveBackend, face: str) -> None:
    async with open_client(face, backend.url, auth=ApiKey(backend.api_key)) as client:
        assert (await client.status.wait_until_ready(10)).state == "online"
