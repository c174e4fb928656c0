"""The steps that bring tables back: create them, load their rows, and build indexes over these.

No kind of step waits for all of another kind. Creating a table waits for the disk, and so does
building an index, whose rows are partly on the disk again. Loading rows needs the processor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import zip_longest

from holdfast.model.backup import Part
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.worker_pool import WorkerPool
from holdfast.sources.mysql.restore.scripts import Batch, Turns
from holdfast.sources.mysql.server.sql import Item
from holdfast.sources.packing import SMALL_TABLE_BYTES
from holdfast.sources.waiting_work import Waiting

Names = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`run` is called by one worker once the steps that it `needs` are done."""

    name: str
    needs: Names
    run: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What each kind of step does."""

    create: Callable[[Batch], None]
    load: Callable[[Part], None]
    build: Callable[[Item], None]


def table_steps(
    tables: Sequence[Item],
    rows: Iterable[Part],
    indexes: Sequence[Item],
    *,
    work: Work,
    workers: int,
) -> list[Step]:
    """All steps, in the order in which workers should begin them.

    The biggest tables are created and filled first. When each worker has had rows to load, indexes
    and other rows alternate. `indexes` are those of the biggest table first.
    """
    in_turn = sorted(rows, key=lambda part: -part.plain_bytes)
    begun, others = in_turn[:workers], in_turn[workers:]
    large = [part for part in begun if part.relation and part.plain_bytes >= SMALL_TABLE_BYTES]
    turns = Turns.of(tables, first=_tables(large), workers=workers)
    made = _Steps(work, in_turn)
    for turn in turns.before_rows:
        made.create(turn)
    enough = made.created
    made.load(large[:1], needs=enough)
    for turn in turns.beside_rows:
        made.create(turn)
    made.load(large[1:], needs=enough)
    # A pack may be bigger than a table with a part of its own.
    made.load([part for part in begun if part not in large], needs=made.created)
    for index, part in zip_longest(indexes, others):
        if index is not None:
            made.build(index)
        if part is not None:
            made.load([part], needs=made.created)
    return made.found


def carry_out(steps: Sequence[Step], *, workers: int, stop: Callable[[], None]) -> None:
    """Do all steps; the first failure ends the others by `stop`."""
    waiting = Waiting(steps, known_by=lambda step: step.name, needs=lambda step: step.needs)
    ended = threading.Event()

    def abort() -> None:
        ended.set()
        stop()

    def serve(_worker: int) -> None:
        for step in waiting.each(ended):
            step.run()

    # Nothing is retried: what failed may have loaded some of its script.
    pool = WorkerPool(workers, abort=abort, tries=1)
    pool.each(range(min(workers, len(steps))), serve)


class _Steps:
    """Adds steps one by one."""

    def __init__(self, work: Work, rows: Iterable[Part]) -> None:
        self.found: list[Step] = []
        self.created: Names = frozenset()
        self._work = work
        self._loading = {table: _loading(part) for part in rows for table in _tables([part])}

    def create(self, turn: Sequence[Batch]) -> None:
        """Create each batch of a turn after all turns before."""
        needs = self.created
        for batch in turn:
            name = f"tables {len(self.created) + 1}"
            self._add(name, needs, partial(self._work.create, batch))
            self.created |= {name}

    def load(self, parts: Sequence[Part], *, needs: Names) -> None:
        for part in parts:
            self._add(_loading(part), needs, partial(self._work.load, part))

    def build(self, index: Item) -> None:
        loading = self._loading.get(index.table)
        needs = frozenset((loading,)) if loading else self.created
        self._add(f"indexes {index.name}", needs, partial(self._work.build, index))

    def _add(self, name: str, needs: Names, run: Callable[[], None]) -> None:
        self.found.append(Step(name=name, needs=needs, run=run))


def _loading(part: Part) -> str:
    return f"rows {part.name}"


def _tables(parts: Iterable[Part]) -> set[str]:
    return {relation.name for part in parts for relation in part.relations}
