"""Signing in with a password, so that guessing does not pay.

Failures are counted in the database, for the name and for the address, so that all processes know of them and a restart
forgets nothing. What follows them is a growing delay, and no lockout: whoever knows a name could lock its owner out (OWASP
Authentication Cheat Sheet, «Login Throttling»; NIST SP 800-63B section 5.2.2 names growing waits as the remedy). The delay of
a name stays short for the same reason. It still leaves a guesser 1,440 attempts a day, for passwords of 8 characters at
least.

A name that nobody has is treated as one that somebody has, to the last statement and the last hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import case, delete, select

from playcall.server.clock import utc_now
from playcall.server.context import Deadline, deadline_exceeded
from playcall.server.problems import ApiError
from playcall.server.store.database import Database
from playcall.server.store.dialect import insert_for
from playcall.server.store.tables.accounts import SignInFailureRow, UserRow
from playcall.server.telemetry import metrics

from .passwords import normal_password, verify_password

__all__ = ["BY_ADDRESS", "BY_NAME", "Patience", "SignIn", "normal_username"]

logger = logging.getLogger("playcall.server.auth")

HASHES_AT_ONCE: Final = 2
"""In a process: argon2 takes 64 MiB and several threads for each."""
FORGOTTEN: Final = timedelta(hours=1)
"""Without another failure for so long, those of before count no more."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`free` failures cost nothing; each one more doubles the delay, which starts at a second."""

    free: int
    max_seconds: float

    def delay_seconds(self, failures: int) -> float:
        """How long after the last failure the next attempt is looked at."""
        beyond = failures - self.free
        return 0.0 if beyond < 0 else min(self.max_seconds, 2.0 ** min(beyond, 60))


BY_NAME: Final = Patience(free=5, max_seconds=60)
BY_ADDRESS: Final = Patience(free=50, max_seconds=900)
"""Many people may share an address, and a success there says nothing of the others: it does not reset these."""


def normal_username(text: str) -> str:
    """Composed (NFC), as it is stored; case counts."""
    return unicodedata.normalize("NFC", text)


class SignIn:
    """One for each process. `key` is a secret of the database's own."""

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = hashlib.sha256(f"sign-in:{key}".encode()).digest()
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)

    async def user(self, username: str, password: str, *, peer: str, deadline: Deadline) -> UserRow | None:
        """Who that is; None if the name or the password is wrong, or the user is disabled.

        Raises:
            ApiError: 429 `too_many_sign_ins`: it has not been looked at. 504: neither, because others were first.
        """
        name = normal_username(username)
        counted = ((self._hash("name", name), BY_NAME), (self._hash("address", peer), BY_ADDRESS))
        await self._require_patience(counted)
        try:
            async with asyncio.timeout(deadline.remaining_seconds()):
                await self._hashing.acquire()
        except TimeoutError:
            raise deadline_exceeded() from None
        try:
            # Once more: all those who came together have seen the count of before.
            await self._require_patience(counted)
            async with self._database.read() as session:
                # PostgreSQL knows no NUL; no name has one.
                statement = select(UserRow).where(UserRow.username == name.replace("\0", "\ufffd"))
                user = (await session.execute(statement)).scalar_one_or_none()
            matches = await verify_password(normal_password(password), user.password_hash if user else None)
            if matches and user is not None and user.disabled_at is None:
                await self._forget(counted[0][0], deadline)
                return user
            await self._count([key for key, _ in counted], deadline)
        finally:
            self._hashing.release()
        metrics.SIGN_IN_FAILURES.add()
        logger.info("sign_in_failed", extra={"peer": peer})
        return None

    def _hash(self, kind: str, text: str) -> str:
        return hmac.new(self._key, f"{kind}:{text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    async def _require_patience(self, counted: Sequence[tuple[str, Patience]]) -> None:
        async with self._database.read() as session:
            found = await session.execute(
                select(SignInFailureRow).where(SignInFailureRow.key.in_([key for key, _ in counted]))
            )
            rows = {row.key: row for row in found.scalars()}
        now = utc_now()
        wait = max((_wait_seconds(rows[key], patience, now) for key, patience in counted if key in rows), default=0.0)
        if wait > 0:
            raise ApiError(
                429,
                "too_many_sign_ins",
                "too many sign-ins have failed; wait as told",
                headers={"Retry-After": str(math.ceil(wait)), "Cache-Control": "no-store"},
            )

    async def _count(self, keys: Sequence[str], deadline: Deadline) -> None:
        now = utc_now()
        async with self._database.write(wait_seconds=deadline.remaining_seconds()) as tx:
            await tx.session.execute(delete(SignInFailureRow).where(SignInFailureRow.last_at < now - FORGOTTEN))
            for key in sorted(keys):  # in one order, so that two who count the same do not wait for each other
                statement = insert_for(tx.session, SignInFailureRow).values(key=key, failures=1, last_at=now)
                await tx.session.execute(
                    statement.on_conflict_do_update(
                        index_elements=[SignInFailureRow.key],
                        set_={
                            "failures": case(
                                (SignInFailureRow.last_at < now - FORGOTTEN, 1), else_=SignInFailureRow.failures + 1
                            ),
                            "last_at": now,
                        },
                    )
                )

    async def _forget(self, key: str, deadline: Deadline) -> None:
        async with self._database.write(wait_seconds=deadline.remaining_seconds()) as tx:
            await tx.session.execute(delete(SignInFailureRow).where(SignInFailureRow.key == key))


def _wait_seconds(row: SignInFailureRow, patience: Patience, now: datetime) -> float:
    """Never longer than the delay, though the clock of another machine be ahead."""
    if row.last_at < now - FORGOTTEN:
        return 0.0
    delay = patience.delay_seconds(row.failures)
    return min(delay, (row.last_at + timedelta(seconds=delay) - now).total_seconds())
