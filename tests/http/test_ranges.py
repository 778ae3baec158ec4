"""What an answer to a request for a part is worth, as data."""

from __future__ import annotations

import pytest

from playcall.http.ranges import place_of, strong_etag

TAG = '"v1"'


@pytest.mark.parametrize(
    ("status", "headers", "place"),
    [
        (206, {"Content-Range": "bytes 40-99/100"}, 40),
        (206, {"Content-Range": "bytes 40-99/100", "ETag": TAG}, 40),
        (206, {"Content-Range": "bytes 40-99/*"}, 40),
        (200, {}, 0),
        (200, {"Content-Range": "bytes 40-99/100"}, 0),
        (206, {}, None),
        (206, {"Content-Range": "bytes 0-99/100"}, None),
        (206, {"Content-Range": "bytes 41-99/100"}, None),
        (206, {"Content-Range": "bytes 40-98/100"}, None),
        (206, {"Content-Range": "bytes 40-99/101"}, None),
        (206, {"Content-Range": "lines 40-99/100"}, None),
        (206, {"Content-Range": "bytes */100"}, None),
        (206, {"Content-Range": "bytes 40-99/100", "ETag": '"v2"'}, None),
        (206, {"Content-Range": "bytes 40-99/100", "Content-Encoding": "gzip"}, None),
        (206, {"Content-Type": "multipart/byteranges; boundary=x"}, None),
    ],
)
def test_a_part_goes_on_only_where_it_was_asked_to(status: int, headers: dict[str, str], place: int | None) -> None:
    assert place_of(status, headers, 40, TAG, 100) == place


@pytest.mark.parametrize(
    ("content_range", "place"),
    [("bytes 40-99/100", 40), ("bytes 40-99/*", None), ("bytes 40-98/100", None), ("bytes 39-99/100", None)],
)
def test_where_the_length_is_not_known_the_part_itself_tells_it(content_range: str, place: int | None) -> None:
    assert place_of(206, {"Content-Range": content_range}, 40, TAG, None) == place


@pytest.mark.parametrize(("asked", "etag"), [(0, TAG), (40, None)])
@pytest.mark.parametrize("content_range", ["bytes 0-99/100", "bytes 40-99/100"])
def test_a_part_that_nobody_asked_for_is_of_no_use(content_range: str, asked: int, etag: str | None) -> None:
    assert place_of(206, {"Content-Range": content_range}, asked, etag, 100) is None
    assert place_of(200, {}, asked, etag, 100) == 0


@pytest.mark.parametrize(
    ("headers", "tag"),
    [
        ({"ETag": TAG}, TAG),
        ({"ETag": '""'}, '""'),
        ({"ETag": 'W/"v1"'}, None),
        ({"ETag": "v1"}, None),
        ({"ETag": '"'}, None),
        ({}, None),
        ({"ETag": TAG, "Content-Encoding": "gzip"}, None),
    ],
)
def test_only_a_strong_tag_of_the_content_as_it_is_serves_for_parts(headers: dict[str, str], tag: str | None) -> None:
    assert strong_etag(headers) == tag
