"""`playcall users`, on the database of a server that runs: what it does holds at once, in every process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import Result
from sqlalchemy import select
from typer.testing import CliRunner

from playcall.cli.app import app
from playcall.server.auth.users import UserError, add_user, disable_user, remove_user
from playcall.server.clock import utc_now
from playcall.server.settings import Settings
from playcall.server.store.database import Database
from playcall.server.store.tables import Base, IdempotencyRow, RunRow, UserRow

from ..conftest import Api, RunningServer, User
from ..sockets.test_websocket import talking

PASSWORD = "a long password"


class Team:
    """A server, and the commands of whoever runs it."""

    def __init__(
        self, server: RunningServer, folder: Path, session: aiohttp.ClientSession, url: str | None = None
    ) -> None:
        self.server = server
        self._url = url
        self._folder = folder
        self._session = session

    async def command(self, *arguments: str, typed: str = "") -> Result:
        where = {} if self._url is None else {"PLAYCALL_DATABASE_URL": self._url}
        return await asyncio.to_thread(
            CliRunner().invoke, app, ["users", *arguments, "--data", str(self._folder)], input=typed, env=where
        )

    async def done(self, *arguments: str, typed: str = "") -> str:
        result = await self.command(*arguments, typed=typed)
        assert result.exit_code == 0, result.output
        return result.output

    async def add(self, name: str = "ann") -> Api:
        output = await self.done("add", name, "--api-key")
        key = output.split()[-1]
        return Api(self.server, self._session, User("", name, key, key))

    async def sign_in(self, api: Api, name: str, password: str = PASSWORD) -> Any:
        form = {"grant_type": "password", "username": name, "password": password}
        return await api("POST", "/auth/token", headers={"X-API-Key": ""}, data=form)


@asynccontextmanager
async def opened(folder: Path, url: str = "sqlite") -> AsyncIterator[Team]:
    """`url` of a database of its own; SQLite's is in the folder anyway."""
    postgresql = None if url.startswith("sqlite") else url
    with RunningServer(Settings(data_dir=folder, port=0, database_url=postgresql)) as server:
        async with aiohttp.ClientSession() as session:
            yield Team(server, folder, session, postgresql)


async def test_a_user_who_is_added_signs_in_with_the_password_however_it_is_typed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("pa\u0308ssword one\nanother line\n")
    async with opened(tmp_path / "data") as team:
        api = await team.add("robot")
        await team.done("add", "Rene\u0301", "--password-file", str(file))
        await team.done("add", "bob", "--password-file", "-", typed=PASSWORD + "\r\n")
        pair = (await team.sign_in(api, "Ren\u00e9", "p\u00e4ssword one")).json
        me = await api.ok(
            "GET", "/auth/me", headers={"X-API-Key": "", "Authorization": f"Bearer {pair['access_token']}"}
        )
        assert (me["username"], me["scope"]) == ("Ren\u00e9", "full")
        assert (await team.sign_in(api, "bob")).status == 200
        assert (await team.done("list")).splitlines() == [
            "admin  (1 API key)", "robot  (1 API key)", "Ren\u00e9  (password, 0 API keys)", "bob  (password, 0 API keys)",
        ]  # fmt: skip
        listed = [json.loads(line) for line in (await team.done("list", "--json")).splitlines()]
        assert [(user["name"], user["has_password"], user["api_keys"]) for user in listed[:1]] == [("admin", False, 1)]


async def test_nothing_of_a_disabled_user_is_good_from_the_next_request_on_and_sockets_close(
    tmp_path: Path, database_url: str
) -> None:
    async with opened(tmp_path, database_url) as team:
        api, other = await team.add(), await team.add("bob")
        await team.done("set-password", "ann", "--password-file", "-", typed=PASSWORD)
        pair = (await team.sign_in(api, "ann")).json
        bearer = {"X-API-Key": "", "Authorization": f"Bearer {pair['access_token']}"}
        assert (await api("GET", "/auth/me", headers=bearer)).status == 200
        token = {"Authorization": bearer["Authorization"]}
        async with talking(api) as by_key, talking(api, token) as by_token, talking(other) as others:
            await team.done("disable", "ann")
            assert (await api("GET", "/auth/me")).status == 401
            assert (await api("GET", "/auth/me", headers=bearer)).status == 401
            refreshed = await api(
                "POST",
                "/auth/token",
                headers={"X-API-Key": ""},
                data={"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]},
            )
            assert (refreshed.status, refreshed.json["error"]) == (400, "invalid_grant")
            refused = await team.sign_in(api, "ann")
            assert refused.json["detail"] == (await team.sign_in(api, "nobody")).json["detail"]
            assert [await by_key.closed(), await by_token.closed()] == [4401, 4401]
            assert (await others.subscribe("runs"))["op"] == "subscribed"
        assert "ann  (password, 1 API key, disabled)" in await team.done("list")
        await team.done("enable", "ann")
        assert (await api("GET", "/auth/me")).status == 200, "the key is good again"
        assert (await api("GET", "/auth/me", headers=bearer)).status == 401, "sessions begin anew"
        assert (await team.sign_in(api, "ann")).status == 200


async def test_another_password_ends_the_sessions_of_the_old_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as team:
        api = await team.add()
        await team.done("set-password", "ann", "--password-file", "-", typed=PASSWORD)
        pair = (await team.sign_in(api, "ann")).json
        await team.done("set-password", "ann", "--password-file", "-", typed="quite another")
        bearer = {"X-API-Key": "", "Authorization": f"Bearer {pair['access_token']}"}
        assert (await api("GET", "/auth/me", headers=bearer)).status == 401
        assert (await team.sign_in(api, "ann")).status == 400
        assert (await team.sign_in(api, "ann", "quite another")).status == 200
        assert (await api("GET", "/auth/me")).status == 200


async def test_what_cannot_be_done_is_a_sentence(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as team:
        await team.done("add", "ann", "--api-key")
        for arguments, typed, words in (
            (["add", "ann", "--api-key"], "", "there is a user 'ann' already"),
            (["add", "bob", "--password-file", "-"], "short", "8 characters at least"),
            (["add", "bob", "--password-file", str(tmp_path / "none")], "", "cannot be read"),
            (["add", "bob"], "", "no terminal to ask"),
            (["add", " bob", "--api-key"], "", "no space at its ends"),
            (["add", "bo\u0007b", "--api-key"], "", "none of control"),
            (["disable", "nobody"], "", "there is no user 'nobody'"),
            (["remove", "ann", "--yes"], "", "disable them first"),
        ):
            result = await team.command(*arguments, typed=typed)
            assert result.exit_code == 1, arguments
            assert words in result.output
            assert result.output.startswith("playcall: ")
            assert len(result.output.splitlines()) == 1
        assert len((await team.done("list")).splitlines()) == 2
    result = CliRunner().invoke(app, ["users", "list", "--data", str(tmp_path / "elsewhere")])
    assert result.exit_code == 1
    assert "there is no database" in result.output
    assert not (tmp_path / "elsewhere").exists(), "a mistyped folder is not made"


async def test_a_database_of_another_version_is_left_alone(tmp_path: Path) -> None:
    from sqlalchemy import text

    from playcall.server.store.migrate import VERSION_TABLE

    database = await Database.create(f"sqlite+aiosqlite:///{tmp_path}/playcall.sqlite3")
    async with database.engine.begin() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0001'"))
    await database.close()
    result = await asyncio.to_thread(CliRunner().invoke, app, ["users", "list", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "another version of playcall" in result.output


# --- removal -----------------------------------------------------------------------------------------------------------


async def run_of(database: Database, owner_id: str, *, ended: bool) -> str:
    now = utc_now()
    row = RunRow(
        id=f"run_{owner_id}", owner_id=owner_id, version=1, created_at=now, updated_at=now, playbook_id="pbk",
        playbook_name="p", playbook_version=1, playbook={}, status="completed" if ended else "running", inputs={},
        steps_total=1, request_hash="", ended_at=now if ended else None,
    )  # fmt: skip
    async with database.write() as tx:
        tx.session.add(row)
    return row.id


async def test_a_removed_user_leaves_no_row_and_nobody_else_loses_one(tmp_path: Path, database_url: str) -> None:
    async with opened(tmp_path, database_url) as team:
        ann, bob = await team.add("ann"), await team.add("bob")
        database = team.server.core.database
        for api in (ann, bob):
            await api.tool()
            await api.agent("Writer", "report")
            await api.ok("POST", "/playbooks", json={
                "name": "p", "tags": ["t"], "agents": ["Writer"],
                "steps": [{"id": "s", "type": "standard", "agent": "Writer", "operation": "report"}],
            }, headers={"Idempotency-Key": "k"})  # fmt: skip
            api.user.id = (await api.ok("GET", "/auth/me"))["id"]
            run_id = await team.server.acall(run_of(database, api.user.id, ended=True))
            (tmp_path / "workspaces" / run_id).mkdir(parents=True)

        async def rows() -> dict[str, str]:
            async with database.read() as session:
                return {
                    table.name: str((await session.execute(select(table))).all())
                    for table in Base.metadata.tables.values()
                }

        before = await team.server.acall(rows())
        assert sum(ann.user.id in text for text in before.values()) >= 8
        await team.done("disable", "ann")
        assert (await team.command("remove", "ann", typed="n\n")).exit_code == 1
        await team.done("remove", "ann", typed="y\n")
        after = await team.server.acall(rows())
        assert [name for name, text in after.items() if ann.user.id in text] == []
        assert [path.name for path in (tmp_path / "workspaces").iterdir()] == [f"run_{bob.user.id}"]
        assert after["playbook_labels"] == (await team.server.acall(rows()))["playbook_labels"] != "[]"
        assert len(await bob.events("agents")) == 1
        assert (await bob.ok("GET", "/playbooks"))["items"][0]["name"] == "p"
        await team.add("ann")


async def test_a_user_whose_run_has_not_ended_is_not_removed(database: Database) -> None:
    await add_user(database, "ann", None)
    async with database.read() as session:
        ann = (await session.execute(select(UserRow))).scalar_one()
    run_id = await run_of(database, ann.id, ended=False)
    async with database.write() as tx:
        tx.session.add(
            IdempotencyRow(caller_id=ann.id, method="POST", path="/", key="k", body_hash="", created_at=utc_now())
        )
    await disable_user(database, "ann")
    with pytest.raises(UserError, match=f"{run_id} of 'ann' has not ended"):
        await remove_user(database, "ann")
    async with database.read() as session:
        assert (await session.execute(select(IdempotencyRow))).scalars().all(), "nothing has been changed"


async def test_a_long_poll_tells_nothing_to_who_was_disabled_while_it_waited(tmp_path: Path) -> None:
    async with opened(tmp_path) as team:
        api = await team.add()
        api.user.id = (await api.ok("GET", "/auth/me"))["id"]
        waiting = asyncio.create_task(
            api("GET", "/events", params={"topic": "agents", "from": "head", "wait_seconds": 20})
        )
        while (api.user.id, "agents") not in team.server.core.database.wakes.watched():
            await asyncio.sleep(0.01)
        await team.done("disable", "ann")
        await team.server.emit(api.user, "agents", data={"of": "ann"})
        answer = await waiting
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
