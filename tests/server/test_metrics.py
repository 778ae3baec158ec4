"""What is counted is what happened; whoever has the token reads it, nobody else, and without one nothing is counted."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from playcall.server.log import NewEvent, TopicEntry
from playcall.server.settings import Settings
from playcall.server.telemetry import metrics
from playcall.testing import LiveBackend
from tests.postgresql import PostgreSQL

from .conftest import Api, RunningServer

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sqlite: None) -> Iterator[RunningServer]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("metrics"),
        port=0,
        metrics_token=TOKEN,
        requests_per_second=20,
        request_burst=40,
    )
    with RunningServer(settings) as running:
        yield running
    assert not metrics.is_on()


async def read(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    async with api.session.get(f"{api.server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return values(await answer.text())


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Any, name: str, **labels: str) -> float:
    value: float = found.get((f"playcall_{name}", tuple(sorted(labels.items()))), 0.0)
    return value


async def test_requests_are_counted_by_template_and_never_by_what_was_typed(api: Api) -> None:
    before = await read(api)
    await api.ok("POST", "/agents", json={"name": "A"})
    for number in range(3):
        assert (await api("GET", f"/agents/agt_{number}")).status == 404
        assert (await api("GET", f"/nowhere/{number}")).status == 404
    after = await read(api)

    def more(name: str, **labels: str) -> float:
        return of(after, name, **labels) - of(before, name, **labels)

    assert more("http_requests_total", method="POST", route="/agents", status="201") == 1
    assert more("http_requests_total", method="GET", route="/agents/{agent_id}", status="404") == 3
    assert more("http_requests_total", method="GET", route="none", status="404") == 3
    assert more("http_request_seconds_count", method="GET", route="/agents/{agent_id}") == 3
    assert (
        more("events_appended_total", type="agent.created") + more("events_appended_total", type="agent.changed") == 1
    )
    assert more("write_turn_wait_seconds_count") >= 1
    assert of(after, "http_requests_in_flight") == 1, "this very one"
    assert of(after, "data_free_bytes") > 0
    assert of(after, "runs", status="queued") == 0
    assert of(after, "database_connections_in_use", pool="reader") >= 0
    assert not [name for name, labels in after if "nowhere" in str(labels) or "agt_" in str(labels)]


async def test_sockets_and_what_is_sent_on_them_are_counted(api: Api) -> None:
    before = await read(api)
    async with api.session.ws_connect(
        f"{api.server.url}/api/v1/ws", headers=api.headers, protocols=["playcall.v1"]
    ) as socket:
        await socket.send_json({"op": "hello", "v": 1, "client": "test"})
        await socket.receive_json()
        for sid, start in (("s", "start"), ("g", {"epoch": "another", "seq": 3})):
            await socket.send_json(
                {"op": "subscribe", "id": 1, "sid": sid, "topic": "agents", "from": start, "limit": 9}
            )
            await socket.receive_json()
        await api.ok("POST", "/agents", json={"name": "A"})
        assert (await socket.receive_json())["op"] == "events"
        during = await read(api)
        assert of(during, "sockets_open") == of(during, "subscriptions_open") == 1
        assert of(during, "events_sent_total") - of(before, "events_sent_total") == 1
        assert of(during, "frames_sent_total") - of(before, "frames_sent_total") == 4
        assert of(during, "gaps_sent_total", reason="epoch") - of(before, "gaps_sent_total", reason="epoch") == 1
        assert of(during, "wakes_total", by="commit") > of(before, "wakes_total", by="commit")
    await api.ok("GET", "/auth/me")
    assert of(await read(api), "sockets_open") == 0


async def test_wrong_passwords_and_too_many_requests_are_counted(api: Api) -> None:
    before = await read(api)
    form = {"grant_type": "password", "username": "nobody", "password": "x" * 12}
    assert (await api("POST", "/auth/token", data=form)).status == 400
    statuses = [(await api("GET", "/agents", headers={"X-API-Key": ""})).status for _ in range(60)]
    after = await read(api)
    assert of(after, "sign_in_failures_total") - of(before, "sign_in_failures_total") == 1
    refused = of(after, "rate_limited_total", who="address") - of(before, "rate_limited_total", who="address")
    assert refused == statuses.count(429) > 0


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer another"}, {"Authorization": "Bearer \u00fc"}])
async def test_only_the_token_opens_it(api: Api, headers: dict[str, str]) -> None:
    async with api.session.get(f"{api.server.url}/metrics", headers=headers) as answer:
        assert answer.status == 401
    async with api.session.get(f"{api.server.url}/metrics", headers=api.headers) as answer:
        assert answer.status == 401, "an API key is somebody's, and this tells of everybody"


async def test_without_a_token_there_is_no_such_page(tmp_path: Path, sqlite: None) -> None:
    with RunningServer(Settings(data_dir=tmp_path, port=0)) as running:
        async with aiohttp.ClientSession() as session, session.get(f"{running.url}/metrics") as answer:
            assert answer.status == 404


def test_nothing_is_counted_and_nothing_imported_until_somebody_wants_it() -> None:
    looked = subprocess.run(
        [sys.executable, "-c", "import sys, playcall.server.app; print('prometheus_client' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert looked.stdout.strip() == "False"
    metrics.REQUESTS.add("GET", "/", "200")
    metrics.turn_on()
    try:
        assert ("playcall_http_requests_total", ()) not in values(metrics.exposition()[0].decode())
    finally:
        metrics.turn_off()
    with pytest.raises(RuntimeError):
        metrics.exposition()


def test_how_runs_end_is_told_by_their_events() -> None:
    metrics.turn_on()
    try:
        for kind in ("run.completed", "task.failed", "run.log", "run.completed"):
            metrics.committed(NewEvent(owner_id="u", type=kind, data={}, topics=(TopicEntry("runs"),)))
        found = values(metrics.exposition()[0].decode())
    finally:
        metrics.turn_off()
    assert of(found, "runs_ended_total", status="completed") == 2
    assert of(found, "tasks_ended_total", status="failed") == 1
    assert of(found, "events_appended_total", type="run.log") == 1


COUNTING = """
import sys
from pathlib import Path
from playcall.server.telemetry import metrics
metrics.turn_on(Path(sys.argv[1]))
metrics.REQUESTS.add("GET", "/", "200")
metrics.SOCKETS.set(2)
if sys.argv[2:]:
    sys.stdout.write(metrics.exposition()[0].decode())
"""


def test_several_processes_are_added_up_and_the_dead_hold_nothing(tmp_path: Path) -> None:
    """What a dead one has counted has happened; what it held it holds no more."""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", COUNTING, tmp_path], check=True)
    told = subprocess.run(
        [sys.executable, "-c", COUNTING, tmp_path, "tell"], capture_output=True, text=True, check=True
    )
    found = values(told.stdout)
    assert of(found, "http_requests_total", method="GET", route="/", status="200") == 3
    assert of(found, "sockets_open") == 2


async def test_any_worker_tells_of_all_and_each_writes_lines_that_programs_read(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    options = [*("--workers=2", f"--metrics-token-file={tmp_path / 'token'}", "--log-level=info", "--log-format=json")]
    url = postgresql.new_database(migrated=False).replace("+asyncpg", "")
    backend = LiveBackend(tmp_path / "data", options=options, environment={"PLAYCALL_DATABASE_URL": url})
    await asyncio.to_thread(backend.start)
    try:
        for number in range(20):  # each on a connection of its own
            async with (
                aiohttp.ClientSession() as session,
                session.get(
                    f"{backend.url}/api/v1/auth/me",
                    headers={"X-API-Key": backend.api_key, "X-Request-ID": f"mine-{number}"},
                ) as answer,
            ):
                assert answer.status == 200
        async with asyncio.timeout(20), aiohttp.ClientSession() as session:
            counted = 0.0
            while counted < 20:  # a request is noted once its answer is on its way
                async with session.get(
                    f"{backend.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
                ) as answer:
                    found = values(await answer.text())
                counted = of(found, "http_requests_total", method="GET", route="/auth/me", status="200")
            assert counted == 20
            assert of(found, "engine_look_timestamp_seconds") > 0
    finally:
        await asyncio.to_thread(backend.stop)
    lines = [json.loads(line) for line in backend.log.splitlines() if line.startswith("{")]
    seen = {line["request_id"]: line["pid"] for line in lines if line.get("route") == "/auth/me"}
    assert set(seen) == {f"mine-{number}" for number in range(20)}
    await asyncio.to_thread(backend.close)


def test_every_metric_has_a_name_of_ours_that_says_what_it_is() -> None:
    for metric in metrics.METRICS:
        assert re.fullmatch(r"playcall_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == isinstance(metric, metrics.Counter), metric.name
        assert metric.help.endswith((".", "label."))
    assert len({metric.name for metric in metrics.METRICS}) == len(metrics.METRICS)
