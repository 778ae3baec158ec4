"""The pytest plugin in the hands of its users: small suites, each run by a pytest of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.xdist_group("subprocesses")

STRICT = "[pytest]\nfilterwarnings = error\n"
ASYNCIO = "asyncio_default_fixture_loop_scope = function\n"
"""Where pytest-asyncio is loaded, its absence would be warned of."""

READER = '{"name": "Reader", "tools": ["wait"]}'
"""An agent whose name one user can give once only."""


def run_suite(
    pytester: pytest.Pytester, suite: str, *options: str, conftest: str = "", ini: str = STRICT + ASYNCIO
) -> pytest.RunResult:
    pytester.makeini(ini)
    pytester.makeconftest(conftest)
    pytester.makepyfile(test_suite=f"READER = {READER}\n{suite}")
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options, timeout=240)


def test_a_suite_has_one_backend_in_which_each_test_is_alone(pytester: pytest.Pytester) -> None:
    suite = """
import asyncio
import pytest

PIDS = set()

@pytest.mark.parametrize("number", range(3))
def test_alone(playcall_client, playcall_backend, number):
    PIDS.add(playcall_backend.pid)
    playcall_client.agents.create(READER)
    assert [agent.name for agent in playcall_client.agents.list()] == ["Reader"]

def test_both_clients_of_a_test_are_the_same_user(playcall_client, async_playcall_client):
    made = playcall_client.agents.create(READER)
    assert asyncio.run(async_playcall_client.agents.get(made.id)) == made

def test_the_first_user_is_alone_too(playcall_backend):
    from playcall import ApiKey, Playcall
    with Playcall(playcall_backend.url, auth=ApiKey(playcall_backend.api_key)) as client:
        assert list(client.agents.list()) == []

def test_it_was_started_once(playcall_backend):
    assert PIDS == {playcall_backend.pid}
"""
    run_suite(pytester, suite).assert_outcomes(passed=6)


def test_a_test_that_uses_the_proxy_has_its_clients_and_its_environment_behind_it(pytester: pytest.Pytester) -> None:
    suite = """
import os
from playcall import Playcall

def test_the_clients(playcall_backend, playcall_proxy, playcall_client, async_playcall_client):
    assert playcall_client.url == async_playcall_client.url == playcall_proxy.url != playcall_backend.url
    with playcall_client.events.subscribe("agents") as feed:
        assert playcall_proxy.cut() >= 1
        made = playcall_client.agents.create(READER)
        assert next(iter(feed)).data.agent == made
        playcall_proxy.half_open()  # the end of the test does not wait for it

def test_the_next_one_finds_no_fault(playcall_proxy, playcall_environment):
    with Playcall() as client:
        client.agents.create(READER)
    assert playcall_proxy.bytes_up > 0

def test_without_it_there_is_none(playcall_backend, playcall_client, playcall_environment):
    assert playcall_client.url == playcall_environment["PLAYCALL_URL"] == os.environ["PLAYCALL_URL"]
    assert playcall_client.url == playcall_backend.url
    with Playcall() as client:
        client.agents.create(READER)

def test_the_environment_is_as_it_was():
    assert os.environ["PLAYCALL_TOKEN"] == "somebody's" and "PLAYCALL_URL" not in os.environ

def test_a_mock_has_no_network(playcall_mock, playcall_proxy):
    pass
"""
    conftest = """
import os
os.environ["PLAYCALL_TOKEN"] = "somebody's"
os.environ.pop("PLAYCALL_URL", None)
"""
    result = run_suite(pytester, suite, conftest=conftest)
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["playcall_mock has no network that playcall_proxy could break: use one of them"])


def test_the_async_client_serves_whichever_loop_runs_the_test(pytester: pytest.Pytester) -> None:
    suite = """
import asyncio
import pytest

async def use(client):
    agent = await client.agents.create(READER)
    async with client.events.subscribe("agents", start="start") as feed:
        assert (await anext(aiter(feed))).data.agent == agent

def test_a_loop_of_the_test_s_own(async_playcall_client):
    asyncio.run(use(async_playcall_client))

@pytest.mark.asyncio
async def test_pytest_asyncio(async_playcall_client):
    await use(async_playcall_client)

@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("number", range(2))
async def test_a_loop_that_outlives_the_test(async_playcall_client, number):
    await use(async_playcall_client)

@pytest.mark.anyio
async def test_anyio(async_playcall_client):
    await use(async_playcall_client)

@pytest.mark.anyio
async def test_it_may_be_closed_by_the_test(async_playcall_client):
    async with async_playcall_client as client:
        await use(client)
"""
    conftest = "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    run_suite(pytester, suite, conftest=conftest).assert_outcomes(passed=6)


def test_a_mock_answers_the_clients_of_a_test_without_backend_or_async_plugin(pytester: pytest.Pytester) -> None:
    suite = """
import asyncio
import pytest
from playcall.errors import ConnectFailedError
from playcall.testing import MockAnswer, MockFault

def test_both_faces(playcall_mock, playcall_client, async_playcall_client):
    playcall_mock.handler = lambda request: MockAnswer(json={"items": [], "next_cursor": None})
    assert list(playcall_client.runs.list()) == []
    async def listed():
        return [run async for run in async_playcall_client.runs.list()]
    assert asyncio.run(listed()) == []
    assert [request.path for request in playcall_mock.requests] == ["/api/v1/runs"] * 2

def test_the_client_is_made_as_the_suite_wants_it(playcall_mock, playcall_client):
    playcall_mock.handler = lambda request: MockFault.not_sent()
    with pytest.raises(ConnectFailedError):
        playcall_client.runs.get("r1")
    assert len(playcall_mock.requests) == 1

def test_what_is_not_expected_fails(playcall_mock, playcall_client):
    with pytest.raises(AssertionError, match="GET /api/v1/runs/r1 was sent, and playcall_mock.handler was not set"):
        playcall_client.runs.get("r1")
"""
    conftest = """
import pytest
from playcall import RetryPolicy
from playcall.testing import LiveBackend

def refuse(backend):
    raise AssertionError("nobody needs a backend here")

LiveBackend.start = refuse

@pytest.fixture
def playcall_client_options():
    return {"retry": RetryPolicy(attempts=1)}
"""
    result = run_suite(pytester, suite, "-p", "no:asyncio", "-p", "no:anyio", conftest=conftest, ini=STRICT)
    result.assert_outcomes(passed=3)


def test_with_xdist_each_worker_has_a_backend_of_its_own(pytester: pytest.Pytester) -> None:
    suite = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range(4))
def test_alone(playcall_client, playcall_backend, worker_id, number):
    playcall_client.agents.create(READER)
    (pathlib.Path(__file__).parent / f"{worker_id}-{playcall_backend.pid}.pid").touch()
"""
    run_suite(pytester, suite, "-n", "2", "--dist", "each").assert_outcomes(passed=8)
    workers, pids = zip(*(file.stem.split("-") for file in pytester.path.glob("*.pid")), strict=True)
    assert sorted(workers) == ["gw0", "gw1"]
    assert len(set(pids)) == 2


def test_a_failed_test_shows_what_the_backend_wrote_meanwhile_and_the_next_one_has_a_backend(
    pytester: pytest.Pytester,
) -> None:
    suite = """
def test_passes(playcall_client):
    playcall_client.agents.create(READER)

def test_kills(playcall_client, playcall_backend):
    playcall_backend.kill()
    playcall_backend.restart()
    playcall_backend.kill()
    assert not "while the backend started anew"

def test_goes_on(playcall_client):
    playcall_client.agents.create(READER)

def test_fails_of_itself(playcall_client):
    assert not "anything of the backend"
"""
    result = run_suite(pytester, suite)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: assert not 'while the backend started anew'",
            "*- Captured log of the playcall backend -*",
            "playcall serves at http://127.0.0.1:*",
            "*_ test_fails_of_itself _*",
        ]
    )
    assert result.stdout.str().count("Captured log") == result.stdout.str().count("playcall serves at") == 1


@pytest.mark.parametrize("missing", ["fastapi", "typer"])
def test_a_missing_extra_is_told_in_one_sentence(pytester: pytest.Pytester, missing: str) -> None:
    suite = "def test_it(playcall_client):\n    pass\n\ndef test_again(playcall_backend):\n    pass\n"
    result = run_suite(pytester, suite, conftest=f"import sys\nsys.modules[{missing!r}] = None")
    result.assert_outcomes(errors=2)
    assert result.stdout.str().count(f"\na live backend needs {missing}: pip install 'playcall[server,cli]'\n") == 2
    result.stdout.no_fnmatch_line("*live_backend.py*")  # no traceback


def test_what_keeps_a_backend_from_starting_is_told_in_its_own_words(pytester: pytest.Pytester) -> None:
    conftest = """
import pytest

@pytest.fixture(scope="session")
def playcall_backend_options():
    return {"options": ["--no-such-option"]}
"""
    result = run_suite(pytester, "def test_it(playcall_client):\n    pass\n", conftest=conftest)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["the server ended with status 2; it wrote:", "*No such option*"])
    result.stdout.no_fnmatch_line("*live_backend.py*")


def test_a_project_that_does_not_use_it_pays_nothing() -> None:
    """Every pytest of an environment that has playcall loads the plugin."""
    code = (
        "import sys, pytest; import playcall.testing.pytest_plugin;"
        "print([name for name in ('aiohttp', 'pydantic', 'asyncio', 'fastapi', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
