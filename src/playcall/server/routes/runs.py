"""Runs: a playbook's executions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Body, Query, Request, Response
from sqlalchemy import select

from playcall.models import InputSpec, LogLevel, LogLine, Page, Run, RunId, RunRequest, RunStep
from playcall.models.event import RunLogData
from playcall.models.ids import PlaybookId
from playcall.models.struct import reader
from playcall.models.topic import RUNS, run_topic
from playcall.server.answers import model_response, require_match, state_response
from playcall.server.auth.caller import Caller
from playcall.server.command import Command
from playcall.server.dependencies import CallerDep, CommandDep, DatabaseDep
from playcall.server.engine import bind_inputs
from playcall.server.engine.records import run_of, step_of
from playcall.server.log import read_topic
from playcall.server.paging import OrderedPageDep, PageRequestDep, read_page
from playcall.server.problems import ApiError
from playcall.server.store.database import Transaction
from playcall.server.store.tables import EventRow, PlaybookRow, RunRow, RunStepRow, TopicRow

from .engine_access import EngineDep, decode_number, encode_place
from .own_rows import own_row
from .routing import CHANGED, DELETED, LISTED, MADE, STATE, api_router, problems

__all__ = ["router"]

router = api_router("runs")

_LEVELS = [level.value for level in LogLevel]
_read_line = reader(RunLogData)
_LAST_POSITION = 2**31 - 1
"""Beyond it PostgreSQL takes no number into a comparison with the column, and there is no step."""
_LOG_BATCH = 1_000
"""Rows read at a time where a level leaves some out."""


@router.post(
    "/playbooks/{playbook_id}/runs",
    response_model=Run,
    status_code=201,
    summary="Start a run",
    responses=MADE | problems("playbook_not_found", "inputs_invalid"),
)
async def playbooks_run(
    playbook_id: PlaybookId,
    caller: CallerDep,
    command: CommandDep,
    engine: EngineDep,
    request: Annotated[RunRequest | None, Body()] = None,
) -> Response:
    """A key that has started a run stays that run's for ever."""
    key = command.idempotency_key.key if command.idempotency_key else None
    async with command.begin() as tx:
        playbook = await own_row(tx.session, PlaybookRow, caller, playbook_id, "playbook")
        specs = {name: InputSpec.model_validate(spec) for name, spec in playbook.inputs.items()}
        inputs, errors = bind_inputs(specs, request.inputs if request else {})
        if errors:
            raise ApiError(422, "inputs_invalid", errors[0].msg, errors=errors)
        run = await engine.commands.create_run(tx, playbook, inputs, key)
        return _created(command, run)


@router.get(
    "/runs",
    response_model=Page[Run],
    summary="One's runs",
    responses=LISTED,
)
async def runs_list(
    caller: CallerDep,
    database: DatabaseDep,
    page: OrderedPageDep,
    status: str | None = None,
    playbook: Annotated[str | None, Query(description="A playbook's id.")] = None,
) -> Response:
    statement = select(RunRow).where(RunRow.owner_id == caller.user_id)
    if status is not None:
        statement = statement.where(RunRow.status == status)
    if playbook is not None:
        statement = statement.where(RunRow.playbook_id == playbook)
    filters = {"of": RUNS, "status": status, "playbook": playbook}
    async with database.read() as session:
        rows, following = await read_page(session, statement, RunRow, page, filters=filters)
        topic = await read_topic(session, caller.user_id, RUNS)
    answer = Page[Run](items=[run_of(row) for row in rows], next_cursor=following)
    return model_response(answer, cursor=topic.at_head if topic and page.is_first else None)


@router.get(
    "/runs/{run_id}",
    response_model=Run,
    summary="One run",
    responses=STATE | problems("run_not_found"),
)
async def runs_get(run_id: RunId, request: Request, caller: CallerDep, database: DatabaseDep) -> Response:
    async with database.read() as session:
        row = await own_row(session, RunRow, caller, run_id, "run")
        topic = await read_topic(session, caller.user_id, run_topic(run_id))
    return state_response(request, run_of(row), version=row.version, cursor=topic.at_head if topic else None)


@router.delete(
    "/runs/{run_id}",
    status_code=204,
    summary="Delete a run that has ended",
    responses=DELETED | problems("run_not_found", "run_not_ended", "run_needed", "version_mismatch"),
)
async def runs_delete(
    run_id: RunId, request: Request, caller: CallerDep, command: CommandDep, engine: EngineDep
) -> Response:
    """With its tasks and files; its log outlives it."""
    async with command.begin() as tx:
        row = await own_row(tx.session, RunRow, caller, run_id, "run", lock=True)
        require_match(request, row.version)
        await engine.commands.delete_run(tx, row)
        answer = command.answer(None, status=204)
    await engine.remove_workspace(run_id)
    return answer


@router.post(
    "/runs/{run_id}/cancel",
    response_model=Run,
    summary="Stop a run for good",
    responses=CHANGED | problems("run_not_found", "run_ended", "version_mismatch"),
)
async def runs_cancel(
    run_id: RunId, request: Request, caller: CallerDep, command: CommandDep, engine: EngineDep
) -> Response:
    """It is `cancelled` once its step has really ended; until then `wish` says so."""
    answer = await _act(run_id, request, caller, command, engine.commands.cancel_run)
    engine.stop_work(run_id)
    return answer


@router.post(
    "/runs/{run_id}/pause",
    response_model=Run,
    summary="Pause before its next step",
    responses=CHANGED | problems("run_not_found", "run_ended", "run_being_cancelled", "version_mismatch"),
)
async def runs_pause(
    run_id: RunId, request: Request, caller: CallerDep, command: CommandDep, engine: EngineDep
) -> Response:
    return await _act(run_id, request, caller, command, engine.commands.pause_run)


@router.post(
    "/runs/{run_id}/resume",
    response_model=Run,
    summary="Let a paused run go on",
    responses=CHANGED | problems("run_not_found", "run_ended", "run_not_paused", "version_mismatch"),
)
async def runs_resume(
    run_id: RunId, request: Request, caller: CallerDep, command: CommandDep, engine: EngineDep
) -> Response:
    return await _act(run_id, request, caller, command, engine.commands.resume_run)


@router.post(
    "/runs/{run_id}/retry",
    response_model=Run,
    status_code=201,
    summary="A new run that reuses this one's finished outputs",
    responses=MADE | problems("run_not_found", "run_not_ended"),
)
async def runs_retry(run_id: RunId, caller: CallerDep, command: CommandDep, engine: EngineDep) -> Response:
    async with command.begin() as tx:
        row = await own_row(tx.session, RunRow, caller, run_id, "run", lock=True)
        return _created(command, await engine.commands.retry_run(tx, row))


@router.get(
    "/runs/{run_id}/steps",
    response_model=Page[RunStep],
    summary="A run's steps",
    responses=LISTED | problems("run_not_found"),
)
async def runs_steps(run_id: RunId, caller: CallerDep, database: DatabaseDep, page: PageRequestDep) -> Response:
    """In the playbook's order."""
    after = -1 if page.cursor is None else min(decode_number(page.cursor), _LAST_POSITION)
    async with database.read() as session:
        await own_row(session, RunRow, caller, run_id, "run")
        statement = select(RunStepRow).where(RunStepRow.run_id == run_id, RunStepRow.position > after)
        found = (await session.execute(statement.order_by(RunStepRow.position).limit(page.limit + 1))).scalars().all()
        topic = await read_topic(session, caller.user_id, run_topic(run_id))
    rows = found[: page.limit]
    following = encode_place(str(rows[-1].position)) if len(found) > page.limit else None
    answer = Page[RunStep](items=[step_of(row) for row in rows], next_cursor=following)
    return model_response(answer, cursor=topic.at_head if topic and page.is_first else None)


@router.get(
    "/runs/{run_id}/logs",
    response_model=Page[LogLine],
    summary="A run's log",
    responses=LISTED | problems("run_not_found"),
)
async def runs_logs(
    run_id: RunId,
    caller: CallerDep,
    database: DatabaseDep,
    page: PageRequestDep,
    level: Annotated[LogLevel | None, Query(description="This level and above.")] = None,
) -> Response:
    """The lines are the run's `run.log` events: what their retention has taken is not here either."""
    wanted = frozenset(_LEVELS[_LEVELS.index(level.value) :] if level is not None else _LEVELS)
    after = 0 if page.cursor is None else decode_number(page.cursor)
    lines: list[LogLine] = []
    async with database.read() as session:
        await own_row(session, RunRow, caller, run_id, "run")
        topic = await read_topic(session, caller.user_id, run_topic(run_id))
        more = True
        while more and len(lines) <= page.limit:
            statement = (
                select(EventRow)
                .join(TopicRow, TopicRow.id == EventRow.topic_id)
                .where(TopicRow.owner_id == caller.user_id, TopicRow.name == run_topic(run_id))
                .where(EventRow.type == "run.log", EventRow.seq > after)
                .order_by(EventRow.seq)
                .limit(_LOG_BATCH)
            )
            rows = (await session.execute(statement)).scalars().all()
            more = len(rows) == _LOG_BATCH
            after = rows[-1].seq if rows else after
            lines.extend(line for line in map(_line, rows) if line.level in wanted)
    shown = lines[: page.limit]
    following = encode_place(str(shown[-1].seq)) if len(lines) > page.limit else None
    answer = Page[LogLine](items=shown, next_cursor=following)
    return model_response(answer, cursor=topic.at_head if topic and page.is_first else None)


async def _act(
    run_id: str,
    request: Request,
    caller: Caller,
    command: Command,
    act: Callable[[Transaction, RunRow], Awaitable[None]],
) -> Response:
    async with command.begin() as tx:
        row = await own_row(tx.session, RunRow, caller, run_id, "run", lock=True)
        require_match(request, row.version)
        await act(tx, row)
        return command.answer(run_of(row), version=row.version)


def _created(command: Command, run: RunRow) -> Response:
    headers = {"Location": f"/api/v1/runs/{run.id}"}
    return command.answer(run_of(run), status=201, version=run.version, headers=headers)


def _line(row: EventRow) -> LogLine:
    data = _read_line(row.data)
    return LogLine(
        seq=row.seq,
        at=row.time,
        level=data.level,
        message=data.message,
        step_id=data.step_id,
        task_id=data.task_id,
    )
