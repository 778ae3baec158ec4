"""Packed bodies: whatever is cut off, wrong or too much is noticed, in whatever pieces it comes."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall.http.encodings import PIECE_BYTES, PackingError, Unpacking, is_packed


def unpack(packed: bytes, size: int = 7) -> bytes:
    unpacking = Unpacking()
    whole = b"".join(piece for at in range(0, len(packed), size) for piece in unpacking.feed(packed[at : at + size]))
    unpacking.end()
    return whole


@given(data=st.binary(max_size=300), size=st.integers(1, 50))
def test_what_was_packed_comes_out_whatever_the_pieces(data: bytes, size: int) -> None:
    assert unpack(gzip.compress(data), size) == data


def test_a_body_that_is_cut_off_anywhere_is_an_error() -> None:
    packed = gzip.compress(b"some text that is packed, some text that is packed")
    for cut in range(1, len(packed)):
        with pytest.raises(PackingError):
            unpack(packed[:cut])


def test_what_comes_after_the_body_is_an_error() -> None:
    with pytest.raises(PackingError):
        unpack(gzip.compress(b"abc") + b"garbage")


def test_members_of_gzip_follow_each_other() -> None:
    assert unpack(gzip.compress(b"abc") + gzip.compress(b"def")) == b"abcdef"


def test_a_wrong_sum_is_an_error() -> None:
    with pytest.raises(PackingError):
        unpack(gzip.compress(b"abc")[:-8] + bytes(8))


def test_no_body_is_none() -> None:
    """A 204, a 304 or the answer to HEAD may name an encoding."""
    assert unpack(b"") == b""


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (None, False),
        ("", False),
        ("identity", False),
        ("br", False),
        ("deflate", False),
        (" GZIP ", True),
        ("X-GZip", True),
    ],
)
def test_only_what_we_asked_for_is_unpacked(encoding: str | None, packed: bool) -> None:
    assert is_packed(encoding) is packed


def test_a_few_bytes_that_hold_many_are_unpacked_in_pieces_of_bounded_size() -> None:
    bomb = b"".join(gzip.compress(bytes(size)) for size in (5 * PIECE_BYTES + 3, 7, 2 * PIECE_BYTES))
    unpacking = Unpacking()
    sizes = [len(piece) for piece in unpacking.feed(bomb)]
    unpacking.end()
    assert max(sizes) == PIECE_BYTES
    assert sum(sizes) == 7 * PIECE_BYTES + 10
