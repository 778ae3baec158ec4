"""Hostile playbooks: each is refused, where it is stored or where it runs, by a name of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from playcall.server.engine import Engine
from playcall.server.settings import Settings
from playcall.server.tools import ToolFailure
from playcall.server.tools.templating import TemplateProblem, render_value

from ..conftest import Answer, Api, RunningServer
from .conftest import Bench

TOOLS = ["csv.profile", "files.list", "files.read", "files.write", "http.request", "template.render", "text.search"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read root whose owner left links in it."""
    folder = tmp_path_factory.mktemp("hostile")
    files = folder / "files"
    (files / "sub").mkdir(parents=True)
    (folder / "secret.txt").write_text("s3cret")
    (files / "out.txt").symlink_to(folder / "secret.txt")
    (files / "dangling").symlink_to(folder / "nobody")
    (files / "loop").symlink_to(files / "loop")
    (files / "sub" / "up").symlink_to(folder)
    return files


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[RunningServer]:
    settings = Settings(data_dir=root.parent / "data", port=0, read_roots=(root,))
    settings.data_dir.mkdir()
    with RunningServer(settings, engine=lambda database, s: Engine(database=database, settings=s)) as running:
        yield running


@pytest_asyncio.fixture
async def api(server: RunningServer) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        api = Api(server, session, await server.new_user())
        await api.agent("a", *TOOLS)
        yield api


def playbook(operation: str = "files.list", parameters: Any = None, **step: Any) -> dict[str, Any]:
    first = {"id": "s", "type": "standard", "agent": "a", "operation": operation, "parameters": parameters or {}}
    inputs = {"text": {"type": "string", "default": "x"}, "list": {"type": "list", "default": [1, 2]}}
    return {"name": "hostile", "agents": ["a"], "inputs": inputs, "steps": [{**first, **step}]}


# --- refused when it is stored -----------------------------------------------------------------------------------------


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


DOCUMENTS = {
    "billion laughs": laughs(9),
    "an alias of itself": "name: &x [*x]",
    "many aliases of a large text": "name: &x " + "y" * 100_000 + "\nsteps: [" + "*x, " * 5_000 + "]",
    "deep flow": "name: " + "[" * 100_000,
    "deep mappings": "\n".join(" " * n + "a:" for n in range(900)),
    "a tag that makes a Python value": "name: !!python/object/apply:os.system ['true']",
    "a merge": "a: &x {b: 1}\nc:\n  <<: *x",
    "several documents": "a: 1\n---\nb: 2",
    "NUL": "name: \0",
}

DEEP_JSON = '{"name": ' + "[" * 50_000 + "]" * 50_000 + "}"


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_a_hostile_document_is_refused_before_anything_is_made_of_it(api: Api, name: str) -> None:
    begun = time.monotonic()
    answer = await api(
        "POST", "/playbooks", data=DOCUMENTS[name].encode(), headers={"Content-Type": "application/yaml"}
    )
    refused(answer)
    assert time.monotonic() - begun < 30
    assert (await api.ok("GET", "/playbooks"))["items"] == []


async def test_deep_json_is_refused(api: Api) -> None:
    refused(await api("POST", "/playbooks", data=DEEP_JSON, headers={"Content-Type": "application/json"}))


def refused(answer: Answer) -> list[str]:
    assert answer.status in (400, 413, 422), answer
    assert "s3cret" not in str(answer.json)
    return [error["type"] for error in answer.json.get("errors", [])]


STORED = {
    "a template that includes": (playbook(parameters={"path": "{% include 'x' %}{{"}), "template_invalid"),
    "an unknown filter": (playbook(parameters={"path": "{{ inputs.text|attr('x') }}"}), "template_invalid"),
    "a format": (playbook(parameters={"path": "{{ '%99999999d'|format(1) }}"}), "template_invalid"),
    "markup": (playbook(parameters={"path": "{{ inputs.text|safe }}"}), "template_invalid"),
    "a name of Python's": (playbook(parameters={"path": "{{ __builtins__ }}"}), "name_unknown"),
    "a global of Jinja's": (playbook(parameters={"path": "{{ lipsum.__globals__.os }}"}), "name_unknown"),
    "another global of Jinja's": (playbook(parameters={"path": "{{ cycler.__init__.__globals__ }}"}), "name_unknown"),
    "a template that nests": (playbook(parameters={"path": "{% for a in [1] %}" * 99}), "template_invalid"),
    "a template without end": (playbook(parameters={"path": "{{ 1 }}" * 30_000}), "template_invalid"),
    "a call in a condition": (condition := lambda text: (
        playbook(next_conditions=[{"condition": text, "next": "end"}]), "condition_invalid"))("__import__('os')"),
    "an attribute in a condition": condition("().__class__.__bases__[0].__subclasses__()"),
    "a method in a condition": condition("inputs.text.format(1)"),
    "a loop in a condition": condition("[x for x in inputs.list]"),
    "a lambda in a condition": condition("(lambda: 1)()"),
    "a power in a condition": condition("9 ** 9 ** 9"),
    "a shift in a condition": condition("1 << 99999999"),
    "an f-string in a condition": condition("f'{inputs}'"),
    "a deep condition": condition("(" * 3_000 + "1" + ")" * 3_000),
    "a tool that is off": (playbook("shell", {"command": "id"}), "operation_unknown"),
}  # fmt: skip


@pytest.mark.parametrize("name", STORED)
async def test_a_hostile_playbook_is_refused_when_it_is_stored(api: Api, name: str) -> None:
    spec, kind = STORED[name]
    assert kind in refused(await api("POST", "/playbooks", json=spec))


async def test_a_shell_that_is_off_cannot_be_an_agents(api: Api) -> None:
    answer = await api("POST", "/agents", json={"name": "b", "tools": ["shell"]})
    assert answer.status == 422
    assert "its operator turns it on by --enable-shell" in answer.json["detail"]


# --- refused when it runs ----------------------------------------------------------------------------------------------


def file(path: str, operation: str = "files.read", **more: Any) -> tuple[dict[str, Any], str]:
    return playbook(operation, {"path": path, **more}), "path_refused"


def url(url: str) -> tuple[dict[str, Any], str]:
    return playbook("http.request", {"url": url}), "address_refused"


def template(text: str) -> tuple[dict[str, Any], str]:
    return playbook(parameters={"path": text}), "template_failed"


def condition_at_run(text: str) -> tuple[dict[str, Any], str]:
    return playbook(next_conditions=[{"condition": text, "next": "end"}]), "condition_failed"


RUN = {
    "a repetition in a condition": condition_at_run("'a' * 9999999999 == output"),
    "a format in a condition": condition_at_run("'%99999999d' % 1 == output"),
    "a repeated list in a condition": condition_at_run("max([9] * 99999999) > 1"),
    "up": file("../../data/playcall.sqlite3"),
    "up within": file("sub/../../secret.txt"),
    "up for writing": file("../x", "files.write", content="x"),
    "an input that leads up": (playbook("files.read", {"path": "{{ '..' ~ '/secret.txt' }}"}), "path_refused"),
    "absolute": file("/etc/passwd"),
    "absolute for writing": file("/tmp/x", "files.write", content="x"),
    "absolute for a list": file("/etc", "files.list"),
    "absolute for a search": file("/etc", "text.search", pattern="root"),
    "absolute for a profile": file("/etc/passwd", "csv.profile"),
    "absolute for a template": (playbook("template.render", {"template_path": "/etc/passwd"}), "path_refused"),
    "a backslash": file("..\\x"),
    "a link out": file("out.txt"),
    "a link out for a search": file("out.txt", "text.search", pattern="s3"),
    "a link in the middle": file("sub/up/secret.txt"),
    "a link in the middle, for a list": file("sub/up", "files.list"),
    "a link to nothing": (playbook("files.read", {"path": "dangling"}), "not_found"),
    "a link to itself": (playbook("files.read", {"path": "loop"}), "not_found"),
    "the server's own": file("sub/up/data/playcall.sqlite3"),
    "this machine": url("http://127.0.0.1:1/"),
    "this machine's other addresses": url("http://127.8.9.10:1/"),
    "this machine by name": url("http://localhost:1/"),
    "this machine by IPv6": url("http://[::1]:1/"),
    "mapped into IPv6": url("http://[::ffff:127.0.0.1]:1/"),
    "mapped in hexadecimal": url("http://[::ffff:7f00:1]:1/"),
    "6to4": url("http://[2002:7f00:1::]:1/"),
    "NAT64": url("http://[64:ff9b::7f00:1]:1/"),
    "decimal": url("http://2130706433:1/"),
    "hexadecimal": url("http://0x7f000001:1/"),
    "octal": url("http://0177.0.0.1:1/"),
    "short": url("http://127.1:1/"),
    "zero": url("http://0:1/"),
    "a cloud's metadata": url("http://169.254.169.254/latest/meta-data"),
    "private": url("http://192.168.0.1/"),
    "shared": url("http://100.64.0.1/"),
    "a local IPv6": url("http://[fe80::1]/"),
    "another scheme": (playbook("http.request", {"url": "file:///etc/passwd"}), "url_refused"),
    "a class": template("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "a class by key": template("{{ ''['__class__'] }}"),
    "a class by format": template("{{ '{0.__class__}'.format(inputs) }}"),
    "self": template("{{ self.__init__.__globals__ }}"),
    "a function's globals": template("{{ range.__globals__ }}"),
    "a repetition": template("{{ 'a' * 10 ** 9 }}"),
    "a power": template("{{ 9 ** 9 ** 9 ** 9 ** 9 }}"),
    "nested loops": template("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
    "doubling": template("{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}"),
    "replacing": template("{{ 'a'|replace('', 'b' * 90000)|replace('', 'b' * 90000) }}"),
    "recursion": template("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}"),
    "a template of a template": (
        playbook("template.render", {"template": "{% raw %}{{ x.__class__ }}{% endraw %}", "data": {"x": 1}}),
        "template_failed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUN)
async def test_a_hostile_playbook_is_refused_when_it_runs(api: Api, root: Path, name: str) -> None:
    spec, code = RUN[name]
    made = await api.ok("POST", "/playbooks", json=spec)
    run = await api.ok("POST", f"/playbooks/{made['id']}/runs")
    async with asyncio.timeout(60):
        while run["status"] in ("queued", "running"):
            await api("GET", "/events", params={"topic": f"run:{run['id']}", "from": "head", "wait_seconds": "0.2"})
            run = await api.ok("GET", f"/runs/{run['id']}")
    assert (run["status"], run["error"]["code"]) == ("failed", code), run["error"]
    assert "s3cret" not in str(run)
    assert not list(root.parent.glob("x"))


# --- templates, more of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ inputs.__class__ }}",
        "{{ inputs|attr('__class__') }}",
        "{{ [1]|map(attribute='__class__')|list }}",
        "{{ [1]|map('attr')|list }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '%s' % 1 }}",
        "{{ cycler.__init__ }}",
        "{{ lipsum() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ [].append(1) }}",
        "{{ inputs.get }}",
        "{{ 'x'.center(10) }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ 10 ** 9 * 'x' }}",
        "{{ [0] * 10 ** 9 }}",
        "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
        "{{ 'a' | replace('', 'b' * 90000) | replace('', 'b' * 90000) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in inputs.list recursive %}{{ loop(inputs.list) }}{% endfor %}",
        "{% set n = namespace(x='aaaaaaaaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}",
        "{{ range(10 ** 7)|list }}",
        "{{ 1|round(4000000, 'ceil') }}",
        "{{ [1]|batch(100000000, 0)|list|length }}",
        "{{ [1]|slice(100000000)|list|length }}",
        "{{ [1]|tojson(1000000000) }}",
        "{{ ([[0] * 100] * 3)|sum(start=[]) }}",
        "{{ (['a' * 100000] * 20000)|join|length }}",
        "{{ (['a' * 100000] * 20000)|upper|length }}",
        "{{ (['a' * 100000] * 20000)|trim|length }}",
        "{{ ['<']|forceescape }}",
        "{{ ['<']|safe }}",
        "{{ (2 ** 4000) * (2 ** 4000) }}",
        "{{ ('9' * 4000)|int }}",
        "{{ '9' * 5000 + '' if 0 else " + "9" * 5_000 + " }}",
        "{% set n = namespace(x='a' * 100000) %}{% for i in range(9999) %}{% set y = n.x.upper().lower() %}{% endfor %}",
        "{{ 'x' }}" + "." * 100_001,
    ],
)
def test_a_hostile_template_is_refused_and_soon(template: str) -> None:
    begun = time.process_time()
    with pytest.raises(TemplateProblem):
        render_value(template, {"inputs": {"list": [1, 2], "text": "x"}, "steps": {}})
    assert time.process_time() - begun < 30, "some two seconds of a processor's time, ten times that under coverage"


# --- what changes between the check and the use ------------------------------------------------------------------------


async def test_a_file_that_becomes_a_link_between_the_check_and_the_reading_is_not_followed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = type(bench.context).readable
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "f").write_text("s3cret")
    for victim, target in ((bench.root / "f", secret / "f"), (bench.root / "d", secret)):
        if target.is_dir():
            victim.mkdir()
            (victim / "f").write_text("mine")
        else:
            victim.write_text("mine")
        path = "d/f" if target.is_dir() else "f"
        assert (await bench.call("files.read", path=path))["text"] == "mine"

        def then_swapped(context: Any, path: str, *, victim: Path = victim, target: Path = target, **more: Any) -> Path:
            real = checked(context, path, **more)
            victim.rename(victim.with_name("away"))
            victim.symlink_to(target)
            return real

        with monkeypatch.context() as patched:
            patched.setattr(type(bench.context), "readable", then_swapped)
            assert await bench.refused("files.read", path=path) in ("path_refused", "unreadable")
        victim.with_name("away").rename(bench.root / f"away-{path.replace('/', '-')}")


async def test_swapping_a_file_and_a_link_all_the_time_gains_nothing(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    mine, link = bench.root / "mine", bench.root / "link"
    mine.write_text("mine")
    link.symlink_to(tmp_path / "secret")
    victim, over = bench.root / "f", threading.Event()

    def swap() -> None:
        while not over.is_set():
            for source in (mine, link):
                spare = bench.root / "spare"
                if source is mine:
                    spare.write_text("mine")
                else:
                    spare.symlink_to(tmp_path / "secret")
                os.replace(spare, victim)

    victim.write_text("mine")
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        outcomes: set[str] = set()
        for _ in range(300):
            try:
                outcomes.add((await bench.call("files.read", path="f"))["text"])
            except ToolFailure as failure:
                outcomes.add(failure.code)
    finally:
        over.set()
        swapper.join()
    assert "mine" in outcomes
    assert outcomes <= {"mine", "path_refused", "not_found", "unreadable"}


@pytest_asyncio.fixture
async def net(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Net]:
    net = Net()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", net.answer)
    net.server = TestServer(application)
    await net.server.start_server()

    async def look_up(loop: Any, host: str, port: int, **more: Any) -> list[Any]:
        net.asked.append(host)
        address = net.names[host].pop(0) if len(net.names[host]) > 1 else net.names[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async def connect(addr_infos: Any, **more: Any) -> socket.socket:
        net.connected += [info[4][0] for info in addr_infos]
        if net.connected[-1] != PUBLIC:
            raise ConnectionRefusedError
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", net.server.port))
        return connection

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", look_up)
    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    yield net
    await net.server.close()


PUBLIC = "93.184.216.34"


class Net:
    """Names as an attacker answers for them; what is public is a server of this test's own."""

    def __init__(self) -> None:
        self.names = {
            "public.example": [PUBLIC],
            "inward.example": ["10.0.0.7"],
            "turning.example": [PUBLIC, "127.0.0.1"],
        }
        self.asked: list[str] = []
        self.connected: list[str] = []
        self.server: TestServer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        to = request.query.get("to")
        return web.Response(text="hello") if to is None else web.Response(status=302, headers={"Location": to})


async def test_a_name_that_leads_inwards_is_refused(bench: Bench, net: Net) -> None:
    assert (await bench.call("http.request", url="http://public.example/"))["text"] == "hello"
    assert await bench.refused("http.request", url="http://inward.example/") == "address_refused"
    assert net.connected == [PUBLIC]


@pytest.mark.parametrize("to", ["http://127.0.0.1:1/", "http://inward.example/", "http://[::1]/", "http://2130706433/"])
async def test_a_redirect_that_leads_inwards_is_refused(bench: Bench, net: Net, to: str) -> None:
    url = "http://public.example/"
    assert await bench.refused("http.request", url=url, query={"to": to}) == "address_refused"
    assert net.connected == [PUBLIC]


async def test_a_name_that_turns_inwards_after_the_check_is_connected_to_where_it_was_checked(
    bench: Bench, net: Net
) -> None:
    assert (await bench.call("http.request", url="http://turning.example/"))["text"] == "hello"
    assert (net.asked, net.connected) == (["turning.example"], [PUBLIC])
    assert await bench.refused("http.request", url="http://turning.example/") == "address_refused"
