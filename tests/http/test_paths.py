"""Addresses: nothing that an id or a base URL holds leads a request, or a credential, elsewhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall.errors import ConfigurationError, InvalidArgumentError
from playcall.http.paths import Path, as_path, base_url, origin, path


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("abc", "/things/abc"),
        ("a b", "/things/a%20b"),
        ("a/b", "/things/a%2Fb"),
        ("%2e%2e", "/things/%252e%252e"),
        ("a?x=1#y", "/things/a%3Fx%3D1%23y"),
        ("é", "/things/%C3%A9"),
        ("...", "/things/..."),
        ("{id}", "/things/%7Bid%7D"),
    ],
)
def test_a_part_stays_one_part(given: str, sent: str) -> None:
    assert path("/things/{id}", id=given) == Path(sent, "/things/{id}")


@pytest.mark.parametrize(
    "hostile", ["", ".", "..", "../admin", "a/../b", "..\\x", "a\nb", "\x00", "\x7f", "\ud800", None, 3, b"x"], ids=repr
)
def test_a_part_that_is_none_is_refused(hostile: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="id"):
        path("/things/{id}", id=hostile)


def test_a_part_with_a_trailing_underscore_may_hold_slashes_but_does_not_climb() -> None:
    assert path("/a/{name_}", name_="x/y z").text == "/a/x/y%20z"
    for hostile in ("../x", "x//y", "/x", "x/.", "x/.."):
        with pytest.raises(InvalidArgumentError):
            path("/a/{name_}", name_=hostile)


@given(st.text())
def test_no_id_leaves_its_place(text: str) -> None:
    try:
        made = path("/things/{id}", id=text)
    except InvalidArgumentError:
        return
    assert made.text.isascii()
    parts = urlsplit("http://h" + made.text)
    assert not parts.query
    assert not parts.fragment
    first, second = parts.path.lstrip("/").split("/")
    assert (first, unquote(second)) == ("things", text)


@pytest.mark.parametrize(
    "hostile",
    [
        "http://evil.example/x",
        "//evil.example/x",
        "items",
        "",
        "/a?b=c",
        "/a#b",
        "/a/../b",
        "/a/.",
        "/a/%2e%2e/b",
        "/a/..%2fb",
        "/a/..\\b",
        "/a b",
        "/a\nb",
        "/\ud800",
        None,
        3,
    ],
    ids=repr,
)
def test_a_path_given_as_text_stays_within_the_base_url(hostile: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        as_path(hostile)


def test_a_path_is_escaped_once() -> None:
    assert as_path("/a/é%20b").text == "/a/%C3%A9%20b"
    assert as_path(Path("/x", "/x")) == Path("/x", "/x")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("HTTPS://api.example/v1/", "https://api.example/v1"),
        (" http://h ", "http://h"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://h/a b", "http://h/a%20b"),
    ],
)
def test_a_base_url_loses_its_trailing_slash(given: str, used: str) -> None:
    assert base_url(given) == used


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "localhost:8000",
        "localhost",
        "ftp://h",
        "ws://h",
        "http://",
        "http:///x",
        "http://h?x=1",
        "http://h#f",
        "http://h:0",
        "http://h:99999",
        "http://h:port",
        "http://[::1",
        "http://ho st",
        "http://h\\@evil",
        "http://bücher.example",
        None,
        8000,
    ],
    ids=repr,
)
def test_a_base_url_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="base URL"):
        base_url(wrong)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@h",
        "http://me:hunter2@h:port",
        "http://me:hunter2/x@h",
        "http://me:8/hunter2@h?x",
        "http://h\x07/hunter2@",
        "me:hunter2@h",
        "http://h?token=hunter2",
        "http://h#\nhunter2",
    ],
)
def test_what_may_be_a_secret_in_a_base_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        base_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("http://H/x") == ("http", "h", 80)
    assert origin("https://h:8443/x") == ("https", "h", 8443)
