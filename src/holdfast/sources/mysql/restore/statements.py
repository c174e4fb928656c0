"""Cuts a script of rows into its statements, at the speed of a search where it can.

Only in a value can the end of a statement stand without ending it. The rows of an INSERT hold no
other quotes than those of values, so their number tells whether an end is inside a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holdfast.model.errors import RestoreFailed

END = b";\n"
# No server accepts a longer packet.
MOST_STATEMENT_BYTES = 1 << 30
_NAME = rb"`(?:[^`]|``)+`"
_ROWS_BEGIN = re.compile(
    rb"INSERT INTO " + _NAME + rb" \((?:" + _NAME + rb"(?:," + _NAME + rb")*)?\) VALUES\n"
)
# In any other statement, what a semicolon does not end: text, names and comments.
_SPAN = re.compile(
    rb"'[^'\\]*(?:\\.[^'\\]*)*'|\"[^\"\\]*(?:\\.[^\"\\]*)*\"|`[^`]*`|/\*.*?\*/|--[ \t][^\n]*\n",
    re.DOTALL,
)
_OPENS = re.compile(rb"['\"`]|/\*|--[ \t]|;\n")
_COMMENT = b"-- "
_INSERT = b"INSERT INTO `"
# 4,096 columns, each with a name of 64 characters.
_LONGEST_HEAD = 2 << 20


def statements(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Each statement without its end; comments between statements are left out.

    Raises `RestoreFailed` where the script ends within one, or one is longer than any can be.
    """
    script = _Script(chunks)
    while (sql := script.next()) is not None:
        yield sql


class _Script:
    """The rest of a script; reads `chunks` only as far as the next statement needs."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = bytearray()
        self._head = b""

    def next(self) -> bytes | None:
        """The next statement; None at the end."""
        while self._begins_with(_COMMENT):
            self._take(self._position_of(b"\n", 0) + 1)
        if not self._rest:
            return None
        begins = self._rows_begin()
        ends = self._end_of_rows(begins) if begins else self._end_of_other()
        sql = self._take(ends)
        self._take(len(END))
        return sql

    def _begins_with(self, what: bytes) -> bool:
        while len(self._rest) < len(what) and self._read():
            pass
        return self._rest.startswith(what)

    def _rows_begin(self) -> int:
        """Where the rows of an INSERT begin; 0 for any other statement."""
        if self._head and self._rest.startswith(self._head):
            return len(self._head)
        while self._begins_with(_INSERT):
            if found := _ROWS_BEGIN.match(self._rest):
                self._head = found[0]
                return len(self._head)
            if len(self._rest) > _LONGEST_HEAD or not self._read():
                break
        return 0

    def _end_of_rows(self, begins: int) -> int:
        """Where the statement ends whose rows begin there: after an even number of quotes."""
        quotes, seen = 0, begins
        while True:
            ends = self._position_of(END, seen)
            values = bytes(self._rest[seen:ends])
            if b"\\" in values:
                values = values.replace(b"\\\\", b"").replace(b"\\'", b"")
            quotes += values.count(b"'")
            if quotes % 2 == 0:
                return ends
            seen = ends + len(END)

    def _end_of_other(self) -> int:
        """Where the next statement ends: after all of its texts, names and comments."""
        at = 0
        while True:
            opens = _OPENS.search(self._rest, at)
            if opens is None:
                # What opens here may be complete only with the next bytes.
                at = max(at, len(self._rest) - 3)
                self._need()
            elif opens[0] == END:
                return opens.start()
            elif span := _SPAN.match(self._rest, opens.start()):
                at = span.end()
            else:
                at = opens.start()
                self._need()

    def _position_of(self, what: bytes, at: int) -> int:
        """Where `what` stands next, from `at` on."""
        while (found := self._rest.find(what, at)) < 0:
            at = max(at, len(self._rest) - len(what) + 1)
            self._need()
        return found

    def _need(self) -> None:
        if not self._read():
            raise RestoreFailed("cannot load a script of rows: it ends within a statement")

    def _read(self) -> bool:
        chunk = next(self._chunks, b"")
        self._rest += chunk
        if len(self._rest) > MOST_STATEMENT_BYTES:
            raise RestoreFailed(
                "cannot load a script of rows: a statement is longer than a server accepts"
            )
        return bool(chunk)

    def _take(self, size_bytes: int) -> bytes:
        with memoryview(self._rest) as rest:
            taken = bytes(rest[:size_bytes])
        del self._rest[:size_bytes]
        return taken
