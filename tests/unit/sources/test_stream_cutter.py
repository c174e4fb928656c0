from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sources.stream_cutter import StreamCutter


@given(st.lists(st.binary(max_size=9)), st.lists(st.integers(0, 5)))
def test_whatever_the_chunks_the_pieces_are_the_same(chunks: list[bytes], sizes: list[int]) -> None:
    whole = b"".join(chunks)
    cutter, position = StreamCutter(iter(chunk for chunk in chunks if chunk)), 0
    for size in sizes:
        if position + size > len(whole):
            break
        assert bytes(cutter.exactly(size)) == whole[position : position + size]
        position += size
    assert cutter.position == position
    cutter.drain()


def test_what_lies_between_is_skipped() -> None:
    cutter = StreamCutter([b"head", b"er,row", b"s,tail"])
    cutter.skip_to(7)
    assert b"".join(cutter.take(4)) == b"rows"
    assert cutter.position == 11


def test_a_stream_that_ends_too_early_says_where() -> None:
    with pytest.raises(EOFError, match="after 3 bytes"):
        list(StreamCutter([b"abc"]).take(4))


def test_what_lies_before_what_was_read_is_not_waited_for() -> None:
    """A negative length was read for ever."""
    cutter = StreamCutter([b"abcdef"])
    cutter.skip_to(4)
    with pytest.raises(EOFError, match="2 bytes before 4 are read already"):
        cutter.skip_to(2)
    with pytest.raises(EOFError, match="1 bytes before 4"):
        cutter.exactly(-1)
