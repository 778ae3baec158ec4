"""One engine on each kind of database, for all modules here: DBOS is one to a process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.server.engine.conftest import House, close_house, move_in, open_house


@pytest_asyncio.fixture(scope="package", loop_scope="package", params=["sqlite", "postgresql"])
async def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    database = request.getfixturevalue(request.param)
    url = None if database is None else database.new_database()
    house = await open_house(tmp_path_factory.mktemp("house"), database_url=url)
    yield house
    await close_house(house)


@pytest_asyncio.fixture(loop_scope="package")
async def house(opened: House) -> House:
    return await move_in(opened)
