"""The bytes of an object come out of the COPY that the server sends."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from holdfast.sources.postgres.rows.long_values import values_of

VALUES = (b"first" * 50, b"", b"last")
COPY = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
COPY += b"".join(struct.pack("!hi", 1, len(value)) + value for value in VALUES)
COPY += struct.pack("!h", -1)


@given(st.integers(1, len(COPY)))
def test_wherever_a_buffer_ends_the_values_are_whole(size: int) -> None:
    chunks = (COPY[start : start + size] for start in range(0, len(COPY), size))
    assert b"".join(bytes(piece) for piece in values_of(chunks)) == b"".join(VALUES)


def test_the_stream_is_read_to_its_end_so_that_the_answer_of_the_server_is_seen() -> None:
    seen: list[str] = []

    def chunks() -> Iterator[bytes]:
        yield COPY
        seen.append("answer")

    assert b"".join(bytes(piece) for piece in values_of(chunks())) == b"".join(VALUES)
    assert seen == ["answer"]


@given(st.integers(0, len(COPY) - 1))
def test_a_stream_that_ends_too_early_is_an_error(size: int) -> None:
    with pytest.raises((EOFError, struct.error)):
        list(values_of([COPY[:size]]))
