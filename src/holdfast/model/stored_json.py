"""The one reader of stored JSON: nothing is parsed before its shape is known.

An attacker with write access to a store, a state directory or a socket can write anything. So bytes
are counted as they arrive, even if the store has stated a size. Nesting depth and the number of
containers are counted before a parser sees them, and every value is checked against its type and
range. Every violation is `Unreadable`, with a short reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, TypeVar

from holdfast.model.checked import Refused
from holdfast.model.errors import ManifestInvalid
from holdfast.model.forms import form_of
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex
from holdfast.model.values import MOST

Buffer = bytes | bytearray | memoryview

DEPTH = 32
# Enough for 200,000 tables, or a million blobs, in a manifest.
CONTAINERS = 1_000_000
# A part, a table or a blob takes 60 to 290 bytes per container, and has 3 to 6 values there.
BYTES_PER_CONTAINER = 512
VALUES_PER_CONTAINER = 8
VALUES = 100_000
_SLICE_BYTES = 1 << 20
_BRACKETS = b"{}[]"
_ALL_ELSE = bytes(each for each in range(256) if each not in _BRACKETS)
_STEP = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_DIGITS = len(str(MOST)) + 1
_SURROGATE = regex(r"\\u[dD][89a-fA-F]")
_SHOWN = 80
_TOLD = 100_000


class Unreadable(ValueError):
    """The stored document is not one that holdfast writes; the message says why."""


class NotKnown(Unreadable):
    """A newer version may have written it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a document may be: `size_bytes`, plus an allowance for each of its containers."""

    size_bytes: int
    containers: int = CONTAINERS

    @property
    def most_bytes(self) -> int:
        return self.size_bytes + BYTES_PER_CONTAINER * self.containers


# A manifest names every part and blob of a backup, and may hold long lists in its texts.
MANIFEST = Limits(size_bytes=64 << 20)
# A record describes one thing: a file or a failure.
RECORD = Limits(size_bytes=1 << 20, containers=10_000)


class _Shape:
    """Checks a document piece by piece; raises `Unreadable` as soon as it cannot be valid."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rest = b""
        self._in_text = False
        self._depth = 0
        self._containers = 0
        self._values = 0
        self._size_bytes = 0

    def see(self, content: Buffer) -> None:
        view = memoryview(content)
        for start in range(0, len(view), _SLICE_BYTES):
            self._feed(bytes(view[start : start + _SLICE_BYTES]))

    def _feed(self, chunk: bytes) -> None:
        self._size_bytes += len(chunk)
        # The pieces outside of texts are every other one; a text may continue in the next chunk.
        plain = self._unescaped(chunk).split(b'"')
        outside = b"".join(plain[self._in_text :: 2])
        self._in_text ^= len(plain) % 2 == 0
        self._values += outside.count(b",")
        self._count(outside.translate(None, _ALL_ELSE))
        if self._size_bytes > self._most_bytes:
            raise Unreadable(f"it is larger than {self._most_bytes} bytes")
        if b"\0" in outside:
            raise Unreadable("it holds null bytes")

    @property
    def _most_bytes(self) -> int:
        return self._limits.size_bytes + BYTES_PER_CONTAINER * self._containers

    def _unescaped(self, chunk: bytes) -> bytes:
        """Drop the escapes inside texts; a parser stops at the first backslash elsewhere."""
        text = (self._rest + chunk).replace(b"\\\\", b"").replace(b'\\"', b"")
        self._rest = b"\\" if text.endswith(b"\\") else b""
        return text

    def _count(self, brackets: bytes) -> None:
        steps = [_STEP[each] for each in brackets]
        deepest = max(accumulate(steps, initial=self._depth))
        self._depth += sum(steps)
        self._containers += brackets.count(b"{") + brackets.count(b"[")
        if deepest > DEPTH:
            raise Unreadable(f"it is nested deeper than {DEPTH}")
        if self._containers > self._limits.containers:
            raise Unreadable(f"it holds more than {self._limits.containers} objects and lists")
        if self._values > VALUES + VALUES_PER_CONTAINER * self._containers:
            raise Unreadable(f"it holds {self._values} values, too many for its objects and lists")


def gathered(chunks: Iterable[Buffer], limits: Limits) -> bytes:
    """Join `chunks`; raises `Unreadable` before more than `limits` allow is held in memory."""
    shape, content = _Shape(limits), bytearray()
    for chunk in chunks:
        shape.see(chunk)
        content += chunk
    return bytes(content)


def parsed(data: Buffer | str, limits: Limits = RECORD, *, of_files: bool = False) -> Any:
    """Parse the JSON value in `data`, as strictly as possible; raises `Unreadable`.

    Refused are duplicate names, NaN and infinity, numbers beyond 64 bits and lone surrogates.
    `of_files` allows surrogates, because file names need not be valid text.
    """
    try:
        content = data.encode() if isinstance(data, str) else data
        _Shape(limits).see(content)
        text = data if isinstance(data, str) else str(data, "utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_float,
            parse_constant=_refused,
        )
        if not of_files and _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except Unreadable:
        raise
    except UnicodeError as error:
        raise Unreadable("it holds an invalid character") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not JSON: {_short(str(error))}") from error
    return value


def typed(kind: type[_T], value: object) -> _T:
    """Check that `value` is a record of this kind; raises `Unreadable`."""
    try:
        found: _T = form_of(kind).check(value)
    except Refused as error:
        first = error.faults[0]
        place = ".".join(_short(str(each)) for each in first.place)
        raise Unreadable(f"{place or 'the document'}: {_short(first.what)}") from None
    return found


def plain(record: object) -> dict[str, Any]:
    """What `typed` reads as that record, for a document to be written."""
    found: dict[str, Any] = form_of(type(record)).plainly(record)
    return found


def line_of(record: object) -> bytes:
    """The record as JSON in one line, without its newline."""
    return json.dumps(plain(record), ensure_ascii=False, separators=(",", ":")).encode()


def as_text(said: str) -> str:
    """The output of a server or program in storable form: valid text of limited length."""
    return said.encode(errors="backslashreplace").decode()[:_TOLD]


def damaged(key: str, error: Unreadable) -> ManifestInvalid:
    if isinstance(error, NotKnown):
        return ManifestInvalid(
            f"cannot read '{key}': {error}",
            hint="use the version of holdfast that wrote it, or a newer one",
        )
    return ManifestInvalid(
        f"cannot read '{key}': it is damaged: {error}",
        hint="it was changed after it was written, or it was not written by holdfast",
    )


_T = TypeVar("_T")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("it holds a key twice")
    return found


def _whole(digits: str) -> int:
    # Python rejects thousands of digits with an error that looks like any other.
    if len(digits) > _DIGITS or not -MOST <= int(digits) <= MOST:
        raise Unreadable("it holds a number beyond 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    found = float(digits)
    if not -_LARGEST <= found <= _LARGEST:
        raise Unreadable("it holds a number that is too large")
    return found


_LARGEST = 1e300


def _refused(word: str) -> float:
    raise Unreadable(f"it holds {word}, which is not a number in JSON")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
