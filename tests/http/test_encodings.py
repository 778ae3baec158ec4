"""Packed bodies: whatever is cut off, wrong or too much is noticed, in whatever pieces it comes."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playcall.http.encodings import PackingError, Unpacking, is_packed

BARE = -zlib.MAX_WBITS


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=BARE)
    return packer.compress(data) + packer.flush()


WAYS = {
    "gzip": ("gzip", gzip.compress),
    "its old name": ("X-GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
}
EACH_WAY = pytest.mark.parametrize("way", WAYS)


def unpack(encoding: str, packed: bytes, size: int = 7) -> bytes:
    unpacking = Unpacking(encoding)
    whole = b"".join(unpacking.feed(packed[at : at + size]) for at in range(0, len(packed), size))
    unpacking.end()
    return whole


@EACH_WAY
@given(data=st.binary(max_size=300), size=st.integers(1, 50))
def test_what_was_packed_comes_out_whatever_the_pieces(way: str, data: bytes, size: int) -> None:
    encoding, pack = WAYS[way]
    assert unpack(encoding, pack(data), size) == data


@EACH_WAY
def test_a_body_that_is_cut_off_anywhere_is_an_error(way: str) -> None:
    encoding, pack = WAYS[way]
    packed = pack(b"some text that is packed, some text that is packed")
    for cut in range(1, len(packed)):
        with pytest.raises(PackingError):
            unpack(encoding, packed[:cut])


@EACH_WAY
def test_what_comes_after_the_body_is_an_error(way: str) -> None:
    encoding, pack = WAYS[way]
    with pytest.raises(PackingError):
        unpack(encoding, pack(b"abc") + b"garbage")


def test_members_of_gzip_follow_each_other() -> None:
    assert unpack("gzip", gzip.compress(b"abc") + gzip.compress(b"def")) == b"abcdef"


def test_a_wrong_sum_is_an_error() -> None:
    with pytest.raises(PackingError):
        unpack("gzip", gzip.compress(b"abc")[:-8] + bytes(8))


def test_no_body_is_none() -> None:
    """A 204, a 304 or the answer to HEAD may name an encoding."""
    assert unpack("gzip", b"") == b""


@pytest.mark.parametrize(
    ("encoding", "packed"), [(None, False), ("", False), ("identity", False), ("br", False), (" GZIP ", True)]
)
def test_only_what_we_asked_for_is_unpacked(encoding: str | None, packed: bool) -> None:
    assert is_packed(encoding) is packed
