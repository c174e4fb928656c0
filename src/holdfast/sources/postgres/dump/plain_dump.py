"""A dump in plain SQL, cut into statements and rows as it comes: nothing of it is held whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.model.errors import RestoreFailed
from holdfast.sources.postgres.server import statements
from holdfast.sources.postgres.server.statements import Statement

COPY = re.compile(r"COPY .* FROM stdin;$", re.DOTALL)
# A line of its own in a dump; in a row its backslash would be doubled.
END_OF_ROWS = b"\\.\n"
# One function, or a piece of a large object, is far below; what is longer is no dump of ours.
MOST_STATEMENT_BYTES = 256 << 20


class PlainDump:
    """Statements in their order; behind one that is `COPY ... FROM stdin` its rows are to be taken.

    `chunks` are the bytes of the dump. Raises `EOFError` where rows have no end.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    def statements(self) -> Iterator[Statement]:
        return statements.headed(self._pieces())

    def rows(self) -> Iterator[bytes]:
        """The rows of the COPY that came last, without the line that ends them."""
        at_start = True
        while True:
            if at_start and self._buffer.startswith(END_OF_ROWS):
                self._buffer = self._buffer[len(END_OF_ROWS) :]
                return
            end = self._buffer.find(b"\n" + END_OF_ROWS)
            if end >= 0:
                rows, self._buffer = self._buffer[: end + 1], self._buffer[end + 4 :]
                yield rows
                return
            # The line that ends them may be cut by the end of a chunk.
            ready = len(self._buffer) - len(END_OF_ROWS)
            if ready > 0:
                rows, self._buffer = self._buffer[:ready], self._buffer[ready:]
                at_start = False
                yield rows
            if not self._more():
                raise EOFError("the rows of a table have no end")

    def _pieces(self) -> Iterator[str]:
        """Whole statements with what stands before each, as soon as there are any."""
        while True:
            yield from self._whole_pieces()
            if len(self._buffer) > MOST_STATEMENT_BYTES:
                raise RestoreFailed(
                    f"cannot read a dump: a statement has more than {MOST_STATEMENT_BYTES} bytes"
                )
            if not self._more():
                break
        if self._buffer:
            yield _text(self._buffer)

    def _whole_pieces(self) -> Iterator[str]:
        """Those that end in the whole lines at hand; what begins behind them stays."""
        is_before_rows = True
        while is_before_rows:
            is_before_rows, done = False, 0
            lines = self._buffer[: self._buffer.rfind(b"\n") + 1]
            for piece in statements.split(_text(lines)):
                if not piece.endswith(";"):
                    break
                done += len(_bytes(piece))
                is_before_rows = bool(COPY.match(piece, statements.start_of(piece)))
                if is_before_rows:
                    # Whoever takes the rows takes them from the buffer, line by line.
                    done += 1
                    break
                yield piece
            self._buffer = self._buffer[done:]
            if is_before_rows:
                yield piece

    def _more(self) -> bool:
        chunk = next(self._chunks, b"")
        self._buffer += chunk
        return bool(chunk)


def _text(found: bytes) -> str:
    return found.decode("utf-8", errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")
