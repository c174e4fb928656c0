"""A part of several tables on its way to a client: which of them, and whose line an error is at."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator

from holdfast.model import Part, Relation
from holdfast.sources.cutting import Cutter

# As the clients say it, of the line on which the failed statement begins.
_AT_LINE = re.compile(r"\bat line (\d+)")


class Unpacked:
    """The script of the `wanted` tables of a part, or of all of them; iterate once.

    Whatever is left out is read all the same: a part is only proven once its end was seen.
    """

    def __init__(self, part: Part, chunks: Iterable[bytes], wanted: Collection[Relation]) -> None:
        self._members = [each for each in part.members if not wanted or each.relation in wanted]
        self._head_bytes = part.members[0].offset
        self._cutter = Cutter(chunks)
        self._line = 1
        self._begins: list[int] = []

    def __iter__(self) -> Iterator[bytes]:
        yield from self._counted(self._cutter.take(self._head_bytes))
        for member in self._members:
            self._begins.append(self._line)
            self._cutter.skip_to(member.offset)
            yield from self._counted(self._cutter.take(member.plain_bytes))
        self._cutter.drain()

    def failed(self, cause: str) -> Relation | None:
        """The table whose statement a client's error is about, by the line that it names."""
        found = _AT_LINE.search(cause)
        number = bisect_right(self._begins, int(found[1])) if found else 0
        return self._members[number - 1].relation if number else None

    def _counted(self, pieces: Iterable[memoryview]) -> Iterator[bytes]:
        for piece in pieces:
            sql = bytes(piece)
            self._line += sql.count(b"\n")
            yield sql
