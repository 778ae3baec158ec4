"""One example of each wire model, built by hand; `golden/` pins how each looks on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from playcall.models import event as ev
from playcall.models import frames
from playcall.models.account import ApiKey, Health, Me, NewApiKey, TokenPair
from playcall.models.agent import Agent, AgentSpec
from playcall.models.ids import AgentId, ApiKeyId, EventId, PlaybookId, RunId, StepId, TaskId, ToolId, UserId
from playcall.models.page import Page
from playcall.models.playbook import (
    InputSpec,
    InputType,
    Playbook,
    PlaybookSpec,
    PlaybookValidation,
    RunRequest,
    UnknownStep,
)
from playcall.models.problem import FieldProblem, Problem
from playcall.models.run import Artifact, LogLine, Run, RunStep
from playcall.models.step import (
    CompletionAction,
    GoTo,
    Handoff,
    HandoffStep,
    InputDistribution,
    LoopOperation,
    NextCondition,
    OutputAggregation,
    ParallelStep,
    PartnerFeedbackStep,
    PartnerOperation,
    ProcessOperation,
    ProcessStep,
    SelfFeedbackStep,
    StandardStep,
    StepRetry,
    VersusStep,
)
from playcall.models.task import Failure, Task, TaskSpec
from playcall.models.tool import Tool, ToolCall, ToolHealth, ToolKind, ToolResult, ToolSpec

T0 = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
T1 = datetime(2026, 11, 23, 10, 0, 1, 250_000, tzinfo=UTC)
STORED: dict[str, Any] = {"version": 2, "created_at": T0, "updated_at": T1}

STEPS = [
    StandardStep(
        id="read",
        type="standard",
        agent="Reader",
        operation="files.list",
        parameters={"path": "{{ inputs.path }}"},
        timeout_seconds=30,
        retry=StepRetry(attempts=3, delay_seconds=0.5),
        next_conditions=[NextCondition(condition="steps.read.output.count == 0", next="hand")],
    ),
    ParallelStep(
        id="measure",
        type="work_in_parallel",
        agents=["Reader:source.sizes", "Reader:source.todos"],
        input_distribution=InputDistribution(mode="split", field="files"),
        output_aggregation=OutputAggregation(mode="filter", condition="output is not None"),
    ),
    SelfFeedbackStep(
        id="polish",
        type="self_feedback_loop",
        agent="Writer",
        operations=["text.stats", LoopOperation(operation="files.write", parameters={"path": "{{ iteration }}.txt"})],
        termination_condition="output.words < 300",
        iterations=3,
    ),
    PartnerFeedbackStep(
        id="review",
        type="partner_feedback_loop",
        roles={"creator": "Writer", "reviewer": "Reader"},
        operations=[
            "creator:template.render",
            PartnerOperation(operation="reviewer:text.stats", parameters={"text": "{{ previous.text }}"}),
        ],
        iterations=2,
    ),
    ProcessStep(
        id="process",
        type="process",
        operations=[
            ProcessOperation(agent="Writer", operation="files.write", failure_action=GoTo(go_to="hand")),
            ProcessOperation(agent="Writer", operation="wait", condition="inputs.slow", failure_action="continue"),
        ],
    ),
    VersusStep(
        id="versus",
        type="versus",
        agents=["Reader:text.stats", "Writer:text.stats"],
        judge="Writer:text.stats",
        judge_parameters={"text": "{{ candidates }}"},
        evaluation_criteria=["shorter"],
    ),
    HandoffStep(
        id="hand",
        type="handoff",
        agent="Reader",
        operation="files.list",
        handoff_conditions=[Handoff(condition="output.count > 100", agent="Writer", operation="text.stats")],
        completion_action=CompletionAction(agent="Writer", operation="files.write"),
        next="end",
    ),
]
SPEC: dict[str, Any] = {
    "name": "Source report",
    "description": "What stands in a source tree.",
    "tags": ["docs", "code"],
    "inputs": {
        "path": InputSpec(type=InputType.STRING, description="Where to look.", default="."),
        "depth": InputSpec(type=InputType.INTEGER, required=True, min=1, max=9, choices=[1, 3, 9]),
    },
    "agents": ["Reader", "Writer"],
}
PLAYBOOK = Playbook(id=PlaybookId("pb_1"), steps=[*STEPS], **SPEC, **STORED)
AGENT = Agent(
    id=AgentId("agt_1"),
    name="Reader",
    type="worker",
    description="Reads.",
    instructions="Read all of it.",
    tools=["files.list"],
    state="ready",
    **STORED,
)
TOOL = Tool(
    id=ToolId("tol_1"),
    name="todos",
    kind="installed",
    description="Finds TODO comments.",
    parameters={"type": "object", "properties": {"path": {"type": "string"}}},
    defaults={"markers": ["TODO"]},
    implementation="source.todos",
    timeout_seconds=60,
    **STORED,
)
RUN = Run(
    id=RunId("run_1"),
    playbook_id=PlaybookId("pb_1"),
    playbook_name="Source report",
    playbook_version=2,
    status="running",
    wish="pause",
    inputs={"path": "."},
    steps_total=7,
    steps_finished=3,
    retry_of=RunId("run_0"),
    started_at=T0,
    **STORED,
)
STEP = RunStep(
    id=StepId("read"),
    type="standard",
    status="failed",
    attempt=2,
    error=Failure(code="timeout", message="not done after 30 s"),
    started_at=T0,
    ended_at=T1,
)
TASK = Task(
    id=TaskId("tsk_1"),
    agent_id=AgentId("agt_1"),
    agent="Reader",
    operation="files.list",
    parameters={"path": "."},
    status="completed",
    output={"count": 3},
    run_id=RunId("run_1"),
    step_id=StepId("read"),
    started_at=T0,
    ended_at=T1,
    timeout_seconds=30,
    **STORED,
)
ARTIFACT = Artifact(
    name="reports/report.md",
    media_type="text/markdown",
    size_bytes=812,
    sha256="ab" * 32,
    created_at=T1,
    step_id=StepId("read"),
)
KEY: dict[str, Any] = {
    "id": ApiKeyId("key_1"),
    "name": "laptop",
    "scope": "read",
    "hint": "pk_ab12",
    "created_at": T0,
    "expires_at": T1,
}
WHERE: dict[str, Any] = {"seq": 7, "id": EventId("evt_7"), "time": T1}

EVENTS: list[ev.Event[Any]] = [
    ev.RunCreated(type="run.created", data=ev.RunData(run=RUN), **WHERE),
    ev.RunStarted(type="run.started", data=ev.RunData(run=RUN), **WHERE),
    ev.RunChanged(type="run.changed", data=ev.RunData(run=RUN), **WHERE),
    ev.RunPaused(type="run.paused", data=ev.RunData(run=RUN), **WHERE),
    ev.RunResumed(type="run.resumed", data=ev.RunData(run=RUN), **WHERE),
    ev.RunCompleted(type="run.completed", data=ev.RunData(run=RUN), terminal=True, **WHERE),
    ev.RunFailed(type="run.failed", data=ev.RunData(run=RUN), terminal=True, **WHERE),
    ev.RunCancelled(type="run.cancelled", data=ev.RunData(run=RUN), terminal=True, **WHERE),
    ev.RunDeleted(type="run.deleted", data=ev.RunDeletedData(run_id=RUN.id), **WHERE),
    ev.RunStepStarted(type="run.step.started", data=ev.RunStepData(run_id=RUN.id, step=STEP), **WHERE),
    ev.RunStepFinished(type="run.step.finished", data=ev.RunStepData(run_id=RUN.id, step=STEP), **WHERE),
    ev.RunLog(
        type="run.log",
        data=ev.RunLogData(
            run_id=RUN.id, level="warning", message="one file is not UTF-8", step_id=STEP.id, task_id=TASK.id
        ),
        **WHERE,
    ),
    ev.RunArtifactCreated(
        type="run.artifact.created", data=ev.RunArtifactData(run_id=RUN.id, artifact=ARTIFACT), **WHERE
    ),
    ev.TaskCreated(type="task.created", data=ev.TaskData(task=TASK), **WHERE),
    ev.TaskStarted(type="task.started", data=ev.TaskData(task=TASK), **WHERE),
    ev.TaskChanged(type="task.changed", data=ev.TaskData(task=TASK), **WHERE),
    ev.TaskProgress(
        type="task.progress",
        data=ev.TaskProgressData(task_id=TASK.id, run_id=RUN.id, step_id=STEP.id, done=3.0, total=9.0, message="c.py"),
        **WHERE,
    ),
    ev.TaskOutputDelta(
        type="task.output.delta",
        data=ev.TaskOutputDeltaData(
            task_id=TASK.id, run_id=RUN.id, step_id=STEP.id, round=1, offset=7, text="It is so."
        ),
        **WHERE,
    ),
    ev.TaskCompleted(type="task.completed", data=ev.TaskData(task=TASK), **WHERE),
    ev.TaskFailed(type="task.failed", data=ev.TaskData(task=TASK), **WHERE),
    ev.TaskCancelled(type="task.cancelled", data=ev.TaskData(task=TASK), **WHERE),
    ev.TaskDeleted(type="task.deleted", data=ev.TaskDeletedData(task_id=TASK.id), **WHERE),
    ev.PlaybookCreated(type="playbook.created", data=ev.PlaybookData(playbook=PLAYBOOK), **WHERE),
    ev.PlaybookChanged(type="playbook.changed", data=ev.PlaybookData(playbook=PLAYBOOK), **WHERE),
    ev.PlaybookDeleted(type="playbook.deleted", data=ev.PlaybookDeletedData(playbook_id=PLAYBOOK.id), **WHERE),
    ev.AgentCreated(type="agent.created", data=ev.AgentData(agent=AGENT), **WHERE),
    ev.AgentChanged(type="agent.changed", data=ev.AgentData(agent=AGENT), **WHERE),
    ev.AgentDeleted(type="agent.deleted", data=ev.AgentDeletedData(agent_id=AGENT.id), **WHERE),
    ev.ToolCreated(type="tool.created", data=ev.ToolData(tool=TOOL), **WHERE),
    ev.ToolChanged(type="tool.changed", data=ev.ToolData(tool=TOOL), **WHERE),
    ev.ToolDeleted(type="tool.deleted", data=ev.ToolDeletedData(tool_id=TOOL.id), **WHERE),
]

CURSOR = frames.WireCursor(epoch="e1", seq=118)

MODELS: dict[str, tuple[Any, Any]] = {
    "playbook_spec": (PlaybookSpec, PlaybookSpec(steps=STEPS, **SPEC)),
    "playbook": (Playbook, PLAYBOOK),
    "playbook_of_the_future": (
        Playbook,
        Playbook(
            id=PlaybookId("pb_2"),
            steps=[UnknownStep(id="x", type="quantum", raw={"id": "x", "type": "quantum", "qubits": 3})],
            **SPEC,
            **STORED,
        ),
    ),
    "playbook_validation": (
        PlaybookValidation,
        PlaybookValidation(
            valid=False,
            errors=[
                FieldProblem(
                    loc=["body", "steps", 0, "agent"],
                    msg="no agent has this name",
                    type="unknown_agent",
                    line=7,
                    column=12,
                    suggestion="Reader",
                )
            ],
        ),
    ),
    "run_request": (RunRequest, RunRequest(inputs={"path": "."})),
    "run": (Run, RUN),
    "run_step": (RunStep, STEP),
    "log_line": (LogLine, LogLine(seq=5, at=T1, level="info", message="read 12 files", step_id=STEP.id)),
    "artifact": (Artifact, ARTIFACT),
    "agent_spec": (AgentSpec, AgentSpec(name="Reader", tools=["files.list"])),
    "agent": (Agent, AGENT),
    "task_spec": (
        TaskSpec,
        TaskSpec(agent="Reader", operation="files.list", parameters={"path": "."}, timeout_seconds=9),
    ),
    "task": (Task, TASK),
    "tool_spec": (
        ToolSpec,
        ToolSpec(
            name="mine",
            kind=ToolKind.HTTP,
            url="https://tools.example/run",
            secret_headers={"X-Secret": SecretStr("s3")},
        ),
    ),
    "tool": (Tool, TOOL),
    "tool_health": (ToolHealth, ToolHealth(healthy=True, checked_at=T1, latency_ms=1.5)),
    "tool_call": (ToolCall, ToolCall(parameters={"path": "."}, wait_seconds=2)),
    "tool_result": (ToolResult, ToolResult(finished=True, output=[1, 2], task_id=TASK.id)),
    "token_pair": (TokenPair, TokenPair(access_token="a.b.c", expires_in=900, refresh_token="r")),
    "me": (Me, Me(id=UserId("usr_1"), username="admin", scope="full", credential="api_key")),
    "api_key": (ApiKey, ApiKey(**KEY)),
    "new_api_key": (NewApiKey, NewApiKey(secret="pk_ab12cd34", **KEY)),
    "health": (Health, Health(status="ok", version="0.1.0", checks={"database": "ok"})),
    "page": (Page[Agent], Page[Agent](items=[AGENT], next_cursor="c1")),
    "problem": (
        Problem,
        Problem(
            title="Not Found",
            status=404,
            detail="no playbook has this id",
            instance="/api/v1/playbooks/x",
            code="playbook_not_found",
            request_id="7f3a",
        ),
    ),
    "frame_hello": (frames.Hello, frames.Hello(client="playcall/0.1", token="t")),
    "frame_subscribe": (
        frames.Subscribe,
        frames.Subscribe(id=7, sid="s1", topic="run:42", types=["task.*"], from_=CURSOR, limit=256),
    ),
    "frame_subscribe_head": (frames.Subscribe, frames.Subscribe(id=8, sid="s2", topic="tasks", from_="head", limit=1)),
    "frame_credit": (frames.Credit, frames.Credit(sid="s1", limit=640)),
    "frame_unsubscribe": (frames.Unsubscribe, frames.Unsubscribe(id=8, sid="s1")),
    "frame_auth": (frames.AuthFrame, frames.AuthFrame(id=9, token="t")),
    "frame_ping": (frames.Ping, frames.Ping(n=3, at={"s1": 203})),
    "frame_pong": (frames.Pong, frames.Pong(n=3)),
    "frame_welcome": (
        frames.Welcome,
        frames.Welcome(
            connection_id="c1", heartbeat_seconds=15, max_frame_bytes=1_048_576, token_expires_in_seconds=900
        ),
    ),
    "frame_subscribed": (frames.Subscribed, frames.Subscribed(id=7, sid="s1", epoch="e1", seq=118, head=203)),
    "frame_events": (frames.Events, frames.Events(sid="s1", prev=6, to=9, events=[EVENTS[0]])),
    "frame_gap": (
        frames.Gap,
        frames.Gap(sid="s1", reason="epoch", lost_after=CURSOR, resume=frames.WireCursor(epoch="e2", seq=300)),
    ),
    "frame_ended": (frames.Ended, frames.Ended(sid="s1", reason="finished")),
    "frame_unsubscribed": (frames.Unsubscribed, frames.Unsubscribed(id=8, sid="s1")),
    "frame_authenticated": (frames.Authenticated, frames.Authenticated(id=9, token_expires_in_seconds=900)),
    "frame_error": (frames.ErrorFrame, frames.ErrorFrame(id=7, sid="s1", code="forbidden", message="no such topic")),
    "frame_goodbye": (frames.Goodbye, frames.Goodbye(reason="draining", spread_ms=8000)),
    **{f"event_{each.type.replace('.', '_')}": (type(each), each) for each in EVENTS},
}
