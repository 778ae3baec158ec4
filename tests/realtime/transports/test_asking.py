"""One request of a long poll: whose refusal it is, when credentials change under it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from playcall.config import API_PREFIX
from playcall.http.pool import SessionPool
from playcall.realtime.transports.asking import Asker
from playcall.realtime.transports.base import LinkLostError, UpgradeRefusedError
from tests.misbehaving_server import MisbehavingServer, answer, ok


async def asked(*tokens: str) -> tuple[bytes, list[str]]:
    """One GET whose provider gives these tokens one after another; T2 alone is accepted. What came, and what was sent."""
    left = list(tokens)
    sent: list[str] = []

    async def headers() -> Mapping[str, str]:
        return {"Authorization": left.pop(0) if len(left) > 1 else left[0]}

    def script(request: object) -> object:
        sent.append(str(dict(request.headers)["Authorization"]))  # type: ignore[attr-defined]
        return ok({"fine": True}) if sent[-1] == "T2" else answer(401, b'{"detail": "expired"}')

    async with MisbehavingServer(script) as server:  # type: ignore[arg-type]
        pool = SessionPool()
        try:
            asker = Asker(server.url + API_PREFIX, pool, headers, max_bytes=1_000)
            return await asker.get("/health", seconds=5), sent
        finally:
            await pool.close()


async def test_credentials_that_are_still_current_were_refused() -> None:
    with pytest.raises(UpgradeRefusedError) as caught:
        await asked("T1")
    assert caught.value.status == 401


async def test_credentials_that_have_changed_meanwhile_were_not_the_ones_to_be_judged() -> None:
    with pytest.raises(LinkLostError, match="credentials changed"):
        await asked("T1", "T2")


async def test_good_credentials_are_asked_for_once() -> None:
    body, sent = await asked("T2", "T3")
    assert (b"fine" in body, sent) == (True, ["T2"])
