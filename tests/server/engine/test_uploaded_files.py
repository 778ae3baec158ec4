"""Files that a caller puts into a workspace, beside those that its run makes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from playcall.server.engine import operation
from playcall.server.engine.artifacts import enter_artifact
from playcall.server.problems import ApiError
from playcall.server.store.tables import ArtifactRow, RunRow
from playcall.server.tools import NewFile
from playcall.server.tools.writing import writings_folder

from .conftest import House
from .test_run_flow import artifacts, retry, step, write

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def upload(house: House, run_id: str, name: str, content: str) -> None:
    """As the route does it."""
    with NewFile(house.settings.workspaces_dir / run_id, name, max_bytes=1_000) as file:
        file.write(content.encode())
        async with house.database.write() as tx:
            run = await tx.session.get(RunRow, run_id)
            assert run is not None
            await enter_artifact(tx, run, file.place(), None)
        file.keep()


async def paused(house: House, *steps: dict[str, Any]) -> str:
    """A run that has not begun: its workspace is not there yet."""
    playbook = await house.playbook({"name": "p", "agents": ["a"], "steps": list(steps)})
    async with house.database.write() as tx:
        run = await house.engine.commands.create_run(tx, playbook, {}, None)
        await house.engine.commands.pause_run(tx, run)
    assert not (house.settings.workspaces_dir / run.id).exists()
    return run.id


async def resume(house: House, run_id: str) -> RunRow:
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, run_id)
        assert row is not None
        await house.engine.commands.resume_run(tx, row)
    return await house.ended(run_id)


def content_of(house: House, run_id: str) -> dict[str, str]:
    folder = house.settings.workspaces_dir / run_id
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


async def test_what_is_uploaded_before_a_run_begins_is_there_when_it_does(house: House) -> None:
    await house.agent("a", ["files.read"])
    run_id = await paused(house, step("s", "a", "files.read", {"path": "in/data.txt"}))
    await upload(house, run_id, "in/data.txt", "hello")
    run = await resume(house, run_id)
    assert (run.status, run.output["text"]) == ("completed", "hello")
    assert await artifacts(house, run_id) == {"in/data.txt"}


async def test_a_retry_that_has_files_already_takes_over_the_others(house: House) -> None:
    """The caller's own stay as they are; what was uploaded to the old run comes along."""
    await house.agent("a", ["files.write"])
    first = await paused(
        house,
        write("s", "old", path="out.txt"),
        write("t", "old", path="folder/a.txt"),
        write("u", "old", path="file"),
        write("v", "old", path="other.txt"),
    )
    await upload(house, first, "in.txt", "given")
    await resume(house, first)
    again = await retry(house, first, pause=True)
    await upload(house, again, "out.txt", "mine")
    await upload(house, again, "folder", "a file where a folder was")
    await upload(house, again, "file/a.txt", "a folder where a file was")
    run = await resume(house, again)
    assert run.status == "completed"
    expected = {
        "in.txt": "given",
        "out.txt": "mine",
        "other.txt": "old",
        "folder": "a file where a folder was",
        "file/a.txt": "a folder where a file was",
    }
    assert content_of(house, again) == expected
    assert await artifacts(house, again) == set(expected)
    async with house.database.read() as session:
        row = await session.get(ArtifactRow, (again, "out.txt"))
    assert row is not None
    assert row.sha256 == hashlib.sha256(b"mine").hexdigest()
    assert list(writings_folder(house.settings.workspaces_dir / again).iterdir()) == []


async def cancel(house: House, run_id: str) -> None:
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, run_id)
        assert row is not None
        await house.engine.commands.cancel_run(tx, row)


async def delete(house: House, run_id: str) -> None:
    async with house.database.write() as tx:
        row = await tx.session.get(RunRow, run_id)
        assert row is not None
        await house.engine.commands.delete_run(tx, row)


async def test_a_retry_of_retries_that_never_began_has_the_files_of_them_all(house: House) -> None:
    """The nearest run's first; the oldest is needed as long as that has not happened."""
    await house.agent("a", ["files.write"])
    first = await paused(
        house, write("s", "made", path="made.txt"), write("t", "made", path="both.txt"), write("u", "made", path="x")
    )
    await upload(house, first, "in.txt", "given")
    await resume(house, first)
    second = await retry(house, first, pause=True)
    await upload(house, second, "both.txt", "of the second")
    await upload(house, second, "x/y", "a folder where the first has a file")
    await cancel(house, second)
    third = await retry(house, second, pause=True)
    await cancel(house, third)
    fourth = await retry(house, third, pause=True)
    for needed in (third, second, first):
        with pytest.raises(ApiError, match="needs its files") as refused:
            await delete(house, needed)
        assert refused.value.code == "run_needed"
    assert (await resume(house, fourth)).status == "completed"
    expected = {
        "both.txt": "of the second",
        "in.txt": "given",
        "made.txt": "made",
        "x/y": "a folder where the first has a file",
    }
    assert content_of(house, fourth) == expected
    assert await artifacts(house, fourth) == set(expected)
    for old in (third, second, first):
        await delete(house, old)


async def test_a_retry_that_began_has_all_that_its_own_retry_takes_over(house: House) -> None:
    await house.agent("a", ["files.write"])
    first = await paused(house, write("s", "made", path="a"), write("t", "made", path="b"))
    await resume(house, first)
    second = await retry(house, first)
    await house.ended(second)
    async with house.database.write() as tx:
        await tx.session.delete(await tx.session.get(ArtifactRow, (second, "b")))
    third = await retry(house, second)
    await house.ended(third)
    assert content_of(house, third) == {"a": "made"}


async def test_an_upload_over_what_a_step_has_just_written_keeps_its_entry(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a tool's writing and the end of its task: the entry is of the file that is there."""
    await house.agent("a", ["files.write"])
    run_id = await paused(house, write("s", "by the step", path="a"), write("t", "kept", path="b"))
    keep = operation._keep_artifacts

    async def after_an_upload(tx: Any, of: str, step_id: str | None, context: Any) -> None:
        if step_id == "s":
            with NewFile(house.settings.workspaces_dir / of, "a", max_bytes=1_000) as file:
                file.write(b"by the caller")
                run = await tx.session.get(RunRow, of)
                await enter_artifact(tx, run, file.place(), None)
                file.keep()
        await keep(tx, of, step_id, context)

    monkeypatch.setattr(operation, "_keep_artifacts", after_an_upload)
    assert (await resume(house, run_id)).status == "completed"
    async with house.database.read() as session:
        mine, its = [await session.get(ArtifactRow, (run_id, name)) for name in "ab"]
    assert mine is not None
    assert its is not None
    assert (mine.sha256, mine.step_id) == (hashlib.sha256(b"by the caller").hexdigest(), None)
    assert its.step_id == "t"
    assert content_of(house, run_id) == {"a": "by the caller", "b": "kept"}
