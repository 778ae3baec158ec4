"""Guessing passwords does not pay, and keeps nobody out for long."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from playcall.server import clock
from playcall.server.auth import sign_in
from playcall.server.auth.accounts import create_user
from playcall.server.auth.passwords import (
    MAX_BYTES,
    UnfitPasswordError,
    hash_password,
    new_password,
    normal_password,
    verify_password,
)
from playcall.server.auth.sign_in import BY_ADDRESS, BY_NAME, FORGOTTEN, HASHES_AT_ONCE, SignIn
from playcall.server.context import Deadline
from playcall.server.problems import ApiError
from playcall.server.store.database import Database
from playcall.server.store.tables import SignInFailureRow

from ..conftest import Api

KEY = "k" * 64
PASSWORD = "correct horse"


class House:
    """A database with one user, and as many processes of sign-in as wanted."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.at = SignIn(database, KEY)

    async def user(self, name: str, password: str = PASSWORD) -> None:
        password_hash = await hash_password(password)
        async with self.database.write() as tx:
            await create_user(tx.session, name, password_hash)

    async def guess(self, name: str, password: str = "wrong", *, peer: str = "peer:192.0.2.1") -> str | None:
        """The user's name, None for a wrong guess, or `wait N` where it was not looked at."""
        try:
            found = await self.at.user(name, password, peer=peer, deadline=Deadline.after(30))
        except ApiError as error:
            return f"wait {(error.headers or {})['Retry-After']}"
        return None if found is None else found.username


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Hashes that cost nothing; what was verified against, in order."""
    seen: list[str | None] = []

    async def verify(password: str, stored: str | None) -> bool:
        seen.append(stored)
        await asyncio.sleep(0)
        return password == PASSWORD and stored is not None

    monkeypatch.setattr(sign_in, "verify_password", verify)
    return seen


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes as a test says: on a busy machine a few guesses take longer than the first delay."""
    now = clock.utc_now()
    monkeypatch.setattr(sign_in, "utc_now", lambda: now)


def later(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    then = sign_in.utc_now() + by
    monkeypatch.setattr(sign_in, "utc_now", lambda: then)


def test_the_delay_of_a_name_doubles_and_stays_short() -> None:
    delays = [BY_NAME.delay_seconds(failures) for failures in range(16)]
    assert delays == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert BY_NAME.delay_seconds(10**9) == 60
    assert BY_ADDRESS.delay_seconds(49) == 0
    assert BY_ADDRESS.delay_seconds(10**9) == 900


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_after_some_failures_a_name_must_wait_whether_anybody_has_it_or_not(
    house: House, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await house.user("ann")
    assert [await house.guess(name, peer=f"peer:{n}") for n in range(BY_NAME.free)] == [None] * BY_NAME.free
    assert await house.guess(name, PASSWORD, peer="peer:another") == "wait 1"
    later(monkeypatch, timedelta(seconds=1.1))
    assert await house.guess(name) is None
    assert await house.guess(name) == "wait 2"


@pytest.mark.usefixtures("cheap")
async def test_all_processes_know_of_it_and_a_restart_forgets_nothing(house: House) -> None:
    for _ in range(BY_NAME.free):
        assert await house.guess("ann") is None
        house.at = SignIn(house.database, KEY)
    assert await house.guess("ann") == "wait 1"


@pytest.mark.usefixtures("cheap")
async def test_a_success_begins_anew_for_the_name_and_not_for_the_address(house: House) -> None:
    await house.user("ann")
    for _ in range(3):
        for _ in range(BY_NAME.free - 1):
            assert await house.guess("ann") is None
        assert await house.guess("ann", PASSWORD) == "ann"
    async with house.database.read() as session:
        counts = (await session.execute(select(SignInFailureRow.failures))).scalars().all()
    assert counts == [3 * (BY_NAME.free - 1)], "the address's"


@pytest.mark.usefixtures("cheap")
async def test_an_address_that_tries_many_names_must_wait_and_others_need_not(house: House) -> None:
    await house.user("ann")
    for n in range(BY_ADDRESS.free):
        assert await house.guess(f"name {n}") is None
    assert await house.guess("ann", PASSWORD) == "wait 1"
    assert await house.guess("ann", PASSWORD, peer="peer:192.0.2.2") == "ann"


@pytest.mark.usefixtures("cheap")
async def test_what_was_long_ago_counts_no_more_and_is_not_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(BY_NAME.free + 1):
        await house.guess("ann")
    later(monkeypatch, FORGOTTEN + timedelta(seconds=2))
    assert await house.guess("other") is None
    async with house.database.read() as session:
        rows = (await session.execute(select(SignInFailureRow))).scalars().all()
    assert sorted(row.failures for row in rows) == [1, 1], "the other name's, and the address's new count"
    assert await house.guess("ann") is None


@pytest.mark.usefixtures("cheap")
async def test_a_clock_that_was_ahead_makes_nobody_wait_for_longer_than_the_delay(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as ahead:
        later(ahead, timedelta(days=365))
        for _ in range(BY_NAME.free):
            await house.guess("ann")
    assert await house.guess("ann") == "wait 1"


@pytest.mark.usefixtures("cheap")
async def test_the_table_is_no_list_of_what_was_typed(house: House) -> None:
    await house.guess("hunter2-typed-as-a-name")
    async with house.database.read() as session:
        keys = (await session.execute(select(SignInFailureRow.key))).scalars().all()
    assert len(keys) == 2
    assert all(len(key) == 64 and set(key) <= set("0123456789abcdef") for key in keys)
    other = House(house.database)
    other.at = SignIn(house.database, "another key")
    await other.guess("hunter2-typed-as-a-name")
    async with house.database.read() as session:
        assert len((await session.execute(select(SignInFailureRow.key))).scalars().all()) == 4, (
            "keyed, so no dictionary"
        )


async def test_a_hundred_at_once_are_hashed_a_few_at_a_time_and_none_slips_through_the_count(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = most = hashed = 0
    together = asyncio.Event()

    async def verify(_password: str, _stored: str | None) -> bool:
        nonlocal at_once, most, hashed
        at_once, hashed = at_once + 1, hashed + 1
        most = max(most, at_once)
        if at_once == HASHES_AT_ONCE:
            together.set()
        async with asyncio.timeout(30):
            await together.wait()
        await asyncio.sleep(0.005)  # for others to come, if they may
        at_once -= 1
        return False

    monkeypatch.setattr(sign_in, "verify_password", verify)
    answers = await asyncio.gather(*(house.guess("ann") for _ in range(100)))
    assert most == HASHES_AT_ONCE
    assert BY_NAME.free <= hashed < BY_NAME.free + HASHES_AT_ONCE
    assert answers.count(None) == hashed


async def test_who_waits_for_a_hash_waits_no_longer_than_its_deadline(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def verify(_password: str, _stored: str | None) -> bool:
        await go_on.wait()
        return False

    monkeypatch.setattr(sign_in, "verify_password", verify)
    busy = [asyncio.create_task(house.guess(f"name {n}")) for n in range(HASHES_AT_ONCE)]
    while not house.at._hashing.locked():
        await asyncio.sleep(0)
    with pytest.raises(ApiError) as late:
        await house.at.user("ann", PASSWORD, peer="peer:", deadline=Deadline.after(0.05))
    assert late.value.status_code == 504
    go_on.set()
    assert await asyncio.gather(*busy) == [None] * HASHES_AT_ONCE


async def test_for_nobody_the_same_is_done_as_for_somebody(house: House, cheap: list[str | None]) -> None:
    """As many hashes and statements: a clock learns nothing."""
    await house.user("ann")
    statements: list[str] = []
    from sqlalchemy import event

    for engine in (house.database.engine, house.database.reader):

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            statements.append(statement)

    seen: list[list[str]] = []
    for name in ("ann", "nobody", "dis\0turbing"):
        statements.clear()
        assert await house.guess(name) is None
        seen.append(list(statements))
    assert seen[0] == seen[1] == seen[2]
    assert len(cheap) == 3


async def test_nobodys_password_takes_a_real_hash() -> None:
    assert not await verify_password("nobody has this password", None)


# --- passwords ---------------------------------------------------------------------------------------------------------


def test_a_password_that_can_be_typed_in_several_ways_is_one() -> None:
    """RFC 8265 section 4.2.2."""
    assert new_password("pa\u0308ssw\u00f6rd") == new_password("p\u00e4sswo\u0308rd") == "p\u00e4ssw\u00f6rd"
    assert normal_password("a\u3000b\u00a0c") == "a b c"
    assert normal_password("\ufb01 Ａ") == "\ufb01 Ａ", "but no compatibility forms, and no case"
    long = "é" * (MAX_BYTES // 2)
    assert new_password(long) == long


@pytest.mark.parametrize("text", ["", "1234567", "pass\tword", "passwo\0rd", "x" * (MAX_BYTES + 1), "e\u0301" * 7])
def test_what_can_be_no_password_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(UnfitPasswordError) as refused:
        new_password(text)
    assert not text or text not in str(refused.value)


async def test_a_name_and_a_password_are_found_in_each_of_their_forms(house: House) -> None:
    await house.user("Ren\u00e9", new_password("p\u00e4ssword-1"))
    assert await house.guess("Rene\u0301", "pa\u0308ssword-1") == "Ren\u00e9"


async def test_over_http_it_is_429_with_retry_after(api: Api) -> None:
    form = {"grant_type": "password", "username": api.user.name, "password": "wrong"}
    anonymous = {"X-API-Key": ""}
    for _ in range(BY_NAME.free):
        assert (await api("POST", "/auth/token", headers=anonymous, data=form)).status == 400
    answer = await api("POST", "/auth/token", headers=anonymous, data=form)
    assert (answer.status, answer.json["code"]) == (429, "too_many_sign_ins")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await api("GET", "/auth/me")).status == 200, "keys and tokens go on"
