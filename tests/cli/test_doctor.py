"""`playcall doctor`, against a real backend, and against what may stand in the way."""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from playcall import ApiKey, AsyncPlaycall, BaseAPIClient, BearerToken
from playcall.cli.doctor_checks import examine
from playcall.cli.doctor_contract import Drift
from playcall.cli.doctor_findings import Diagnosis, Finding
from playcall.cli.doctor_view import show
from playcall.cli.profiles import Profile, Profiles, save
from playcall.models.frames import SUBPROTOCOL
from playcall.testing import FaultProxy, LiveBackend
from tests.cli.meddler import Meddler

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBackend]:
    password = tmp_path_factory.mktemp("password") / "password"
    password.write_text(PASSWORD)
    with LiveBackend(options=[f"--admin-password-file={password}"]) as running:
        yield running


def command(*arguments: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PLAYCALL_") or name == "PLAYCALL_CONFIG"  # an empty one, of the test's own
    }
    environment |= {"COLUMNS": "160"} if key is None else {"COLUMNS": "160", "PLAYCALL_API_KEY": key}
    return subprocess.run(
        [sys.executable, "-m", "playcall", "doctor", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def found(diagnosis: Diagnosis, check: str) -> Finding:
    (finding,) = [each for each in diagnosis.findings if each.check == check]
    return finding


def problems(diagnosis: Diagnosis) -> list[str]:
    return [finding.check for finding in diagnosis.findings if finding.verdict == "problem"]


def test_a_backend_that_is_well_has_no_problem_and_the_command_ends_with_0(backend: LiveBackend) -> None:
    done = command(backend.url, "--json", key=backend.api_key)
    told = json.loads(done.stdout)
    assert (done.returncode, told["well"], done.stderr) == (0, True, "")
    assert {each["verdict"] for each in told["findings"]} == {"good"}, told
    assert [each["check"] for each in told["findings"]] == [
        *("address", "proxy", "TLS", "backend", "ready", "credentials", "latency", "keep-alive", "request id"),
        *("deadline", "clock", "WebSocket", "long poll", "resume", "contract"),
    ]
    assert not [drift for drift in told["drifts"] if drift["matters"]]


def test_problems_come_first_and_the_command_ends_with_1(backend: LiveBackend) -> None:
    done = command(backend.url, key="pk_nobodys")
    lines = [line.split()[:2] for line in done.stdout.splitlines() if line.strip()]
    assert done.returncode == 1
    assert lines[3] == ["credentials", "problem"], done.stdout
    assert "pk_nobodys" not in done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("1 problem")


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("--timeout", "0"), ("--ca", "/nowhere/ca.pem", "https://x.example")]
)
def test_a_command_that_makes_no_sense_ends_with_2(arguments: tuple[str, ...]) -> None:
    assert command(*arguments).returncode == 2


async def test_a_port_where_nobody_listens_is_the_one_problem() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        diagnosis = await examine(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert problems(diagnosis) == ["address"]
    assert found(diagnosis, "contract").verdict == "skipped"


async def test_a_name_without_an_address_is_said() -> None:
    diagnosis = await examine("http://nobody.invalid", seconds=5)
    assert problems(diagnosis) == ["address"]
    assert "nobody.invalid" in found(diagnosis, "address").figure


async def test_credentials_are_told_with_their_scope_and_end(backend: LiveBackend) -> None:
    async with AsyncPlaycall(backend.url, auth=ApiKey(backend.api_key)) as client:
        spec = {"name": "short", "scope": "read", "expires_in_seconds": 3_600}
        key = await client.account.create_api_key(spec)
    by_key = found(await examine(backend.url, auth=ApiKey(key.secret)), "credentials")
    assert (by_key.verdict, by_key.advice) == ("note", "make another key in time")
    assert by_key.figure.startswith(f"admin, scope read, by api key, until {key.expires_at:%Y-%m-%d %H:%M}")
    async with BaseAPIClient(f"{backend.url}/api/v1") as api:
        form = {"grant_type": "password", "username": "admin", "password": PASSWORD}
        pair = await api.post(
            "/auth/token", content=urlencode(form).encode(), content_type="application/x-www-form-urlencoded"
        )
    by_token = found(await examine(backend.url, auth=BearerToken(pair["access_token"])), "credentials")
    assert by_token.verdict == "good"
    assert re.fullmatch(r"admin, scope full, by token, until \d{4}-\d\d-\d\d \d\d:\d\d UTC", by_token.figure)


async def test_a_server_that_is_not_ours_is_said_to_be_none() -> None:
    with Meddler("http://127.0.0.1:9").running() as url:  # it breaks each answer off
        broken = await examine(url, seconds=5)
    assert problems(broken) == ["backend"]
    with _plain_server(b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 2\r\n\r\nno") as url:
        other = await examine(url, seconds=5)
    assert "this is not a playcall backend: GET /api/v1/health answered 404 (nginx)" in found(other, "backend").figure


async def test_a_backend_that_falls_silent_costs_each_check_its_time_and_no_more(backend: LiveBackend) -> None:
    with FaultProxy(backend.url) as proxy:
        proxy.half_open()
        diagnosis = await examine(proxy.url, auth=ApiKey(backend.api_key), seconds=0.3)
    assert problems(diagnosis) == ["backend"]
    assert found(diagnosis, "backend").figure == "no answer within 0.3 s"


async def test_a_proxy_that_blocks_upgrades_leaves_the_long_poll(backend: LiveBackend) -> None:
    meddler = Meddler(backend.url)
    with meddler.running() as url:
        diagnosis = await examine(url, auth=ApiKey(backend.api_key))
    assert problems(diagnosis) == ["WebSocket"]
    assert "426" in found(diagnosis, "WebSocket").figure
    assert found(diagnosis, "long poll").verdict == "good"
    assert found(diagnosis, "resume").verdict == "skipped"
    assert meddler.methods == {"GET"}, "nothing is written at the far end"


async def test_a_proxy_that_the_environment_names_is_named_and_gone_through(
    backend: LiveBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddler = Meddler(backend.url)
    with meddler.running() as url:
        monkeypatch.setenv("HTTP_PROXY", url.replace("//", "//me:secret@"))
        diagnosis = await examine("http://backend.example", auth=ApiKey(backend.api_key))
    assert (found(diagnosis, "proxy").verdict, found(diagnosis, "proxy").figure) == (
        "note",
        f"{url}, from the environment",
    )
    assert found(diagnosis, "address").figure.startswith("the proxy's IPv4 127.0.0.1 in ")
    assert problems(diagnosis) == ["WebSocket"]
    assert meddler.hosts == {"backend.example"}


async def test_an_address_of_version_6_is_one() -> None:
    diagnosis = await examine("http://[::1]:9", seconds=5)
    assert found(diagnosis, "address").figure.startswith("IPv6 ::1 ")


async def test_headers_that_a_proxy_takes_away_are_missed(backend: LiveBackend) -> None:
    with Meddler(backend.url, takes_away={"x-request-id", "x-request-timeout-ms"}).running() as url:
        diagnosis = await examine(url, auth=ApiKey(backend.api_key))
    assert found(diagnosis, "request id").verdict == "note"
    assert found(diagnosis, "deadline").figure == "is not heard: 200 in place of 504"


ODD_ANSWERS = (
    [1],
    "text",
    {"version": "1", "checks": [1], "items": [1], "frames": {}, "paths": [1]},
    {"paths": {"/a": {"get": {"responses": 3, "parameters": {"a": 1}}}}},
    {"items": [{"hint": "pk", "expires_at": "soon"}]},
)


@pytest.mark.parametrize(
    ("odd", "frame"),
    [
        *((odd, "[]") for odd in ODD_ANSWERS),
        *(({}, frame) for frame in ("no JSON", '{"op": "subscribed"}', '{"op": "gap"}', '{"op": "pong"}')),
    ],
)
async def test_an_answer_that_makes_no_sense_is_a_finding(odd: Any, frame: str) -> None:
    async with _stranger(odd, frame) as url:
        diagnosis = await examine(url, auth=ApiKey("pk_1"), seconds=30)
    assert len(diagnosis.findings) == 15, "each check has found something"
    assert "WebSocket" in problems(diagnosis) or "resume" in problems(diagnosis)


async def test_what_makes_no_sense_is_told_with_where_and_what_to_try() -> None:
    async with _stranger({"items": [1]}, "[]") as url:
        diagnosis = await examine(url, auth=ApiKey("pk_1"), seconds=30)
    keys, events = found(diagnosis, "credentials"), found(diagnosis, "WebSocket")
    assert keys.figure.startswith("GET /api/v1/auth/api-keys: its answer makes no sense (AttributeError")
    assert events.figure.startswith("WebSocket /api/v1/ws: its answer makes no sense (AttributeError")
    assert keys.advice == "is this a backend of ours, or does a proxy change what it says?"


async def test_a_token_that_has_no_end_in_time_is_a_finding() -> None:
    for exp in ("NaN", "1e300", "Infinity"):
        payload = base64.urlsafe_b64encode(f'{{"exp": {exp}}}'.encode()).decode().rstrip("=")
        async with _stranger({}, "[]") as url:
            diagnosis = await examine(url, auth=BearerToken(f"a.{payload}.c"), seconds=30)
        assert "makes no sense" in found(diagnosis, "credentials").figure


def test_a_server_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x9b1m[red]evil"
    drift = Drift(evil, evil, evil, matters=True, used_by=(evil,))
    show(
        Diagnosis(
            "http://[fd00::1]:8000", [Finding(evil, "problem", evil, evil)], [drift, replace(drift, matters=False)]
        ),
        Console(file=sys.stdout, width=300),
    )
    shown = capsys.readouterr().out
    assert shown.count("?[2J?1m[red]evil") == 10
    assert not {"\x1b", "\x9b"} & set(shown)
    assert "http://[fd00::1]:8000" in shown, "which is no markup"


def test_a_profile_says_where_and_as_whom(backend: LiveBackend) -> None:
    save(
        Profiles({"home": Profile(backend.url, backend.api_key), "away": Profile("http://127.0.0.1:1", "pk_1")}, "away")
    )
    by_name, current = command("--json", "--profile", "home"), command("--json")
    assert (by_name.returncode, json.loads(by_name.stdout)["url"]) == (0, backend.url)
    assert (current.returncode, json.loads(current.stdout)["url"]) == (1, "http://127.0.0.1:1")
    assert "is not sent to" in command("http://other.example", "--profile", "home").stderr


async def test_a_clock_that_is_off_is_told_with_how_much(backend: LiveBackend) -> None:
    late = formatdate(time.time() - 3_600, usegmt=True)
    with Meddler(backend.url, headers={"date": late}).running() as url:
        diagnosis = await examine(url, auth=ApiKey(backend.api_key))
    assert "clock" in problems(diagnosis)
    seconds = re.search(r"the server's is (\S+) s behind", found(diagnosis, "clock").figure)
    assert seconds is not None
    assert 3_590 <= int(seconds[1].replace(",", "")) <= 3_660


async def test_a_document_that_has_drifted_is_told_by_operation_and_field(backend: LiveBackend) -> None:
    def drift(document: Any) -> None:
        del document["paths"]["/api/v1/runs/{run_id}/retry"]
        schemas = document["components"]["schemas"]
        del schemas["Run"]["properties"]["steps_total"]
        schemas["Agent"]["properties"]["name"] = {"type": "integer"}
        schemas["TaskSpec"]["properties"]["priority"] = {"type": "integer"}
        schemas["TaskSpec"]["required"].append("priority")
        schemas["RunStatus"]["enum"].append("dreaming")
        document["paths"]["/api/v1/dreams"] = {"get": {"responses": {}}}

    with Meddler(backend.url, drift).running() as url:
        diagnosis = await examine(url, auth=ApiKey(backend.api_key))
    told = {(each.operation, each.where, each.what, each.matters) for each in diagnosis.drifts}
    assert {
        ("POST /api/v1/runs/{run_id}/retry", "", "is missing there", True),
        ("GET /api/v1/runs/{run_id}", "answer steps_total", "is not given there", True),
        ("GET /api/v1/agents", "answer items[].name", "is integer there; integer cannot be read", True),
        ("POST /api/v1/tasks", "body priority", "is new there, and required", True),
        ("GET /api/v1/runs/{run_id}", "answer status", "the value dreaming is not known to this client", False),
        ("GET /api/v1/dreams", "", "is there, and this client does not call it", False),
    } <= told
    assert "contract" in problems(diagnosis)
    (missing,) = [each for each in diagnosis.drifts if each.what == "is missing there"]
    assert missing.used_by == ("runs.retry",)


@pytest.mark.parametrize(
    ("days", "name", "verdict", "figure"),
    [
        (90, "127.0.0.1", "good", "TLSv1.3, for 127.0.0.1, 89 days left"),
        (3, "127.0.0.1", "note", "TLSv1.3, for 127.0.0.1, 2 days left"),
        (-1, "127.0.0.1", "problem", "the certificate is refused: certificate has expired"),
        (90, "other.example", "problem", "the certificate is refused: IP address mismatch"),
    ],
)
async def test_a_certificate_is_looked_at(tmp_path: Path, days: int, name: str, verdict: str, figure: str) -> None:
    authority = trustme.CA()
    now = datetime.datetime.now(datetime.UTC)
    issued = authority.issue_cert(
        name, not_before=now - datetime.timedelta(days=10), not_after=now + datetime.timedelta(days=days)
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with _plain_server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", issued) as url:
        diagnosis = await examine(url, context=context, seconds=5)
    shown = found(diagnosis, "TLS")
    assert (shown.verdict, figure in shown.figure) == (verdict, True), shown
    assert ("backend" in problems(diagnosis)) == (verdict != "problem")


@asynccontextmanager
async def _stranger(answer: Any, frame: str) -> AsyncIterator[str]:
    """Says on `/health` that it is one of ours, `answer` to all else, and `frame` after the welcome on each socket."""

    async def answered(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/health"):
            return web.json_response({"version": "1"}, headers={"Date": f"Fri, 27 Nov {10**30} 09:00:00 GMT"})
        if not request.path.endswith("/ws"):
            return web.json_response(answer)
        events = web.WebSocketResponse(protocols=[SUBPROTOCOL])
        await events.prepare(request)
        await events.receive()
        await events.send_str('{"op": "welcome"}')
        await events.send_str(frame)
        await events.receive()
        await events.close()
        return events

    application = web.Application()
    application.router.add_get("/{path:.*}", answered)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


class _plain_server:
    """Answers everything with the same bytes, over TLS where it has a certificate."""

    def __init__(self, answer: bytes, certificate: trustme.LeafCert | None = None) -> None:
        self._answer = answer
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> str:
        self._thread.start()
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                connection.settimeout(5)
                held = connection if self._context is None else self._context.wrap_socket(connection, server_side=True)
                if held.recv(65_536):
                    held.sendall(self._answer)
                held.close()
            except OSError:
                connection.close()
