"""The pytest plugin: fixtures for the tests of programs that use playcall.

    def test_a_report_is_made(playcall_client):                 # a real backend, in which this test is alone
        assert make_report(playcall_client).words == 12

    def test_a_report_is_made_once(playcall_client, playcall_proxy):            # the same, through a proxy
        playcall_proxy.lose_answers()
        assert make_report(playcall_client).words == 12

    def test_no_backend_is_no_crash(playcall_client, playcall_mock):            # no backend at all
        playcall_mock.handler = lambda request: MockFault.not_sent()
        assert make_report(playcall_client) is None

pytest loads this module in every project of an environment that has playcall, so at import it costs nothing: all that
it serves is imported by the fixture that needs it. `-p no:playcall` leaves it out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from playcall import AsyncPlaycall, Playcall

    from .fault_proxy import FaultProxy
    from .live_backend import LiveBackend
    from .mock_transport import MockAnswer, MockRequest, MockTransport

__all__ = [
    "async_playcall_client",
    "playcall_api_key",
    "playcall_backend",
    "playcall_backend_options",
    "playcall_client",
    "playcall_client_options",
    "playcall_environment",
    "playcall_mock",
    "playcall_proxy",
    "playcall_url",
]

MOCK_URL: Final = "http://mock.invalid"
"""RFC 2606 section 2: nobody ever has this name, so whatever goes past the mock goes nowhere."""
SHOWN_CHARACTERS: Final = 4_000
"""How much of the end of the backend's log a failed test shows."""

_BACKEND: Final = pytest.StashKey["LiveBackend"]()
_LOG_BEFORE: Final = pytest.StashKey[int]()
"""How long the backend's log was, in bytes, when the present test began."""


# --- the backend ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def playcall_backend_options() -> Mapping[str, Any]:  # Any: LiveBackend's keyword arguments
    """Override this one to start the backend in another way: the arguments of `LiveBackend`, such as `read_roots`."""
    return {}


@pytest.fixture(scope="session")
def playcall_backend(
    request: pytest.FixtureRequest, playcall_backend_options: Mapping[str, Any]
) -> Iterator[LiveBackend]:
    """A running `LiveBackend` for the whole session; with pytest-xdist one for each worker."""
    from .live_backend import BackendStartError, LiveBackend

    stash = request.config.stash
    backend = LiveBackend(**playcall_backend_options)
    reason = ""
    try:
        backend.start()
        stash[_BACKEND], stash[_LOG_BEFORE] = backend, backend.log_bytes
        yield backend
        del stash[_BACKEND]
    except BackendStartError as error:
        reason = str(error)
    finally:
        backend.close()
    if reason:  # out here, so that pytest has no chain of exceptions to show
        pytest.fail(reason, pytrace=False)


@pytest.fixture
def playcall_api_key(playcall_backend: LiveBackend) -> str:
    """The API key of a user that was made for this test, who finds nothing of what other tests left behind."""
    if not playcall_backend.running:  # a test may kill it, and need not care for the next one
        playcall_backend.start()
    return playcall_backend.add_user()


@pytest.fixture
def playcall_proxy(playcall_backend: LiveBackend) -> Iterator[FaultProxy]:
    """A `FaultProxy` before the backend, with no fault yet. The clients of a test that uses it go through it."""
    from .fault_proxy import FaultProxy

    with FaultProxy(playcall_backend.url) as proxy:
        yield proxy


@pytest.fixture
def playcall_url(request: pytest.FixtureRequest, playcall_backend: LiveBackend) -> str:
    """What the program under test is told: the proxy's URL if the test uses `playcall_proxy`, else the backend's."""
    if "playcall_proxy" not in request.fixturenames:
        return playcall_backend.url
    proxy: FaultProxy = request.getfixturevalue("playcall_proxy")
    return proxy.url


@pytest.fixture
def playcall_environment(playcall_url: str, playcall_api_key: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets, for this test, the variables that a `Playcall()` without arguments reads; for programs that make their own."""
    environment = {"PLAYCALL_URL": playcall_url, "PLAYCALL_API_KEY": playcall_api_key}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PLAYCALL_TOKEN", raising=False)  # both credentials at once are refused
    return environment


@pytest.fixture
def playcall_mock(request: pytest.FixtureRequest) -> MockTransport:
    """A `MockTransport` that answers the clients of this test once it has a `handler`; no backend is started."""
    from .mock_transport import MockTransport

    if "playcall_proxy" in request.fixturenames:
        pytest.fail("playcall_mock has no network that playcall_proxy could break: use one of them", pytrace=False)
    return MockTransport(_not_expected)


def _not_expected(request: MockRequest) -> MockAnswer:
    raise AssertionError(f"{request.method} {request.path} was sent, and playcall_mock.handler was not set")


# --- clients ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def playcall_client_options() -> Mapping[str, Any]:  # Any: the keyword arguments of both clients
    """Override this one to make clients in another way: the arguments of `Playcall`, such as `deadline_seconds`."""
    return {}


@pytest.fixture
def playcall_client(request: pytest.FixtureRequest, playcall_client_options: Mapping[str, Any]) -> Iterator[Playcall]:
    """A `Playcall` of this test's own user; it goes through `playcall_proxy`, or to `playcall_mock`, if used."""
    from playcall import Playcall

    with Playcall(**{**_far_end(request), **playcall_client_options}) as client:
        yield client


@pytest.fixture
def async_playcall_client(
    request: pytest.FixtureRequest, playcall_client_options: Mapping[str, Any]
) -> Iterator[AsyncPlaycall]:
    """The same as an `AsyncPlaycall`, for whichever event loop the test runs: pytest-asyncio's, anyio's, or its own."""
    from playcall import AsyncPlaycall
    from playcall.loop_thread import LoopThread

    client = AsyncPlaycall(**{**_far_end(request), **playcall_client_options})
    yield client
    # From a loop of our own: the test's may have ended, and its connections with it. One that lives on is told to close
    # them, and does so when it next runs.
    LoopThread.shared().call(client.close)


def _far_end(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where a client of this test goes, and as whom. Nothing comes from the environment, where a real key may be."""
    from playcall import ApiKey

    if "playcall_mock" in request.fixturenames:
        return {"url": MOCK_URL, "auth": ApiKey("pk_mock"), "transport": request.getfixturevalue("playcall_mock")}
    key: str = request.getfixturevalue("playcall_api_key")
    return {"url": request.getfixturevalue("playcall_url"), "auth": ApiKey(key)}


# --- the log of a failed test -----------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    backend = item.config.stash.get(_BACKEND, None)
    if backend is not None:
        item.config.stash[_LOG_BEFORE] = backend.log_bytes


# The old kind of wrapper: this module must load under whatever pytest a project has.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:  # Any: pluggy's, which has no name
    """What the backend wrote during a test that failed stands in its report, as captured output does."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    backend = item.config.stash.get(_BACKEND, None)
    if backend is None or not report.failed:
        return
    written = backend.log_since(item.config.stash[_LOG_BEFORE]).strip()
    if written:
        report.sections.append(("Captured log of the playcall backend", written[-SHOWN_CHARACTERS:]))
