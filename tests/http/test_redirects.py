"""Where a redirect may lead, as data; the trailing slash above all."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall import ApiKey
from playcall.errors import RedirectRefusedError
from playcall.http.paths import origin
from playcall.http.redirects import Redirect, judge
from playcall.testing import MockAnswer, MockRequest
from tests.both_faces import FACES, api, value


def judged(url: str, location: str, status: int = 307, *, unsafe: bool = True, redirects: int = 1) -> Redirect:
    return judge(url, location, status, unsafe=unsafe, redirects=redirects, secure=url.startswith("https"))


@pytest.mark.parametrize(
    ("url", "location", "then"),
    [
        ("https://api.example/items", "https://api.example/items/", "https://api.example/items/"),
        ("https://api.example/items", "http://api.example/items/", "https://api.example/items/"),
        ("https://api.example/items/", "http://api.example/items", "https://api.example/items"),
        ("https://api.example/items", "http://10.0.0.5:8000/items/", "https://api.example/items/"),
        ("https://api.example/items", "/items/", "https://api.example/items/"),
        ("http://h:81/items?a=1&b=%20x", "http://h/items/?a=1&b=+x", "http://h:81/items/?a=1&b=%20x"),
        ("http://h/caf%C3%A9", "http://h/café/", "http://h/caf%C3%A9/"),
        ("http://h/a%2Fb", "http://h/a%2Fb/", "http://h/a%2Fb/"),
    ],
)
def test_to_the_same_path_with_or_without_its_slash_a_write_is_followed_at_home(
    url: str, location: str, then: str
) -> None:
    for status in (307, 308):
        redirect = judged(url, location, status)
        assert (redirect.target, redirect.refusal) == (then, None)
        assert "same path" in redirect.where


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_write_is_not_followed_where_the_method_need_not_stay(status: int) -> None:
    """After a 302 or 303 it may have been done: forms are answered so."""
    assert judged("http://h/items", "/items/", status).refusal is not None
    assert judged("http://h/items", "http://inside/items/", status, unsafe=False).target == "http://h/items/"


@pytest.mark.parametrize(
    "location",
    [
        "http://evil/items/",  # the query is another
        "http://evil/items?a=1",  # no slash differs
        "http://evil/items//?a=1",
        "http://evil/ITEMS/?a=1",
        "http://evil/items/x/?a=1",
        "http://evil/?a=1",
        "//evil/item/?a=1",
    ],
)
def test_what_differs_otherwise_is_no_slash_redirect(location: str) -> None:
    assert judged("http://h/items?a=1", location).refusal is not None
    assert judged("http://h/items?a=1", location, unsafe=False).target.startswith("http://evil/")
    if location.startswith("http:"):
        assert judged("https://h/items?a=1", location, unsafe=False).refusal == "it leads away from https"


@pytest.mark.parametrize("location", ["ftp://h/items/", "http://me:pw@h/items/", "http://[::1/items/"])
def test_an_address_that_cannot_be_used_is_refused_whatever_its_path(location: str) -> None:
    redirect = judged("http://h/items", location)
    assert redirect.refusal == "its Location is no address that can be used"
    assert "pw" not in redirect.where


def test_an_escaped_slash_at_the_end_is_no_trailing_slash() -> None:
    assert judged("http://h/a%2F", "http://evil/a").refusal is not None
    assert judged("http://h/a%2F", "http://evil/a", unsafe=False).target == "http://evil/a"


def test_between_two_paths_it_does_not_go_for_ever() -> None:
    assert "more than" in (judged("http://h/items", "/items/", redirects=6).refusal or "")


@given(
    st.sampled_from(["http://h", "https://h", "http://h:81/base"]),
    st.text("ab/%2F?=&", max_size=8),
    st.text("htps:/@evil.ab?=&%2F", max_size=24),
    st.sampled_from([301, 302, 303, 307, 308]),
)
def test_a_write_never_leaves_its_origin_and_nothing_leaves_https(
    home: str, path: str, location: str, status: int
) -> None:
    url = f"{home}/{path}"
    for unsafe in (True, False):
        redirect = judged(url, location, status, unsafe=unsafe)
        if redirect.refusal is None:
            assert not unsafe or origin(redirect.target) == origin(url)
            assert not home.startswith("https") or urlsplit(redirect.target).scheme == "https"


@FACES
async def test_behind_a_proxy_that_hides_its_scheme_a_create_arrives_whole(blocking: bool) -> None:
    def backend(request: MockRequest) -> MockAnswer:
        if request.path == "/items":
            return MockAnswer(307, headers={"Location": "http://10.0.0.5:8000/items/"})
        return MockAnswer(201, json=request.json())

    async with api(blocking, backend, "https://api.example", auth=ApiKey("k")) as client:
        answer = await value(client.post.raw("/items", json={"a": 1}))
        requests = client.engine.transport.requests
    assert answer.value == {"a": 1}
    assert [(r.method, r.url) for r in requests] == [
        ("POST", "https://api.example/items"),
        ("POST", "https://api.example/items/"),
    ]
    assert [r.headers["X-API-Key"] for r in requests] == ["k", "k"]
    assert "307 to the same path with a trailing slash" in answer.explain()


@FACES
async def test_slashes_in_circles_end(blocking: bool) -> None:
    def backend(request: MockRequest) -> MockAnswer:
        return MockAnswer(307, headers={"Location": request.path[:-1] if request.path.endswith("/") else "/items/"})

    async with api(blocking, backend, "http://h") as client:
        with pytest.raises(RedirectRefusedError, match="more than 5"):
            await value(client.delete("/items"))
        assert len(client.engine.transport.requests) == 6
