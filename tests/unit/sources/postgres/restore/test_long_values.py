from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from hypothesis import given, strategies as st

from holdfast.model.fingerprints import sha256_of
from holdfast.sources.postgres.restore.long_values import with_values
from holdfast.sources.postgres.server.table_part import External

VALUES = [b"first" * 1000, b"\x00\xff" * 7]
BY_NAME = {sha256(value).hexdigest(): value for value in VALUES}
EXTERNAL = External(columns=("body",), size_bytes=10, marker=b"holdfast blob 0123456789abcdef")


@contextmanager
def open_blob(name: str) -> Iterator[Iterator[bytes]]:
    value = BY_NAME[sha256_of(name)]
    yield iter([value[:3], value[3:]])


def rows() -> tuple[bytes, bytes]:
    """As they were stored, and as they must come back."""
    stored, plain = b"", b""
    for number, (name, value) in enumerate([*BY_NAME.items(), *BY_NAME.items()]):
        mark = EXTERNAL.marker.hex().encode() + name.encode()
        stored += b"%d\t\\\\x%s\tmore\n" % (number, mark)
        plain += b"%d\t\\\\x%s\tmore\n" % (number, value.hex().encode())
    return stored, plain


@given(st.integers(1, 400))
def test_wherever_a_marker_is_cut_its_value_comes_back(size: int) -> None:
    stored, plain = rows()
    chunks = [stored[start : start + size] for start in range(0, len(stored), size)]
    assert b"".join(with_values(chunks, EXTERNAL, open_blob)) == plain


def test_the_server_is_asked_for_a_mark_instead_of_a_long_value() -> None:
    assert EXTERNAL.expression("id") == '"id"'
    assert EXTERNAL.expression("body") == (
        'CASE WHEN "body" IS NULL OR pg_catalog.octet_length("body") < 10 THEN "body"'
        f" ELSE '\\x{EXTERNAL.marker.hex()}'::pg_catalog.bytea || pg_catalog.sha256(\"body\") END"
    )
