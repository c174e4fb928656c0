"""The objects of a script on their way back: which may be made side by side, and which is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.model.backup import PartKind
from holdfast.model.proven import Proven
from holdfast.sources.mysql.restore.error_locator import ErrorLocator
from holdfast.sources.mysql.server.script import Item

# Servers wait for their disk with every table that they make, so two clients are twice as fast.
Batch = Sequence[Item]
# Of this word in a comment or a default, a table is made later than it had to be; no more.
_REFERRING = b" REFERENCES "


def stages(kind: PartKind, found: Sequence[Item], *, workers: int) -> list[list[Batch]]:
    """One stage after the other; of each, the batches that as many clients may take at once.

    A table may take its defaults from a sequence, so those are made first. Tables that refer to
    others are made by one client, as the server locks those others too. Never empty: what has
    no objects is one batch of none.
    """
    if kind is PartKind.INDEXES:
        return [[(item,) for item in found]]
    if kind is not PartKind.PRE_DATA:
        return [[found]]
    sequences = [item for item in found if item.kind != "table"]
    tables = [item for item in found if item.kind == "table" and _REFERRING not in item.sql]
    referring = [item for item in found if item.kind == "table" and _REFERRING in item.sql]
    side_by_side = [tables[first::workers] for first in range(workers)]
    turns = ([sequences], side_by_side, [referring])
    made: list[list[Batch]] = [[batch for batch in turn if batch] for turn in turns]
    return [turn for turn in made if turn] or [[[]]]


class SchemaBatch:
    """The script of some objects of a proven one; used once."""

    def __init__(self, whole: Proven, head: bytes, batch: Batch) -> None:
        self.proven = whole.derived(lambda _: self._pieces())
        self._head = head
        self._batch = batch
        self._lines = ErrorLocator[Item]()

    def _pieces(self) -> Iterator[bytes]:
        yield self._lines.passes(self._head)
        for item in self._batch:
            self._lines.begins(item)
            yield self._lines.passes(item.sql)

    def failed_item(self, cause: str) -> tuple[Item | None, Batch]:
        """What a client's error is about, and what comes after it; None where it is not known."""
        number = self._lines.number_at(cause)
        if number is None:
            return None, ()
        return self._batch[number], self._batch[number + 1 :]
