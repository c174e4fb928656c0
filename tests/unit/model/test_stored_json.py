"""Any stored document is read within limits, or refused in a few words."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st

from holdfast.model.errors import ManifestInvalid
from holdfast.model.stored_json import (
    BYTES_PER_CONTAINER,
    CONTAINERS,
    DEPTH,
    MANIFEST,
    RECORD,
    Limits,
    Unreadable,
    gathered,
    parsed,
    typed,
)
from holdfast.model.values import Count, Line, Moment, Number
from holdfast.ports.repository import Stored, read_document
from tests.fakes.repository import MemoryRepository

SMALL = Limits(size_bytes=1000, containers=100)

ODD = {
    "nested 100,000 deep": (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 32"),
    "objects in objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper"),
    "never closed": (b"[" * 10_000_000, "nested deeper"),
    "half of a character": (rb'{"a": "\ud800"}', "invalid character"),
    "the other half": (rb'{"\udfff": 1, "b": "\ud83d\ude00"}', "it is not JSON|invalid character"),
    "bytes of a half": (b'{"a": "\xed\xa0\x80"}', "invalid character"),
    "no UTF-8": (b'{"a": "\xff"}', "invalid character"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "holds null bytes"),
    "UTF-32 without a mark": ('{"a": 1}'.encode("utf-32-le"), "holds null bytes"),
    "a mark of UTF-8": (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
    "NaN": (b'{"a": NaN}', "NaN, which is not a number"),
    "infinity": (b'{"a": -Infinity}', "Infinity, which is not a number"),
    "beyond any float": (b'{"a": 1e400}', "a number that is too large"),
    "6,000 digits": (b'{"a": ' + b"9" * 6_000 + b"}", "beyond 64 bits"),
    "65 bits": (b'{"a": 18446744073709551616}', "beyond 64 bits"),
    "twice": (b'{"a": 1, "b": {"c": 1, "c": 2}}', "holds a key twice"),
    "zeros": (b"\0" * 1000, "holds null bytes"),
    "a zero in a text": (b'{"a": "\0"}', "not JSON"),
    "two documents": (b"{} {}", "not JSON"),
    "nothing": (b"", "not JSON"),
    "cut short": (b'{"a": "b', "not JSON"),
}


@pytest.mark.parametrize(("content", "why"), ODD.values(), ids=ODD.keys())
def test_a_foreign_document_is_refused_with_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why) as refused:
        parsed(content, MANIFEST)
    assert len(str(refused.value)) < 200


def test_a_text_may_hold_whatever_json_would_be_and_any_character() -> None:
    value = {"a\\": '[[[{"\\"', "b": "[" * 1000 + "\\\\\\", "\U0001f600": "é\u2028\\u0000"}
    for ascii_only in (True, False):
        assert parsed(json.dumps(value, ensure_ascii=ascii_only).encode(), RECORD) == value
        assert parsed(json.dumps(value, ensure_ascii=ascii_only), RECORD) == value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(JSON, st.integers(min_value=1, max_value=7), st.booleans())
def test_whatever_can_be_written_is_read_as_it_was_however_it_is_cut(
    value: object, chunk_bytes: int, ascii_only: bool
) -> None:
    try:
        content = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    pieces = [content[at : at + chunk_bytes] for at in range(0, len(content), chunk_bytes)]
    assert gathered(pieces, RECORD) == content
    assert parsed(content, RECORD) == value


@given(st.text('[]{}"\\,a ', max_size=40), st.integers(min_value=1, max_value=5))
def test_nothing_is_deeper_or_more_than_what_was_counted(text: str, chunk_bytes: int) -> None:
    """Whatever `json` can parse was counted correctly, however its bytes arrived."""
    limits = Limits(size_bytes=1000, containers=3)
    pieces = [text[at : at + chunk_bytes].encode() for at in range(0, len(text), chunk_bytes)]
    try:
        value = json.loads(text)
    except ValueError:
        return
    fits = sum(isinstance(each, list | dict) for each in _all(value)) <= limits.containers
    try:
        gathered(pieces, limits)
    except Unreadable:
        assert not fits
    else:
        assert fits


def _all(value: object) -> Iterator[object]:
    yield value
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    for each in inner:
        yield from _all(each)


def test_reading_ends_where_a_document_cannot_be_ours_whatever_size_the_store_told() -> None:
    read_bytes = 0

    def endless(piece: bytes) -> Iterator[bytes]:
        nonlocal read_bytes
        read_bytes = 0
        while True:
            read_bytes += len(piece)
            yield piece

    for piece in (b'"' + b"a" * 999, b" " * 1000, b"{}," * 300, b"0," * 500, b"\0" * 1000, b"["):
        with pytest.raises(Unreadable):
            gathered(endless(piece), SMALL)
        assert read_bytes <= SMALL.most_bytes + 1000


class Lying(MemoryRepository):
    """Tells a size, and holds as much as anybody reads."""

    told = 10

    def stat(self, key: str) -> Stored:
        return Stored(key=key, size_bytes=self.told)

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        del key
        yield iter(lambda: b" " * 1_000_000, b"")


def test_a_store_that_lies_about_a_size_is_not_believed() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ManifestInvalid, match="'shop/x': it is damaged: it is larger"):
            read_document(Lying(), "shop/x", MANIFEST)
        assert tracemalloc.get_traced_memory()[1] < 3 * MANIFEST.size_bytes
    finally:
        tracemalloc.stop()


def test_what_is_told_to_be_too_large_is_not_opened() -> None:
    class Closed(Lying):
        told = 3 << 30

        @contextmanager
        def open(self, key: str) -> Iterator[Iterator[bytes]]:
            raise AssertionError(key)
            yield iter(())

    for stored in (None, Stored(key="shop/x", size_bytes=3 << 30)):
        with pytest.raises(ManifestInvalid, match="larger than"):
            read_document(Closed(), "shop/x", MANIFEST, stored=stored)


def test_a_manifest_of_a_hundred_thousand_tables_is_within_the_limits() -> None:
    member = (
        b'{"ancestors":[],"details":{"columns":"[\\"id\\", \\"name\\"]","encoding":"UTF8","format":'
        b'"text"},"offset":1,"plain_bytes":1,"relation":{"name":"orders","schema":"public"},'
        b'"rows":3},'
    )
    pieces = [b'{"members":[', *[member * 1000] * 100, b"0]}"]
    assert len(gathered(pieces, MANIFEST)) > 100_000 * 100
    with pytest.raises(Unreadable, match=f"more than {CONTAINERS} objects and lists"):
        gathered([b"[", *[member * 1000] * 500], MANIFEST)


def test_the_largest_document_is_one_of_many_things() -> None:
    assert MANIFEST.most_bytes == (64 << 20) + CONTAINERS * BYTES_PER_CONTAINER
    assert parsed(b"[" * DEPTH + b"]" * DEPTH)


@dataclass(frozen=True, kw_only=True)
class Kept:
    at: Moment
    count: Count
    number: Number
    name: Line


GOOD = {"at": "2026-11-20T02:00:00Z", "count": 1, "number": 0.5, "name": "x"}
SPOILT = {
    "no zone": ({"at": "2026-11-20T02:00:00"}, "^at: "),
    "year 1": ({"at": "0001-01-01T00:00:00+14:00"}, "^at: "),
    "year 9999": ({"at": "9999-12-31T23:59:59-14:00"}, "^at: "),
    "before there were computers": ({"at": "1969-12-31T23:00:00Z"}, "^at: "),
    "no time": ({"at": "yesterday"}, "^at: "),
    "a negative count": ({"count": -1}, "^count: "),
    "beyond 64 bits": ({"count": 1 << 63}, "^count: "),
    "half a count": ({"count": 1.5}, "^count: "),
    "NaN as a text": ({"number": "nan"}, "^number: "),
    "infinity as a text": ({"number": "-inf"}, "^number: "),
    "an absurd number": ({"number": 1e300}, "^number: "),
    "a long name": ({"name": "x" * 5000}, "^name: "),
    "no name": ({"name": None}, "^name: "),
    "a list": ([1], "^the document: "),
}


@pytest.mark.parametrize(("change", "why"), SPOILT.values(), ids=SPOILT.keys())
def test_what_no_run_can_have_written_is_refused_by_its_name(change: object, why: str) -> None:
    assert typed(Kept, GOOD).count == 1
    with pytest.raises(Unreadable, match=why) as refused:
        typed(Kept, GOOD | change if isinstance(change, dict) else change)
    assert len(str(refused.value)) < 200
