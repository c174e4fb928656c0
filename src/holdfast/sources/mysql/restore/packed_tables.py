"""A part of several tables on its way to a client: which of them, and whose line an error is at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from holdfast.model.backup import Part, Relation
from holdfast.model.proven import Proven
from holdfast.sources.mysql.restore.error_locator import ErrorLocator
from holdfast.sources.stream_cutter import StreamCutter

# All of a pack in one transaction: else the server waits for its disk once a table.
BEGIN = b"SET SESSION autocommit = 0;\n"
END = b"COMMIT;\n"


class Unpacked:
    """The script of the `wanted` tables of a part, or of all of them; used once."""

    def __init__(self, part: Part, whole: Proven, wanted: Collection[Relation]) -> None:
        self.proven = whole.derived(self._pieces)
        self._members = [each for each in part.members if not wanted or each.relation in wanted]
        self._head_bytes = part.members[0].offset
        self._lines = ErrorLocator[Relation]()

    def _pieces(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        cutter = StreamCutter(chunks)
        yield from self._counted(cutter.take(self._head_bytes))
        yield self._lines.passes(BEGIN)
        for member in self._members:
            self._lines.begins(member.relation)
            cutter.skip_to(member.offset)
            yield from self._counted(cutter.take(member.plain_bytes))
        yield END

    def failed(self, cause: str) -> Relation | None:
        """The table that a client's error is about; None where it names no line of one."""
        return self._lines.at(cause)

    def _counted(self, pieces: Iterable[memoryview]) -> Iterator[bytes]:
        return (self._lines.passes(bytes(piece)) for piece in pieces)
