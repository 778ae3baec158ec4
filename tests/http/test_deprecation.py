"""What is read out of `Deprecation`, `Sunset` and `Link`, and that it is told once."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from playcall.http.deprecation import Deprecation, DeprecationNotices, deprecation_of

SINCE = datetime(2023, 6, 30, 23, 59, 59, tzinfo=UTC)
SUNSET = datetime(2024, 6, 30, 23, 59, 59, tzinfo=UTC)
HEADERS = {
    "Deprecation": "@1688169599",
    "Sunset": "Sun, 30 Jun 2024 23:59:59 GMT",
    "Link": '<https://backend.test/deprecations>; rel="deprecation"; type="text/html"',
}


def link(*lines: str) -> str | None:
    headers = CIMultiDict([("deprecation", "@0"), *(("link", line) for line in lines)])
    found = deprecation_of(headers)
    assert found is not None
    return found.link


def test_the_examples_of_the_standards_are_read() -> None:
    assert deprecation_of(HEADERS) == Deprecation(SINCE, SUNSET, "https://backend.test/deprecations")
    assert deprecation_of({"Deprecation": "@1688169599"}) == Deprecation(SINCE, None, None)


def test_names_are_found_in_any_case() -> None:
    headers = CIMultiDict({name.lower(): value for name, value in HEADERS.items()})
    assert deprecation_of(headers) == deprecation_of(HEADERS)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        (" @1688169599 ", SINCE),
        ("@1688169599;note=1", SINCE),
        ("@0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("@-62135596800", datetime(1, 1, 1, tzinfo=UTC)),
        ("@253402300799", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("Fri, 30 Jun 2023 23:59:59 GMT", SINCE),
        ("true", None),
        ("True", None),
    ],
)
def test_a_date_is_read_and_the_spellings_of_the_drafts_too(text: str, since: datetime | None) -> None:
    assert deprecation_of({"Deprecation": text}) == Deprecation(since, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@x",
        "@1.5",
        "@+1",
        "@ 1",
        "@٣",
        "1688169599",
        "@253402300800",
        "@999999999999999",
        "@1234567890123456",
        "@1, @2",
        "?0",
        "false",
        "soon",
    ],
)
def test_what_cannot_be_read_counts_as_not_there(text: str) -> None:
    assert deprecation_of({"Deprecation": text, "Sunset": HEADERS["Sunset"]}) is None


def test_a_sunset_alone_is_no_deprecation() -> None:
    assert deprecation_of({"Sunset": HEADERS["Sunset"]}) is None


@pytest.mark.parametrize(
    ("text", "sunset"),
    [
        ("Sunday, 30-Jun-24 23:59:59 GMT", SUNSET),
        ("Sun Jun 30 23:59:59 2024", SUNSET),
        ("Mon, 01 Jul 2024 01:59:59 +0200", SUNSET),
        ("@1719791999", None),
        ("Sun, 31 Jun 2024 23:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
        ("never", None),
    ],
)
def test_a_sunset_comes_in_every_form_that_http_dates_have(text: str, sunset: datetime | None) -> None:
    assert deprecation_of({"Deprecation": "@1688169599", "Sunset": text}) == Deprecation(SINCE, sunset, None)


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("</docs/old>;rel=deprecation", "/docs/old"),
        ('< /docs/old > ; REL = "Deprecation"', "/docs/old"),
        ('<a>; rel="next", <b>; title="x, <y>; rel=\\"deprecation\\""; rel="help deprecation"', "b"),
        ('<a,b;c>; rel="deprecation"', "a,b;c"),
        ('<a>; rel="deprecation", <b>; rel="deprecation"', "a"),
        ('<a>; rel="help"; rel="deprecation"', None),
        ('<a>; rel="deprecation"; anchor="/elsewhere"', None),
        ('<a>; rel="deprecation-policy"', None),
        ('<a>; title="; rel=deprecation"', None),
        ("<a", None),
        ("", None),
    ],
)
def test_the_link_that_is_about_the_deprecation_is_found_among_others(line: str, target: str | None) -> None:
    assert link(line) == target


def test_links_on_several_lines_are_one_list() -> None:
    assert link("<a>; rel=next", "<b>; rel=deprecation") == "b"
    assert link() is None


@given(st.text(max_size=60), st.text(max_size=60), st.text(alphabet='<>;,="\\ rel-deprcation', max_size=80))
def test_no_header_however_wrong_raises(deprecation: str, sunset: str, links: str) -> None:
    deprecation_of({"Deprecation": deprecation, "Sunset": sunset, "Link": links})
    assert deprecation_of({"Deprecation": "@0", "Sunset": sunset, "Link": links}) is not None


# --- notices ----------------------------------------------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, Any]]:
    return [(record.__dict__["method"], record.__dict__["path"]) for record in caplog.records]


def test_a_route_is_told_of_once_with_all_that_is_known(caplog: pytest.LogCaptureFixture) -> None:
    notices = DeprecationNotices()
    for _ in range(3):
        notices.see("GET", "/playbooks/{id}", HEADERS)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("playcall.http", logging.WARNING)
    assert record.getMessage() == (
        "GET /playbooks/{id} is deprecated as of 2023-06-30, and may stop answering on 2024-06-30; "
        "see https://backend.test/deprecations"
    )
    extra = {name: record.__dict__[name] for name in ("event", "method", "path", "since", "sunset", "link")}
    assert extra == {
        "event": "deprecation",
        "method": "GET",
        "path": "/playbooks/{id}",
        "since": SINCE,
        "sunset": SUNSET,
        "link": "https://backend.test/deprecations",
    }


def test_what_is_not_known_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    DeprecationNotices().see("GET", "/runs", {"Deprecation": "true"})
    assert [record.getMessage() for record in caplog.records] == ["GET /runs is deprecated"]


def test_method_and_path_make_the_route(caplog: pytest.LogCaptureFixture) -> None:
    notices = DeprecationNotices()
    routes = [("GET", "/runs"), ("POST", "/runs"), ("GET", "/runs/{id}")]
    for method, template in routes * 2:
        notices.see(method, template, HEADERS)
    assert told(caplog) == routes


def test_nothing_is_told_where_nothing_is_deprecated(caplog: pytest.LogCaptureFixture) -> None:
    notices = DeprecationNotices(limit=1)
    notices.see("GET", "/runs", {"Sunset": HEADERS["Sunset"], "Link": HEADERS["Link"]})
    notices.see("GET", "/runs", {"Deprecation": "soon"})
    assert not caplog.records
    notices.see("GET", "/runs", HEADERS)  # what could not be read has used up nothing
    assert len(caplog.records) == 1


def test_paths_without_number_are_told_of_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    notices = DeprecationNotices(limit=3)
    for number in range(10):
        notices.see("GET", f"/items/{number}", HEADERS)
    assert told(caplog) == [("GET", f"/items/{number}") for number in range(3)]


def test_threads_that_see_it_at_once_tell_it_once(caplog: pytest.LogCaptureFixture) -> None:
    barrier = threading.Barrier(8)

    class Together(dict[str, str]):
        """Lets nobody read on before all have found that the route is new to them."""

        def get(self, key: str, default: Any = None) -> Any:
            if key == "Deprecation":
                barrier.wait(10)
            return super().get(key, default)

    notices, headers = DeprecationNotices(), Together(HEADERS)
    threads = [threading.Thread(target=notices.see, args=("GET", "/runs", headers)) for _ in range(barrier.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert told(caplog) == [("GET", "/runs")]
