"""Where requests begin and end, whatever pieces they come in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall.testing.request_reader import MAX_HEAD_BYTES, Part, RequestReader

GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /d HTTP/1.1\r\nHost: h\r\ncontent-length:  7 \r\nX-Note: a: b\r\n\r\n\r\n\r\nabc"
STREAM = GET + POST + b"DELETE /e HTTP/1.0\r\nContent-Length: 0\r\n\r\n" + GET


def read(*pieces: bytes) -> list[Part]:
    reader = RequestReader()
    return [part for piece in pieces for part in reader.feed(piece)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_however_it_is_cut_the_same_requests_are_found_and_every_byte_goes_on(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    parts = read(*(STREAM[begin:end] for begin, end in pairwise(places)))
    assert b"".join(part.data for part in parts) == STREAM
    found = [(part.request.method, part.request.path) for part in parts if part.request is not None]
    assert found == [("GET", "/a?b=c"), ("POST", "/d"), ("DELETE", "/e"), ("GET", "/a?b=c")]
    whole = b""
    ends = []
    for part in parts:
        whole += part.data
        if part.last:
            ends.append(len(whole))
    assert ends == [len(GET), len(GET + POST), len(STREAM) - len(GET), len(STREAM)]


def test_headers_are_looked_up_without_regard_to_case_and_kept_out_of_the_repr() -> None:
    request = read(b"GET / HTTP/1.1\r\nX-API-Key: pk_secret\r\n\r\n")[0].request
    assert request is not None
    assert request.headers["x-api-key"] == "pk_secret"
    assert "pk_secret" not in repr(request)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", id="upgrade"),
        pytest.param(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", id="expect"),
        pytest.param(b"CONNECT h:1 HTTP/1.1\r\n\r\n", id="tunnel"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http/2"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", id="two lengths"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="no length"),
        pytest.param(b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", id="no header"),
        pytest.param(b"\x16\x03\x01 hello\r\n\r\n", id="TLS"),
        pytest.param(b"x" * (MAX_HEAD_BYTES + 1), id="endless"),
    ],
)
def test_after_what_it_cannot_measure_nothing_is_taken_for_a_request(first: bytes) -> None:
    parts = read(first, GET, GET)
    assert b"".join(part.data for part in parts) == first + GET + GET
    assert [part.request for part in parts if part.request or part.last] == []
