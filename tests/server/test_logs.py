"""A record is one line, tells whose it is, and holds no secret and no line of anybody else's making."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playcall.server.engine.work import WorkList
from playcall.server.telemetry.logs import formatter

from .conftest import Api


class Lines(logging.Handler):
    """What would have been written."""

    def __init__(self, format: Any) -> None:
        super().__init__()
        self.setFormatter(formatter(format))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def requests(self) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.lines) if line["event"] in ("request", "socket")]


def written(format: Any, message: str, *, name: str = "playcall.server", exc: bool = False, **extra: Any) -> str:
    handler, logger = Lines(format), logging.getLogger(f"{name}.test")
    logger.addHandler(handler)
    logger.propagate = False  # what pytest captures travels in UTF-8 between its processes
    try:
        logger.warning(message, extra=extra, exc_info=exc)
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
    return handler.lines[0]


@pytest.fixture
def access() -> Iterator[Lines]:
    handler, logger = Lines("json"), logging.getLogger("playcall.server")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


def test_json_has_the_event_and_every_extra() -> None:
    line = json.loads(
        written("json", "new_epoch (it was asked for)", epoch="e1", count=3, path=Path("/x"), level="mine")
    )
    assert (line["event"], line["message"], line["level"]) == ("new_epoch", "(it was asked for)", "warning")
    assert (line["epoch"], line["count"], line["path"], line["level_"]) == ("e1", 3, "/x", "mine")
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-01-01T00:00:00.000Z")
    assert json.loads(written("json", "a sentence of theirs", name="uvicorn"))["message"] == "a sentence of theirs"


def test_a_traceback_is_one_field() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        line = written("json", "broke", exc=True)
    assert "\n" not in line
    assert "ValueError: first\nsecond" in json.loads(line)["exception"]


@pytest.mark.parametrize(
    "forged", ["a\n2026 ERROR x", "a\r\nb", "a\u2028b", "a\x1b[2Jb", "a\x85b", "a\ud800b"], ids=ascii
)
@pytest.mark.parametrize("format", ["text", "json"])
def test_what_users_write_makes_no_line_of_its_own(format: str, forged: str) -> None:
    for line in (written(format, forged), written(format, "event", name_given=forged)):
        assert len(line.splitlines()) == 1
        line.encode()
        assert "\x1b" not in line


def test_a_traceback_in_text_cannot_pass_for_records() -> None:
    try:
        raise ValueError("x\n2026-01-01T00:00:00.000Z ERROR [1] playcall forged")
    except ValueError:
        _, *trace = written("text", "broke", exc=True).splitlines()
    assert trace
    assert all(line.startswith("    ") for line in trace)


KEY = "pk_" + "k" * 43
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {TOKEN}", f"{{'authorization': 'Bearer {TOKEN}'}}", f"X-API-Key: {KEY}", f"key {KEY} is odd",
        f"[(b'x-api-key', b'{KEY}')]", "postgresql://user:s3cretpass@host/db", "grant_type=password&password=s3cretpass&x=1",
        f"refresh_token=rt_{TOKEN}", '{"password": "s3cretpass"}', "Authorization: Basic dXNlcjpzM2NyZXRwYXNz",
    ],
)  # fmt: skip
@pytest.mark.parametrize("format", ["text", "json"])
def test_secrets_are_left_out_wherever_they_come(format: str, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        lines = [written(format, text), written(format, "e", detail=text), written(format, "e", exc=True)]
    lines += [written(format, "e", headers=[text]), written(format, "e", about={"nested": text})]
    for line in lines:
        for secret in (KEY, TOKEN, "s3cretpass", "dXNlcjpzM2NyZXRwYXNz", "c2lnbmF0dXJl"):
            assert secret not in line
        assert "[redacted]" in line


def test_what_is_named_a_secret_is_one() -> None:
    assert "xyz" not in written("json", "e", api_key="xyz", new_password="xyz")
    assert json.loads(written("json", "e", input_tokens=3))["input_tokens"] == 3, "a number is none"


def test_ordinary_words_stay() -> None:
    text = "the token of the run ended; see https://example.test/a?b=c"
    assert json.loads(written("json", "e", detail=text))["detail"] == text


def test_what_a_run_logs_names_the_run() -> None:
    with WorkList().entry("run_1", 1):
        assert json.loads(written("json", "e"))["work"] == "run_1"
    assert "work" not in json.loads(written("json", "e"))


async def test_each_request_is_one_line_with_its_id_its_caller_and_no_name(api: Api, access: Lines) -> None:
    await api.ok("GET", "/auth/me", headers={"X-Request-ID": "mine-1"})
    await api("GET", "/runs/run_1?secret=x", headers={"X-API-Key": "pk_" + "x" * 43, "X-Request-ID": "mine-2"})
    while len(access.requests()) < 2:  # they are noted once the answers are on their way
        await asyncio.sleep(0.001)
    first, second = access.requests()[-2:]
    assert first["logger"] == "playcall.server.access"
    assert (first["request_id"], first["caller"], first["level"]) == ("mine-1", api.user.id, "info")
    assert (first["method"], first["route"], first["status"]) == ("GET", "/auth/me", 200)
    assert 0 <= first["seconds"] < 60
    assert (second["request_id"], second["status"], second["route"]) == ("mine-2", 401, "/runs/{run_id}")
    assert "caller" not in second
    assert not [line for line in access.lines if api.user.key in line or api.user.name in line or "secret" in line]


async def test_a_fault_is_a_warning_and_what_it_logs_has_the_same_id(
    api: Api, access: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("by a test")

    monkeypatch.setattr(type(api.server.core.database), "read", broken)
    answer = await api("GET", "/agents", headers={"X-Request-ID": "mine-3"})
    monkeypatch.undo()
    assert answer.status == 500
    while not any(line["request_id"] == "mine-3" for line in access.requests()):  # noted once the answer is on its way
        await asyncio.sleep(0.001)
    told = [line for line in map(json.loads, access.lines) if line.get("request_id") == "mine-3"]
    assert [(line["event"], line["level"]) for line in told] == [("internal_error", "error"), ("request", "warning")]
    assert "by a test" in told[0]["exception"]


async def test_a_socket_is_one_line_when_it_is_over(api: Api, access: Lines) -> None:
    async with api.session.ws_connect(
        f"{api.server.url}/api/v1/ws", headers=api.headers, protocols=["playcall.v1"]
    ) as socket:
        await socket.send_json({"op": "hello", "v": 1, "client": "test"})
        await socket.receive_json()
        assert "socket" not in [line["event"] for line in access.requests()]
    while "socket" not in [line["event"] for line in access.requests()]:
        await api.ok("GET", "/auth/me")
    line = next(line for line in access.requests() if line["event"] == "socket")
    assert (line["status"], line["method"], line["caller"]) == (101, "WEBSOCKET", api.user.id)
